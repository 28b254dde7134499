"""
Runs of suites alone and twice at the same time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import outcomes
from accounts import Lane, wait
from crowd_suites import Ready
from outcomes import Outcomes

#: The time limit, in seconds, for runs of a suite at the same time.
_RUN_TIME = 900.0

#: posix_ipc 1.3.2, run plain, leaves an object with a random name of letters, from its
#: test TestMemoryResize::test_ftruncate_increase.
_LEFT_BY_PLAIN = re.compile(r"/dev/shm/[a-z]+")

#: Load no plugin that is not named, and write no bytecode into the sources.
_ENVIRONMENT = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclasses.dataclass(frozen=True)
class Way:
    """
    A way to run a suite.
    """

    times: int
    """How many runs at the same time."""
    scope: str | None = None
    """The scope of isolation, as in the marker; None if not isolated."""

    def __str__(self) -> str:
        return self.scope or "plain"


class CrowdLane(Lane):
    """
    A user that these suites run as.

    The directory of plugins has the modules that the suites name, and ``witness``.
    """

    def __init__(self, account: pwd.struct_passwd, work: Path, plugins: Path) -> None:
        super().__init__(account, work, plugins)
        # All runs share it, as they share /tmp; it is not above the place of any run.
        temporary = self.own / "tmp"
        temporary.mkdir()
        self._give([temporary])
        self.environment["TMPDIR"] = str(temporary)

    def run(self, ready: Ready, way: Way) -> list[Outcomes]:
        """
        Run a suite, each time in its own copy of the source, like a separate checkout.

        Raises:
            CannotRun: A run had no result, or a test did not run where it should have.
        """
        places = [self._place(ready.source) for _ in range(way.times)]
        started: list[subprocess.Popen[bytes]] = []
        deadline = time.monotonic() + _RUN_TIME
        with contextlib.ExitStack() as stack:
            terminal = ready.suite.terminal
            stdins = [stack.enter_context(_stdin(terminal)) for _ in places]
            try:
                for stdin, place in zip(stdins, places, strict=True):
                    started.append(self._start(ready, stdin, place, way))
                self.check_sight(started)
                for process, place in zip(started, places, strict=True):
                    wait(process, deadline, place / "log")
            except BaseException:
                self.kill()
                raise
        new = outcomes.namespaces(way.scope is not None, net=ready.suite.net)
        return [outcomes.read(place / "report.xml", new) for place in places]

    def _place(self, source: Path) -> Path:
        place = self.own / str(uuid.uuid4())
        shutil.copytree(source, place / "source", symlinks=True)
        self._give([place, *place.rglob("*")])
        return place

    def _give(self, paths: Iterable[Path]) -> None:
        """
        Make this user own *paths*.
        """
        if os.geteuid() == 0:
            for path in paths:
                os.lchown(path, self.account.pw_uid, self.account.pw_gid)

    def _start(
        self, ready: Ready, stdin: int, place: Path, way: Way
    ) -> subprocess.Popen[bytes]:
        suite = ready.suite
        command = [str(ready.python), "-m", "pytest", "-p", "no:cacheprovider"]
        command += ["-o", "junit_family=xunit1", f"--junitxml={place}/report.xml"]
        command += [f"--basetemp={place}/base", "-p", "witness"]
        if way.scope is not None:
            # These suites are known to leave things, so no warnings.
            command += ["-p", "nsisolate", "--nsisolate", "--nsisolate-leaks=ignore"]
            command += [f"--nsisolate-scope={way.scope}"]
            plugins = [*suite.plugins, *(["own_network"] if suite.net else [])]
            command += [part for plugin in plugins for part in ("-p", plugin)]
        command += ["-s"] if suite.terminal else []
        return self.start(
            [*command, *suite.arguments],
            cwd=place / "source",
            log=place / "log",
            environment=_ENVIRONMENT,
            stdin=stdin,
        )


def remove_what_plain_left(left: Iterable[str], absent: Iterable[str]) -> None:
    """
    Remove from the host what a suite is known to leave when it runs plain.

    Args:
        left: What the suite was found to have left.
        absent: Files that it leaves and that were not there before.
    """
    for name in (*filter(_LEFT_BY_PLAIN.fullmatch, left), *absent):
        Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def _stdin(terminal: bool) -> Iterator[int]:
    """
    Yield what a suite wants as descriptor 0, for it alone.
    """
    fds = os.openpty() if terminal else (os.open(os.devnull, os.O_RDONLY),)
    try:
        yield fds[-1]
    finally:
        for fd in fds:
            os.close(fd)
