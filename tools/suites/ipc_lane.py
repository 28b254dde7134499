"""
How the suites of sysv_ipc and posix_ipc are run.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import ipc_outcomes as outcomes
from accounts import Lane, wait
from ipc_outcomes import Outcomes
from ipc_packages import Suite

#: Seconds for the runs of a suite at the same time.
_RUN_TIME = 180.0

#: posix_ipc 1.3.2, run plain, leaves a name that it made of letters in its test
#: TestMemoryResize::test_ftruncate_increase.
_LEFT_BY_PLAIN = re.compile(r"/dev/shm/[a-z]+")

#: No plugin that is not named, and no litter in the sources.
_ENVIRONMENT = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class IpcLane(Lane):
    """
    A user as whom those suites are run.

    The directory of plugins has the module ``witness``, see `outcomes.WITNESS`.
    """

    def run(self, suite: Suite, *, times: int, isolated: bool) -> list[Outcomes]:
        """
        Run *suite*, so many *times* at the same time.

        Raises:
            CannotRun: A run did not come to its end, or not where it should have.
        """
        reports = [self.own / f"{uuid.uuid4()}.xml" for _ in range(times)]
        started: list[subprocess.Popen[bytes]] = []
        deadline = time.monotonic() + _RUN_TIME
        with contextlib.ExitStack() as stack:
            stdins = [stack.enter_context(_stdin(suite)) for _ in reports]
            try:
                for stdin, report in zip(stdins, reports, strict=True):
                    started.append(self._start(suite, stdin, report, isolated))
                self.check_sight(started)
                for process, report in zip(started, reports, strict=True):
                    wait(process, deadline, report.with_suffix(".log"))
            except BaseException:
                self.kill()
                raise
        return [outcomes.read(report, isolated=isolated) for report in reports]

    def _start(
        self, suite: Suite, stdin: int, report: Path, isolated: bool
    ) -> subprocess.Popen[bytes]:
        command = [str(suite.python), "-m", "pytest", "-p", "no:cacheprovider"]
        command += ["-o", "junit_family=xunit1", f"--junitxml={report}"]
        command += ["-p", "witness"]
        if isolated:
            # What these suites leave is no news.
            command += ["-p", "nsisolate", "--nsisolate", "--nsisolate-leaks=ignore"]
        command += ["-s"] if suite.terminal else []
        return self.start(
            [*command, "tests"],
            cwd=suite.source,
            log=report.with_suffix(".log"),
            environment=_ENVIRONMENT,
            stdin=stdin,
        )


def remove_what_plain_left(left: Iterable[str]) -> None:
    """
    Remove from the host what a suite is known to forget when it is run plain.
    """
    for name in filter(_LEFT_BY_PLAIN.fullmatch, left):
        Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def _stdin(suite: Suite) -> Iterator[int]:
    """
    Give what *suite* wants on descriptor 0, which it has to itself.
    """
    fds = os.openpty() if suite.terminal else (os.open(os.devnull, os.O_RDONLY),)
    try:
        yield fds[-1]
    finally:
        for fd in fds:
            os.close(fd)
