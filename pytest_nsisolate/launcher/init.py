"""
PID 1 of a sandbox: makes it, reaps orphans, audits, and takes it down by dying.

Runs in a fork of the launcher, and imports what the launcher has, and `mounts`,
`directories` and `audit`.

Source: pid_namespaces(7), "The namespace init process".
"""

from __future__ import annotations

import _socket
import marshal
import os
import struct

from pytest_nsisolate.launcher import directories, mounts
from pytest_nsisolate.launcher.audit import Audit
from pytest_nsisolate.linux import ancestry, descriptors, namespaces, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from pytest_nsisolate.launcher.audit import Layer
    from pytest_nsisolate.launcher.directories import Wanted

    class Request(Wanted):
        """What the supervisor asks for: namespaces, and some fields of a spec."""

        namespaces: list[str]
        hostname: str | None
        domainname: str | None
        proc: bool | None
        files: str | None
        time: tuple[tuple[str, float], ...] | None

else:
    # The module signal imports enum, functools and collections.
    import _signal as signal

#: How many descriptors init sends: its pidfd and its root directory.
DESCRIPTORS = 2

#: Format of a request for an audit: the arguments of `Audit.look`.
LOOK = struct.Struct("=d?")

#: The fields of a request that name directories.
_DIRECTORIES = ("tmpfs", "overlay", "readonly")

#: Nanoseconds in a second.
_NANO = 10**9


def answers_on(fd: int) -> _socket.socket:
    """
    Return the socket *fd* on which an init answers, and takes requests for audits.
    """
    # With its kind, which the socket would ask the kernel for otherwise.
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)


def run(
    answers: _socket.socket, request: Request, first: int, inherited: Iterable[int]
) -> NoReturn:
    """
    Become the init of a new sandbox and answer *request*, then requests for audits.

    The answer is None together with `DESCRIPTORS` descriptors, or the call that was
    refused and its errno.

    Args:
        answers: The socket to the supervisor.
        request: What the sandbox is to be like.
        first: The process id that the first process after init is to have.
        inherited: What else the launcher has open.
    """
    try:
        layers = _build(request)
        _give_next(first)
        audit = Audit(first, layers)
        pidfd = syscalls.named("pidfd_open()", os.pidfd_open, os.getpid())
        root = syscalls.named("open(/)", os.open, "/", os.O_PATH | os.O_CLOEXEC)
        descriptors.send(answers, marshal.dumps(None), [pidfd, root])
    except OSError as error:
        tell_refusal(answers, error)
        os._exit(1)
    # A sandbox must not keep alive what the launcher had open.
    for fd in (*inherited, pidfd, root):
        os.close(fd)
    questions = answers.detach()
    while question := os.read(questions, LOOK.size):
        grace, has_guest = LOOK.unpack(question)
        facts = audit.look(grace, has_guest=has_guest)
        os.write(questions, marshal.dumps(facts))
    # No one holds this sandbox any more.
    os._exit(0)


def tell_refusal(answers: _socket.socket, error: OSError) -> None:
    """
    Send *error* to the supervisor: the refused call and its errno.
    """
    call = error.filename if error.filename is not None else "a system call"
    answers.send(marshal.dumps((str(call), error.errno)))


def _build(request: Request) -> list[Layer]:
    """
    Make the namespaces, and return the layers of overlays whose changes count.
    """
    flags = 0
    for name in request["namespaces"]:
        flags |= _FLAGS.get(name, 0)
    syscalls.unshare(flags)
    layers: list[Layer] = []
    for name, set_up in _SET_UP.items():
        if name in request["namespaces"]:
            layers += set_up(request) or ()
    return layers if request["files"] not in {None, "ignore"} else []


def _give_next(first: int) -> None:
    if first == os.getpid() + 1:
        return
    # As long as SIGCHLD is ignored, nobody can wait until a process is out of sight.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ancestry.use_up(os.getpid(), first)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def _set_up_net(_: Request) -> None:
    bring_up_loopback()


def _set_up_mnt(request: Request) -> list[Layer]:
    layers: list[Layer] = []
    mounts.detach_mounts()
    if any(request[name] for name in _DIRECTORIES):  # type: ignore[literal-required]
        layers = directories.arrange(request)
    if request["proc"] is not False:
        mounts.mount_proc()
    mounts.mount_shm()
    mounts.mount_mqueue()
    return layers


def _set_up_uts(request: Request) -> None:
    if request["hostname"] is not None:
        syscalls.sethostname(request["hostname"])
    if request["domainname"] is not None:
        syscalls.setdomainname(request["domainname"])


def _set_up_time(request: Request) -> None:
    offsets = dict(request["time"] or ())
    if any(offsets.values()):
        shift_clocks(offsets)
    join_time_namespace()


#: The bits of the namespaces that init makes, by name, looked up before any init runs.
_FLAGS = {
    one.name: one.flag for one in namespaces.TABLE if one.entry == namespaces.JOINED
}

#: How to set up a new namespace, by its name, in the order in which it is done.
_SET_UP: dict[str, Callable[[Request], list[Layer] | None]] = {
    "net": _set_up_net,
    "mnt": _set_up_mnt,
    "uts": _set_up_uts,
    "time": _set_up_time,
}


def bring_up_loopback() -> None:
    """
    Bring up the loopback interface, which is down in a new network namespace.

    Source: network_namespaces(7). `syscalls.set_link_up` says who adds its addresses.
    """
    # A Unix socket, which every kernel has: IPv4 and IPv6 may be missing.
    made = syscalls.named(
        "socket()", _socket.socket, _socket.AF_UNIX, _socket.SOCK_DGRAM
    )
    try:
        syscalls.set_link_up(made.fileno(), "lo")
    finally:
        made.close()


def shift_clocks(offsets: dict[str, float]) -> None:
    """
    Shift the clocks of a new time namespace, in which there is no process yet.

    Source: time_namespaces(7), "/proc/pid/timens_offsets".

    Args:
        offsets: Of each clock, in seconds.
    """
    path = "/proc/self/timens_offsets"
    fd = syscalls.named(f"open({path})", os.open, path, os.O_RDWR | os.O_CLOEXEC)
    try:
        # They count from the host's clocks, and those outside may be shifted already.
        fields = iter(os.read(fd, 4096).split())
        lines = b""
        for clock, *old in zip(fields, fields, fields, strict=True):
            shift = _nanoseconds(offsets.get(clock.decode(), 0))
            seconds, rest = divmod(int(old[0]) * _NANO + int(old[1]) + shift, _NANO)
            lines += b"%s %d %d\n" % (clock, seconds, rest)
        # The kernel takes it at the beginning of the file only.
        os.lseek(fd, 0, os.SEEK_SET)
        syscalls.named(f"write({path})", os.write, fd, lines)
    finally:
        os.close(fd)


def _nanoseconds(seconds: float) -> int:
    over, under = seconds.as_integer_ratio()
    return (2 * over * _NANO + under) // (2 * under)


def join_time_namespace() -> None:
    """
    Join the new time namespace, in which unshare(2) puts nothing but children.
    """
    path = "/proc/self/ns/time_for_children"
    fd = syscalls.named(f"open({path})", os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flag = namespaces.TIME.flag
        syscalls.named("setns(time_for_children)", syscalls.setns, fd, flag)
    finally:
        os.close(fd)
