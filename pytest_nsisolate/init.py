"""
PID 1 of a sandbox: makes it, reaps orphans, audits, and takes it down by dying.

Runs in a fork of the launcher. Imports `linux`, `namespaces`, `fresh`, `audit` and what
the launcher has.

Source for all of it: pid_namespaces(7), "The namespace init process".
"""

from __future__ import annotations

# The socket module costs 6 ms of imports, a quarter of the launcher's start; all that
# is needed of it is sendmsg().
import _socket
import marshal
import os
import signal
import struct
from array import array

from pytest_nsisolate import fresh, linux, namespaces
from pytest_nsisolate.audit import Audit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, TypedDict

    class Request(TypedDict):
        """What the supervisor asks for: fields of a spec, but for the first."""

        namespaces: list[str]
        hostname: str | None
        domainname: str | None
        proc: bool | None
        tmpfs: tuple[str, ...] | None


#: What init sends: its pidfd, its root directory, and a socket to ask for an audit.
DESCRIPTORS = 3

#: How an audit is asked for: the grace period in seconds.
GRACE = struct.Struct("=d")

#: What the launcher answers for an init that died before it had answered.
DIED = "died"

_QUIET = linux.MS_NOSUID | linux.MS_NODEV


def run(control: _socket.socket, request: Request, answered: int) -> NoReturn:
    """
    Become the init of a new sandbox and answer *request* on *control*.

    The answer is an empty message with the descriptors of `DESCRIPTORS`, or the call
    that was refused and its errno.

    Args:
        control: The launcher's socket to the supervisor.
        request: What of a spec it takes to make a sandbox.
        answered: Pipe in which to note for the launcher that this has answered.
    """
    try:
        _build(request)
        audit = Audit()
        questions, asker = linux.named("socketpair()", _socketpair)
        pidfd = linux.named("pidfd_open()", os.pidfd_open, os.getpid())
        root = linux.named("open(/)", os.open, "/", os.O_PATH | os.O_CLOEXEC)
        fds = array("i", [pidfd, root, asker])
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)
        linux.named("sendmsg()", control.sendmsg, [marshal.dumps(None)], [rights])
    except OSError as error:
        tell_refusal(control, error)
        os.write(answered, b"!")
        os._exit(1)
    os.write(answered, b"!")
    # Nothing that the launcher had open may be kept alive by a sandbox.
    _close_all_but(questions)
    while question := os.read(questions, GRACE.size):
        (grace,) = GRACE.unpack(question)
        os.write(questions, marshal.dumps(audit.look(grace)))
    # No one holds this sandbox any more.
    os._exit(0)


def _socketpair() -> tuple[int, int]:
    pair = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return pair[0].detach(), pair[1].detach()


def _close_all_but(kept: int) -> None:
    # Not closerange(): a Python that was built without close_range(2) closes number by
    # number, whether open or not.
    # A /proc from outside is as good: its "self" is this process by its number there.
    # Source: proc_pid(5), /proc/self.
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        # With proc=False there need not be one.
        os.closerange(3, kept)
        os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
        return
    for name in names:
        if int(name) > 2 and int(name) != kept:  # noqa: PLR2004 - the standard streams
            try:
                os.close(int(name))
            except OSError:
                # That of the listing itself.
                continue


def tell_refusal(control: _socket.socket, error: OSError) -> None:
    """
    Send *error* to the supervisor: the refused call and its errno.
    """
    call = error.filename if error.filename is not None else "a system call"
    control.send(marshal.dumps((str(call), error.errno)))


def _build(request: Request) -> None:
    # A test may send signals to PID 1. Those at their default do nothing there;
    # Python's own handler for SIGINT would end it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # SIGCHLD stays ignored, as in the launcher: the kernel then reaps by itself all
    # orphans that come to this process. Source: wait(2), "Linux notes".
    linux.unshare(namespaces.joined(namespaces.named(request["namespaces"])))
    for name, set_up in _SET_UP.items():
        if name in request["namespaces"]:
            set_up(request)
    if request["tmpfs"] is not None:
        fresh.cover(request["tmpfs"])


def _set_up_net(_: Request) -> None:
    bring_up_loopback()


def _set_up_mnt(request: Request) -> None:
    detach_mounts()
    if request["proc"] is not False:
        mount_proc()
    mount_shm()
    mount_mqueue()


def _set_up_uts(request: Request) -> None:
    if request["hostname"] is not None:
        linux.sethostname(request["hostname"])
    if request["domainname"] is not None:
        linux.setdomainname(request["domainname"])


#: What is done in a new namespace, by its name, in the order in which it is done.
_SET_UP: dict[str, Callable[[Request], None]] = {
    "net": _set_up_net,
    "mnt": _set_up_mnt,
    "uts": _set_up_uts,
}


def bring_up_loopback() -> None:
    """
    Bring up the loopback interface of a new network namespace, where it is down.

    Source: network_namespaces(7); its addresses are in `linux.set_link_up`.
    """
    # One of a family that every kernel has: IPv4 and IPv6 may be missing.
    made = linux.named("socket()", _socket.socket, _socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        linux.set_link_up(made.fileno(), "lo")
    finally:
        made.close()


def detach_mounts() -> None:
    """
    Have no mount that is made here from now on be seen outside.
    """
    # Slave, not private: what the host unmounts must not be kept busy from here.
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_SLAVE)


def mount_proc() -> None:
    """
    Mount a ``/proc`` that shows the processes of the caller's PID namespace.
    """
    linux.mount("proc", "/proc", "proc", _QUIET | linux.MS_NOEXEC)


def mount_mqueue() -> None:
    """
    Have ``/dev/mqueue``, where there is one, show the queues of the IPC namespace.

    The namespace has its own queues with or without this. Source: mq_overview(7).
    """
    if os.path.isdir("/dev/mqueue"):
        linux.mount("mqueue", "/dev/mqueue", "mqueue", _QUIET | linux.MS_NOEXEC)


def mount_shm() -> None:
    """
    Give the sandbox a ``/dev/shm`` of its own, as large as the one it hides.

    POSIX shared memory and semaphores live there, outside the IPC namespace. Source:
    shm_overview(7), sem_overview(7).
    """
    if not os.path.isdir("/dev/shm"):
        return
    data = "mode=1777"
    if os.path.ismount("/dev/shm"):
        facts = linux.named("statvfs(/dev/shm)", os.statvfs, "/dev/shm")
        data += f",size={facts.f_blocks * facts.f_frsize}"
    linux.mount("tmpfs", "/dev/shm", "tmpfs", _QUIET, data)
