"""
A user as whom suites are run, and what is on the host that is that user's.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import outcomes
from commands import CannotRun, run
from outcomes import Outcomes
from suites import Suite

#: Seconds for the runs of a suite at the same time.
_RUN_TIME = 180.0

#: posix_ipc 1.3.2, run plain, leaves a name that it made of letters in its test
#: TestMemoryResize::test_ftruncate_increase.
_LEFT_BY_PLAIN = re.compile(r"/dev/shm/[a-z]+")


class Lane:
    """
    A user as whom suites are run.

    Args:
        account: The user's entry in the password database; one's own, unless one is
            root.
        work: A directory that the user can read.
        plugins: A directory with the module ``witness``, see `outcomes.WITNESS`.
    """

    def __init__(self, account: pwd.struct_passwd, work: Path, plugins: Path) -> None:
        self.account = account
        self._own = Path(tempfile.mkdtemp(prefix=f"{account.pw_name}-", dir=work))
        self._become: dict[str, Any] = {}
        if os.geteuid() == 0:
            uid, gid = account.pw_uid, account.pw_gid
            os.chown(self._own, uid, gid)
            self._become = {"user": uid, "group": gid, "extra_groups": []}
        #: In the environment of every process of this lane and of no other.
        self._mark = f"IPC_SUITES_LANE={uuid.uuid4()}".encode()
        key, _, value = self._mark.decode().partition("=")
        # Nothing of the caller's: no pytest options, and no plugin that is not named.
        self._environment = {
            key: value,
            "HOME": str(self._own),
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(plugins),
            "TMPDIR": str(self._own),
        }

    def run(self, suite: Suite, *, times: int, isolated: bool) -> list[Outcomes]:
        """
        Run *suite*, so many *times* at the same time.

        Raises:
            CannotRun: A run did not come to its end, or not where it should have.
        """
        reports = [self._own / f"{uuid.uuid4()}.xml" for _ in range(times)]
        started: list[subprocess.Popen[bytes]] = []
        deadline = time.monotonic() + _RUN_TIME
        with contextlib.ExitStack() as stack:
            stdins = [stack.enter_context(_stdin(suite)) for _ in reports]
            try:
                for stdin, report in zip(stdins, reports, strict=True):
                    started.append(self._start(suite, stdin, report, isolated))
                self._check_sight(started)
                for process, report in zip(started, reports, strict=True):
                    _wait(process, deadline, report.with_suffix(".log"))
            except BaseException:
                self.kill()
                raise
        return [outcomes.read(report, isolated=isolated) for report in reports]

    def left(self, before: set[str], *, patience: float) -> set[str]:
        """
        Return what a run has left: processes, and IPC objects that are not in *before*.

        What is about to go has *patience* seconds to do so.
        """
        deadline = time.monotonic() + patience
        while True:
            left = self.objects() - before
            left |= {f"process {pid}" for pid in self._processes()}
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.1)

    def objects(self) -> set[str]:
        """
        Return the user's IPC objects on the host.
        """
        uid = self.account.pw_uid
        found = set(_queues(uid, self._own))
        for kind in ("shm", "sem", "msg"):
            names, *lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()
            for line in lines:
                fact = dict(zip(names.split(), line.split(), strict=True))
                if int(fact["cuid"]) == uid:
                    found.add(f"SysV {kind} {line.split()[1]}")
        for path in Path("/dev/shm").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_uid == uid:
                    found.add(str(path))
        return found

    def kill(self) -> None:
        """
        Kill every process of this lane.
        """
        deadline = time.monotonic() + 10.0
        while (pids := list(self._processes())) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def _start(
        self, suite: Suite, stdin: int, report: Path, isolated: bool
    ) -> subprocess.Popen[bytes]:
        command = [str(suite.python), "-m", "pytest", "-p", "no:cacheprovider"]
        command += ["-o", "junit_family=xunit1", f"--junitxml={report}"]
        command += ["-p", "witness"]
        command += ["-p", "nsisolate", "--nsisolate"] if isolated else []
        command += ["-s"] if suite.terminal else []
        try:
            with open(report.with_suffix(".log"), "wb") as log:
                return subprocess.Popen(
                    [*command, "tests"],
                    cwd=suite.source,
                    env=self._environment,
                    stdin=stdin,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    **self._become,
                )
        except OSError as error:
            who = self.account.pw_name
            raise CannotRun(f"{who} cannot run {suite.python}: {error}") from None

    def _check_sight(self, started: Iterable[subprocess.Popen[bytes]]) -> None:
        """
        Make sure that a look for processes left behind would find them.
        """
        if not {process.pid for process in started} <= set(self._processes()):
            raise CannotRun("the processes of a run cannot be seen in /proc")

    def _processes(self) -> Iterator[int]:
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._mark in (place / "environ").read_bytes().split(b"\0"):
                    yield int(place.name)


def remove_what_plain_left(left: Iterable[str]) -> None:
    """
    Remove from the host what a suite is known to forget when it is run plain.
    """
    for name in filter(_LEFT_BY_PLAIN.fullmatch, left):
        Path(name).unlink(missing_ok=True)


def _wait(process: subprocess.Popen[bytes], deadline: float, log: Path) -> None:
    """
    Wait for a run of pytest, and check that it ended as one that has a result.
    """
    try:
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        ended = "took too long"
    else:
        # 0: all passed; 1: some did not. All others: there is no result.
        if code in (0, 1):
            return
        ended = f"exit code {code}"
    said = log.read_text(errors="replace")[-2000:]
    raise CannotRun(f"pytest: {ended}\n{said}")


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


def _queues(uid: int, mountpoint: Path) -> Iterator[str]:
    """
    Give the POSIX message queues of user *uid*, if there is a way to see them.

    They are files where their file system is mounted, and only root can mount it; out
    of sight of all others, here. Source: mq_overview(7).
    """
    if os.geteuid() == 0:
        look = f"mount -t mqueue none {mountpoint} && ls -ln {mountpoint}"
        listing = run(["unshare", "--mount", "sh", "-c", look], 60)
    elif os.path.ismount("/dev/mqueue"):
        listing = run(["ls", "-ln", "/dev/mqueue"], 60)
    else:
        return
    for line in listing.splitlines()[1:]:
        fields = line.split()
        if int(fields[2]) == uid:
            yield f"message queue /{fields[-1]}"
