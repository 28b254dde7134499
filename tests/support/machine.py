"""
Snapshots of what a session may leave on the machine, and sessions that leave it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
from ways import is_capable

from pytest_nsisolate.launcher import mounts as mounting
from pytest_nsisolate.linux import namespaces, syscalls

#: How long a dying process may take to be gone, in seconds. What the tests leave on
#: purpose, and what hangs in them, would end after 60 s by itself.
PATIENCE = 50.0

#: How long a session that goes on may take, in seconds. That is less than the plugin
#: waits for an answer that never comes.
SHORT_PATIENCE = 28.0

#: The mark in the environment of all processes of a session. It finds them wherever
#: they are, and whoever has adopted them.
MARK = "NSISOLATE_MACHINE"

#: Source: mount(2).
_MS_PRIVATE, _MS_SHARED = 1 << 18, 1 << 20

#: Namespaces as /proc names them. Source: namespaces(7).
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")

#: What the commands of a launcher, and no others, have in common.
_BOOT = "launcher.main"


def wait_until(condition: Callable[[], object], what: str = "it") -> None:
    """
    Wait until *condition* is true; fail if that takes too long.
    """
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"still waiting for {what}"
        time.sleep(0.005)


def stands_still(process: psutil.Process) -> bool:
    """
    Say whether *process*, which was told to stop, does nothing more.

    It may have ended instead, and be a zombie while the parent is stopped. Or it waits
    for a stopped child that shares its memory, and no signal wakes it.
    Source: vfork(2).
    """
    try:
        status = process.status()
        if status == psutil.STATUS_DISK_SLEEP:
            return any(
                one.status() == psutil.STATUS_STOPPED for one in process.children()
            )
    except psutil.NoSuchProcess:
        return True
    return status in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


def marked(token: str) -> list[psutil.Process]:
    """
    Return the processes marked with *token*; zombies have no mark.
    """
    found, entry = [], f"{MARK}={token}\0".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            if entry in path.read_bytes():
                found.append(psutil.Process(int(path.parent.name)))
    return found


def command_of(process: psutil.Process) -> list[str]:
    """
    Return the command of *process*, nothing if it has just ended.
    """
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@functools.cache
def is_alone() -> bool:
    """
    Say whether this process has mounts and IPC objects of its own, with new ones.

    The first call makes them, if it may. So what other programs do on this machine in
    the meantime is not taken for something that a test has left.
    """
    if not is_capable():
        return False
    try:
        syscalls.unshare(namespaces.IPC.flag | namespaces.MNT.flag)
        syscalls.mount("none", "/", None, syscalls.MS_REC | _MS_PRIVATE)
    except OSError:
        # In a chroot nothing is mounted at the root.
        return False
    # As systemd mounts it, so a mount that a sandbox does not keep to itself is seen.
    syscalls.mount("none", "/", None, syscalls.MS_REC | _MS_SHARED)
    mounting.mount_shm()
    mounting.mount_mqueue()
    return True


def mounts() -> list[str]:
    """
    Return the lines of the mounts that a test can have made.

    None can be seen here that was made with less privilege. Source:
    mount_namespaces(7), "Restrictions on mount namespaces".
    """
    return _lines("/proc/self/mountinfo") if is_alone() else []


def snapshot(token: str, directory: Path) -> set[str]:
    """
    Return what a session may leave behind, one line each, including others' objects.

    Args:
        token: The mark of the session's processes, whose namespaces are included.
        directory: The directory for its temporary files.
    """
    return {
        *_processes(token),
        *(f"zombie {one.pid} of this process" for one in _zombies()),
        *(f"mount {line}" for line in mounts()),
        *_ipc(),
        *(f"file {path}" for path in _files("/dev/shm", "/dev/mqueue")),
        *(f"temporary {path}" for path in _files(str(directory))),
        *(f"descriptor {name} of this process" for name in _descriptors()),
    }


def nothing_left(before: set[str], token: str, directory: Path) -> None:
    """
    Wait until nothing is there that was not there *before*; else name what is left.

    What another program uses, or has for a while, does not count.
    """
    left: set[str] | None = None

    def is_nothing() -> bool:
        """
        Say whether everything is as before.
        """
        nonlocal left
        new = snapshot(token, directory) - before - set(_of_others())
        left = new if left is None else left & new
        return not left

    end = time.monotonic() + PATIENCE
    while not is_nothing():
        assert time.monotonic() < end, sorted(left or ())
        time.sleep(0.01)


def _processes(token: str) -> Iterator[str]:
    """
    Return the processes of the session.
    """
    outside = set(_namespaces(os.getpid()))
    for one in marked(token):
        with contextlib.suppress(psutil.Error):
            yield f"process {one.pid}: {' '.join(one.cmdline())}"
        for space in set(_namespaces(one.pid)) - outside:
            yield f"namespace {space}, of process {one.pid}"


def _zombies() -> list[psutil.Process]:
    """
    Return the processes that no one has reaped.
    """

    def is_zombie(one: psutil.Process) -> bool:
        """
        Say whether a process is a zombie.
        """
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(one.status() == psutil.STATUS_ZOMBIE)
        return False

    return [one for one in psutil.Process().children() if is_zombie(one)]


def _namespaces(pid: int) -> Iterator[str]:
    """
    Return the namespaces that the session's processes hold.
    """
    for kind in KINDS:
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/{pid}/ns/{kind}")


def _ipc() -> Iterator[str]:
    """
    Return the SysV objects.
    """
    for kind in ("msg", "sem", "shm"):
        for name, _ in _table(kind):
            yield name


def _table(kind: str) -> Iterator[tuple[str, dict[str, str]]]:
    """
    Return the SysV objects of a kind, with what the kernel says of each.
    """
    heading, *lines = _lines(f"/proc/sysvipc/{kind}") or [""]
    for line in lines:
        # Source: proc_sysvipc(5).
        facts = dict(zip(heading.split(), line.split(), strict=True))
        yield f"SysV {kind} {facts['key']} {facts[f'{kind}id']}", facts


def _of_others() -> Iterator[str]:
    """
    Return the objects that belong to another user, or that a process still uses.

    A session that is over uses none.
    """
    if is_alone():
        return
    user = os.geteuid()
    for kind in ("msg", "sem", "shm"):
        for name, facts in _table(kind):
            if facts["uid"] != str(user) or facts.get("nattch", "0") != "0":
                yield name
    files = list(_files("/dev/shm", "/dev/mqueue"))
    used = [text for path in _files("/proc") for text in _used(path)] if files else []
    for path in files:
        with contextlib.suppress(OSError):
            if path.lstat().st_uid != user or any(str(path) in text for text in used):
                yield f"file {path}"


def _used(process: Path) -> Iterator[str]:
    """
    Return texts with the names of the files that a process has mapped or open.
    """
    yield "\n".join(_lines(f"{process}/maps"))
    for path in _files(f"{process}/fd"):
        with contextlib.suppress(OSError):
            yield str(path.readlink())


def _lines(path: str) -> list[str]:
    """
    Return the lines of a file, or none if it does not exist.
    """
    with contextlib.suppress(OSError):
        return Path(path).read_text().splitlines()
    return []


def _files(*directories: str) -> Iterator[Path]:
    """
    Return the files in a directory.
    """
    for directory in directories:
        with contextlib.suppress(OSError):
            yield from Path(directory).iterdir()


def _descriptors() -> Iterator[str]:
    """
    Return the descriptors of this process.
    """
    for path in _files("/proc/self/fd"):
        # The descriptor of the listing itself is closed by now.
        with contextlib.suppress(OSError):
            yield f"{path.name} to {path.readlink()}"


@dataclasses.dataclass(frozen=True)
class Session:
    """
    A running pytest, and everything that belongs to it.
    """

    process: subprocess.Popen[str]
    token: str

    def processes(self) -> list[psutil.Process]:
        """
        Return all of its processes.
        """
        return marked(self.token)

    def supervisor(self) -> psutil.Process | None:
        """
        Return the pytest process, if it runs.
        """
        return next(iter(self.roles().get("supervisor", [])), None)

    def roles(self) -> dict[str, list[psutil.Process]]:
        """
        Return the plugin's processes by their role.

        They change: a single look may miss one, or find one that has just ended.
        """
        found: dict[str, list[psutil.Process]] = {}
        commands, parents = {}, {}
        for one in self.processes():
            with contextlib.suppress(psutil.Error):
                commands[one], parents[one.pid] = one.cmdline(), one.ppid()
        by_pid = {one.pid: one for one in commands}

        def above(one: psutil.Process) -> Iterator[list[str]]:
            """
            Yield the commands of the processes that *one* descends from.
            """
            while (up := by_pid.get(parents[one.pid])) is not None:
                yield commands[up]
                one = up

        for one, command in commands.items():
            found.setdefault(_role(command, list(above(one))), []).append(one)
        return found


def _role(command: list[str], above: Sequence[list[str]]) -> str:
    """
    Return a process's role by its command and the commands of the processes above.
    """

    def is_pytest(one: list[str]) -> bool:
        """
        Say whether a process runs pytest.
        """
        return one[1:3] == ["-m", "pytest"]

    if any(_BOOT in word for word in command):
        depth = sum(any(_BOOT in word for word in one) for one in above)
        return ("outer", "inner", "init")[min(depth, 2)]
    if is_pytest(command):
        depth = sum(map(is_pytest, above))
        return ("supervisor", "guest or between", "guest")[min(depth, 2)]
    return "other"


@contextlib.contextmanager
def started(command: Sequence[str], path: Path, **options: object) -> Iterator[Session]:
    """
    Run *command*, pytest or what ends in it, in *path*; end it at the end.

    Args:
        command: The command.
        path: The working directory.
        options: Arguments for `subprocess.Popen`.
    """
    token = secrets.token_hex(8)
    process = subprocess.Popen(  # type: ignore[call-overload]
        command,
        cwd=path,
        env={**os.environ, MARK: token},
        text=True,
        start_new_session=True,
        **{"stdin": subprocess.DEVNULL, **options},
    )
    session = Session(process, token)
    try:
        yield session
    finally:
        for one in session.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.communicate()
