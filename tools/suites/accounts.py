"""
Users that suites run as, and what these users leave on the host.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from commands import CannotRun, run


def accounts(user: str) -> list[pwd.struct_passwd]:
    """
    Return the users to run as: root and *user*, or only the one who started this.
    """
    try:
        own = pwd.getpwuid(os.geteuid())
        if own.pw_uid:
            return [own]
        other = pwd.getpwnam(user)
    except KeyError as error:
        raise CannotRun(f"the password database: {error}") from None
    if not other.pw_uid:
        raise CannotRun(f"{user} is root")
    return [own, other]


class Lane:
    """
    A user that suites run as.

    Args:
        account: The user's entry in the password database. Only root can use another's.
        work: A directory that the user can read.
        plugins: A directory with modules that the runs import.
    """

    def __init__(self, account: pwd.struct_passwd, work: Path, plugins: Path) -> None:
        self.account = account
        self.own = Path(tempfile.mkdtemp(prefix=f"{account.pw_name}-", dir=work))
        self._become: dict[str, Any] = {}
        if os.geteuid() == 0:
            uid, gid = account.pw_uid, account.pw_gid
            os.chown(self.own, uid, gid)
            self._become = {"user": uid, "group": gid, "extra_groups": []}
        #: The mark in the environment of every process of this lane and of no other.
        self._mark = f"SUITES_LANE={uuid.uuid4()}".encode()
        key, _, value = self._mark.decode().partition("=")
        # Take nothing over from the caller, such as options for pytest.
        self.environment = {
            key: value,
            "HOME": str(self.own),
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": str(plugins),
            "TMPDIR": str(self.own),
        }

    def start(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        log: Path,
        environment: dict[str, str],
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """
        Start *command* as this user.

        Args:
            command: Program and arguments.
            cwd: The working directory.
            log: The file for its output.
            environment: Additions to `environment`, or replacements.
            stdin: The descriptor to use as its descriptor 0.
        """
        try:
            with open(log, "wb") as out:
                return subprocess.Popen(
                    command,
                    cwd=cwd,
                    env={**self.environment, **environment},
                    stdin=stdin,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    **self._become,
                )
        except OSError as error:
            who = self.account.pw_name
            raise CannotRun(f"{who} cannot run {command[0]}: {error}") from None

    def check_sight(self, started: Iterable[subprocess.Popen[bytes]]) -> None:
        """
        Make sure that the search for processes left behind would find these.
        """
        if not {process.pid for process in started} <= set(self.processes()):
            raise CannotRun("the processes of a run cannot be seen in /proc")

    def left(self, before: set[str], *, patience: float) -> set[str]:
        """
        Return what a run has left: processes, and IPC objects that are not in *before*.

        What is just ending has *patience* seconds to do so.
        """
        deadline = time.monotonic() + patience
        while True:
            left = self.objects() - before
            left |= {f"process {pid}" for pid in self.processes()}
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.1)

    def objects(self) -> set[str]:
        """
        Return the user's IPC objects on the host.
        """
        uid = self.account.pw_uid
        found = set(_queues(uid, self.own))
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
        while (pids := list(self.processes())) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def processes(self) -> Iterator[int]:
        """
        Yield the process ids of this lane.
        """
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._mark in (place / "environ").read_bytes().split(b"\0"):
                    yield int(place.name)


def wait(process: subprocess.Popen[bytes], deadline: float, log: Path) -> None:
    """
    Wait for a run of pytest, and check that it ended with a result.

    Args:
        process: The process of pytest.
        deadline: When to give up, by `time.monotonic`.
        log: The file with its output.

    Raises:
        CannotRun: It had no result or took too long.
    """
    try:
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        ended = "took too long"
    else:
        # 0: all passed; 1: some failed. With any other code there is no result.
        if code in (0, 1):
            return
        ended = f"exit code {code}"
    said = log.read_text(errors="replace")[-2000:]
    raise CannotRun(f"pytest: {ended}\n{said}")


def _queues(uid: int, mountpoint: Path) -> Iterator[str]:
    """
    Yield the POSIX message queues of user *uid*, if they can be seen.

    They are files where their file system is mounted, and only root can mount it. Here
    it is mounted out of sight of all others. Source: mq_overview(7).
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
