"""
PID 1 of a sandbox: makes it, reaps its orphans, and takes it down by dying.

Runs in a fork of the launcher. Imports `linux` and what the launcher has anyway.

Source for all of it: pid_namespaces(7), "The namespace init process".
"""

from __future__ import annotations

# The socket module costs 6 ms of imports, a quarter of the launcher's start; all that
# is needed of it is sendmsg().
import _socket
import marshal
import os
import signal
from array import array

from pytest_nsisolate import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: What the launcher answers for an init that died before it had answered.
DIED = "died"

_QUIET = linux.MS_NOSUID | linux.MS_NODEV


def run(
    control: _socket.socket, request: dict[str, str | None], answered: int
) -> NoReturn:
    """
    Become the init of a new sandbox and answer *request* on *control*.

    The answer is an empty message with two descriptors, this process's pidfd and its
    root directory, or the call that was refused and its errno.

    Args:
        control: The launcher's socket to the supervisor.
        request: *hostname* and *domainname*, None for the host's.
        answered: Pipe in which to note for the launcher that this has answered.
    """
    try:
        _build(request)
        pidfd = linux.named("pidfd_open()", os.pidfd_open, os.getpid())
        root = linux.named("open(/)", os.open, "/", os.O_PATH | os.O_CLOEXEC)
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", [pidfd, root]))
        linux.named("sendmsg()", control.sendmsg, [marshal.dumps(None)], [rights])
    except OSError as error:
        tell_refusal(control, error)
        os.write(answered, b"!")
        os._exit(1)
    os.write(answered, b"!")
    # Nothing that the launcher had open may be kept alive by a sandbox.
    _close_all()
    while True:
        signal.pause()


def _close_all() -> None:
    # Not closerange(): a Python that was built without close_range(2) closes number by
    # number, whether open or not.
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:  # noqa: PLR2004 - the standard streams
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


def _build(request: dict[str, str | None]) -> None:
    # A test may send signals to PID 1. Those at their default do nothing there;
    # Python's own handler for SIGINT would end it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # SIGCHLD stays ignored, as in the launcher: the kernel then reaps by itself all
    # orphans that come to this process. Source: wait(2), "Linux notes".
    linux.unshare(linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWNS)
    # Slave, not private: what the host unmounts must not be kept busy from here.
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_SLAVE)
    linux.mount("proc", "/proc", "proc", _QUIET | linux.MS_NOEXEC)
    _mount_shm()
    # An IPC namespace has its own queues with or without this mount; with it, the
    # directory shows them. Source: mq_overview(7).
    if os.path.isdir("/dev/mqueue"):
        linux.mount("mqueue", "/dev/mqueue", "mqueue", _QUIET | linux.MS_NOEXEC)
    if request["hostname"] is not None:
        linux.sethostname(request["hostname"])
    if request["domainname"] is not None:
        linux.setdomainname(request["domainname"])


def _mount_shm() -> None:
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
