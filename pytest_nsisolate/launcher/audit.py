"""
The audit: what is in a sandbox, as its init sees it.

It runs in a bare interpreter, and returns only numbers and strings, for `marshal`.
"""

from __future__ import annotations

import os
import select
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Not typing.TypeAlias, which a bare interpreter would have to import.
#: What is known about one thing. Each kind of thing has its own order.
Fact = tuple[int | float | str, ...]
#: All things of one kind: how many there are, and the facts on the first ones.
Found = tuple[int, list[Fact]]
#: What was found, by kind. "unseen" lists kinds that could not be looked for, each
#: with the path that could not be read and the errno.
Facts = dict[str, Found]

#: The layers of an overlay: its path, and descriptors of what is written to it and of
#: what is below. If it is a mount point that is a file: the copy of it, and `WHOLE`.
Layer = tuple[str, int, int]

#: Nothing is below, as all of it was copied.
WHOLE = -1

#: How many of each kind are described, so that an answer fits into one message.
SHOWN = 20

_SHOWN_PROCESSES = 100
# Most of them may be the host's.
_SHOWN_MOUNTS = 100
_SHOWN_CHANGES = 100
_CUT = 300
_CUT_PATH = 1000

#: What a process is: init, the guest, a helper process of Python, one of a launcher for
#: further sandboxes, or anything else.
INIT, GUEST, HELPER, LAUNCHER, OTHER = "init", "guest", "helper", "launcher", "other"

#: Python starts these by itself. They end with the process that started them.
_HELPERS = ("resource_tracker import main", "multiprocessing.forkserver import main")

#: What the command of a launcher has in it, and so that of its inits. They end in turn
#: once the process has ended that started the launcher.
_LAUNCHERS = "from pytest_nsisolate.launcher.main import main"

#: The flag of a process that has ended, and is being taken down. It executes nothing
#: any more, but may take long on a busy machine. Source: proc_pid_stat(5), flags;
#: PF_EXITING in linux/sched.h.
_PF_EXITING = 0x4

#: The flag of a segment that goes when the last process detaches. Source: shmctl(2).
_SHM_DEST = 0o1000


#: What the audit reads. Source: proc_pid_mountinfo(5), mq_overview(7), shm_overview(7).
_MOUNTS, _QUEUES, _FILES = "/proc/self/mountinfo", "/dev/mqueue", "/dev/shm"


class Audit:
    """
    A search for what is in this sandbox.

    Create it with the sandbox: what is mounted by then is not a leak.

    Args:
        guest: The process id that the guest has inside, the first one after init.
        layers: Those of overlays, and copies of files, whose changes count.
    """

    def __init__(self, guest: int, layers: list[Layer]) -> None:
        self._guest = guest
        self._layers = [layer for layer in layers if layer[2] != WHOLE]
        #: What was copied whole: its path, its descriptor, and its state by then.
        self._copies = [
            (path, fd, _content(os.stat(fd)))
            for path, fd, below in layers
            if below == WHOLE
        ]
        try:
            self._mounts = read(_MOUNTS)
        except OSError:
            # With proc=False there may be no /proc. `look` will say so.
            self._mounts = ""
        #: What `_state` said of each directory while it was empty.
        self._empty = {path: _state(path) for path in (_QUEUES, _FILES)}

    def look(self, grace: float, *, has_guest: bool) -> Facts:
        """
        Return what is in the sandbox.

        Args:
            grace: How long to wait for processes to end, in seconds. If there are none,
                this does not wait.
            has_guest: Whether the first process is a guest. In a box it is like others.
        """
        guest = self._guest if has_guest else 0
        facts: Facts = {}
        unseen: list[Fact] = []
        look_for = {
            "process": lambda: _processes_after(grace, guest),
            **_FIND,
            "queue": self._queues,
            "file": self._files,
            "mount": self._new_mounts,
            "change": self._changes,
        }
        for kind, find in look_for.items():
            try:
                facts[kind] = find()
            except OSError as error:  # noqa: PERF203 - each can fail
                unseen.append((kind, str(error.filename), error.errno or 0))
        facts["unseen"] = (len(unseen), unseen)
        return facts

    def _new_mounts(self) -> Found:
        now = read(_MOUNTS)
        if now == self._mounts:
            return 0, []
        before, after = _parsed(self._mounts), _parsed(now)
        # What the host mounts is mounted here too, as the slave of a new peer group.
        # Source: mount_namespaces(7), "Shared subtrees". It is that of an old one if it
        # shows what was mounted already, and the supervisor looks at the host for that.
        masters = {"", *(before[mount] for mount in before.keys() & after.keys())}
        new = [
            mount
            for mount, master in after.items()
            if mount not in before and master in masters
        ]
        return len(new), [mount[1:] for mount in new[:_SHOWN_MOUNTS]]

    def _changes(self) -> Found:
        """
        Find files that were changed in overlays: what was done to each, and its path.
        """
        number, first = 0, list[Fact]()
        for what, path in self._each_change():
            number += 1
            if number <= _SHOWN_CHANGES:
                first.append((what, ascii(path)[1:-1][:_CUT_PATH]))
        return number, first

    def _each_change(self) -> Iterator[tuple[str, str]]:
        for path, upper, lower in self._layers:
            for what, inner in _changed(upper, lower):
                yield what, f"{path.rstrip('/')}/{inner}"
        # A mount point cannot be removed. Source: unlink(2), EBUSY.
        for path, fd, before in self._copies:
            if _content(os.stat(fd)) != before:
                yield "changed", path

    def _queues(self) -> Found:
        """
        Find POSIX message queues: name, uid of the owner.
        """
        return self._directory(_QUEUES, lambda facts: (facts.st_uid,))

    def _files(self) -> Found:
        """
        Find files in ``/dev/shm``: name, uid of the owner, bytes.
        """
        return self._directory(_FILES, lambda facts: (facts.st_uid, facts.st_size))

    def _directory(
        self, path: str, facts: Callable[[os.stat_result], tuple[int, ...]]
    ) -> Found:
        if _state(path) == self._empty[path]:
            return 0, []
        return _in_directory(path, facts)


#: How to open a directory, to list it.
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def _changed(upper: int, lower: int) -> Iterator[tuple[str, str]]:
    """
    Yield what was done to each file in an overlay, and its path there.

    What is in a directory that was created is not named.

    Args:
        upper: What is written to the overlay.
        lower: What is below.

    Source: Documentation/filesystems/overlayfs.rst in Linux, "whiteouts and opaque
    directories".
    """
    names = sorted(os.listdir(upper))
    if _is_opaque(upper):
        inner = os.open(".", _READ, dir_fd=lower)
        gone = sorted({*os.listdir(inner)} - {*names})
        os.close(inner)
        yield from (("removed", name) for name in gone)
    for name in names:
        now, before = _status(name, upper), _status(name, lower)
        if now is None:
            # A process that still runs has removed it.
            continue
        if stat.S_ISCHR(now.st_mode) and now.st_rdev == 0:
            if before is not None:
                yield "removed", name
        elif before is None:
            yield "created", name
        elif stat.S_ISDIR(now.st_mode) and stat.S_ISDIR(before.st_mode):
            if _owned(now) != _owned(before):
                yield "changed", name
            inner = os.open(name, _READ, dir_fd=upper)
            below = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=lower)
            for what, path in _changed(inner, below):
                yield what, f"{name}/{path}"
            os.close(inner)
            os.close(below)
        # One that was opened for writing is copied, whether or not it was written to.
        elif _content(now) != _content(before):
            yield "changed", name


def _status(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except (FileNotFoundError, PermissionError):
        # What the user may not see is not there for him.
        return None


def _owned(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def _content(status: os.stat_result) -> tuple[int, ...]:
    """
    Return what tells whether a file was changed.
    """
    return *_owned(status), status.st_size, status.st_mtime_ns


def _is_opaque(directory: int) -> bool:
    """
    Say whether *directory* of an upper layer hides what is in the one below.
    """
    for kind in ("trusted", "user"):
        try:
            return os.getxattr(directory, f"{kind}.overlay.opaque") == b"y"
        except OSError:  # noqa: PERF203 - each can fail
            continue
    return False


def _processes(guest: int) -> Found:
    """
    Find processes: id, starter's id, age in seconds, command, what it and starter are.

    Init, zombies and what is about to be one are left out. Source: proc_pid_stat(5).
    """
    found: list[Fact] = []
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    helpers: set[int] = set()
    ids = _process_ids()
    for number, pid in ids.items():
        if pid == 1:
            continue
        try:
            # What is about to end loses its command first, and has the flag by then.
            command = _command(number)
            head, _, tail = read(f"/proc/{number}/stat").rpartition(")")
            command = command or f"[{head.partition('(')[2]}]"
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = tail.split()
        starter = ids.get(int(fields[1]), 1)
        if fields[0] in "ZX" or int(fields[6]) & _PF_EXITING:
            continue
        age = max(0.0, now - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
        kind = GUEST if pid == guest else OTHER
        by = {1: INIT, guest: GUEST}.get(starter, OTHER)
        if any(text in command for text in _HELPERS) and starter not in helpers:
            # A fork of a fork server has the same command line, but is no helper.
            kind = HELPER
            helpers.add(pid)
        elif _LAUNCHERS in command:
            kind = LAUNCHER
        found.append((pid, starter, age, command[:_CUT], kind, by))
    return len(found), found[:_SHOWN_PROCESSES]


def _process_ids() -> dict[int, int]:
    """
    Map the ids in ``/proc`` of the processes inside, in order, to their ids inside.

    With proc=False it is the ``/proc`` from outside, with all processes of the host.
    """
    numbers = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    if os.readlink("/proc/self") == "1":
        return dict(zip(numbers, numbers, strict=True))
    here = os.readlink("/proc/self/ns/pid")
    ids = {}
    for number in numbers:
        try:
            if os.readlink(f"/proc/{number}/ns/pid") != here:
                continue
            # The last one is that in the innermost namespace. Source:
            # proc_pid_status(5), NSpid.
            _, _, rest = read(f"/proc/{number}/status").partition("\nNSpid:")
            ids[number] = int(rest.split("\n")[0].split()[-1])
        except OSError:
            # It has ended, or is someone else's.
            continue
    return ids


def _processes_after(grace: float, guest: int) -> Found:
    """
    Find processes after those of the test have ended, or after *grace* seconds.
    """
    found = _processes(guest)
    others = [int(pid) for pid, *_, kind, _ in found[1] if kind == OTHER]
    if grace > 0 and others:
        _wait_for(others, grace)
        found = _processes(guest)
    return found


def _wait_for(pids: list[int], grace: float) -> None:
    """
    Wait until the processes *pids* have ended, but at most *grace* seconds.
    """
    end = time.monotonic() + grace
    poll = select.poll()
    waiting = set()
    for pid in pids:
        try:
            waiting.add(os.pidfd_open(pid))
        except OSError:  # noqa: PERF203 - each can fail
            # It has just ended, or no descriptors are left.
            continue
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    while waiting and (left := end - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            poll.unregister(fd)
            waiting.discard(fd)
            os.close(fd)
    for fd in waiting:
        os.close(fd)


def _shm() -> Found:
    """
    Find SysV segments: key, id, bytes, uid and process id of the creator.

    Source: proc_sysvipc(5), also for semaphores and queues.
    """
    rows = [row for row in _sysvipc("shm") if not int(row["perms"], 8) & _SHM_DEST]
    names = ("key", "shmid", "size", "cuid", "cpid")
    return len(rows), [tuple(int(row[name]) for name in names) for row in rows[:SHOWN]]


def _sem() -> Found:
    """
    Find SysV semaphore sets: key, id, number of semaphores, uid of the creator.
    """
    rows = _sysvipc("sem")
    names = ("key", "semid", "nsems", "cuid")
    return len(rows), [tuple(int(row[name]) for name in names) for row in rows[:SHOWN]]


def _msg() -> Found:
    """
    Find SysV message queues: key, id, bytes, uid of the creator, number of messages.
    """
    rows = _sysvipc("msg")
    names = ("key", "msqid", "cbytes", "cuid", "qnum")
    return len(rows), [tuple(int(row[name]) for name in names) for row in rows[:SHOWN]]


def _sysvipc(kind: str) -> list[dict[str, str]]:
    head, *lines = read(f"/proc/sysvipc/{kind}").splitlines()
    names = head.split()
    return [dict(zip(names, line.split(), strict=True)) for line in lines]


def _state(path: str) -> tuple[int, int] | None:
    """
    Return what tells whether something is in the directory *path*, None if it is none.

    On tmpfs and mqueue the size of a directory grows with each entry, and shrinks with
    each that goes: BOGO_DIRENT_SIZE in mm/shmem.c, DIRENT_SIZE in ipc/mqueue.c.
    """
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_size


def _in_directory(
    path: str, facts: Callable[[os.stat_result], tuple[int, ...]]
) -> Found:
    if not os.path.ismount(path):
        # It is missing, or the host's, which no sandbox reports on.
        return 0, []
    names = sorted(os.listdir(path))
    found: list[Fact] = []
    for name in names:
        if len(found) == SHOWN:
            return len(names), found
        try:
            status = os.lstat(f"{path}/{name}")
        except FileNotFoundError:
            # A process that still runs has removed it.
            continue
        found.append((ascii(name)[1:-1], *facts(status)))
    return len(found), found


def mounts() -> list[tuple[str, str, str, str, str]]:
    """
    Return the mounts: id, file system, mount point, device, directory on the device.

    Raises:
        OSError: The list of mounts cannot be read.

    Source: proc_pid_mountinfo(5).
    """
    return [*_parsed(read(_MOUNTS))]


def rows(text: str) -> list[list[str]]:
    """
    Return the fields of each line of *text*, the list of mounts.

    The kernel escapes a space, a tab and a newline in a path, and nothing else that
    Python takes for one of these. Source: proc_pid_mountinfo(5).
    """
    return [line.split(" ") for line in text.split("\n") if line]


def _parsed(text: str) -> dict[tuple[str, str, str, str, str], str]:
    """
    Map the mounts in *text* to their masters: ``master:N``, or an empty string.
    """
    found = {}
    for fields in rows(text):
        end = fields.index("-")
        master = next((one for one in fields[6:end] if one.startswith("master:")), "")
        mount = fields[0], fields[end + 1], fields[4], fields[2], fields[3]
        found[mount] = master
    return found


_FIND: dict[str, Callable[[], Found]] = {
    "shm": _shm,
    "sem": _sem,
    "msg": _msg,
}


def _command(pid: int) -> str:
    return read(f"/proc/{pid}/cmdline").rstrip("\0").replace("\0", " ")


def read(path: str) -> str:
    """
    Return the text of the file at *path*; bytes that are no text are escaped.

    Raises:
        OSError: It cannot be read.
    """
    # Not open(), which may have to load codecs.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while chunk := os.read(fd, 1 << 16):
            data += chunk
    finally:
        os.close(fd)
    return data.decode("utf-8", "backslashreplace")
