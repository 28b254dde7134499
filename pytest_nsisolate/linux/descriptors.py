"""
Descriptors: pipes and sockets that close themselves, and how to wait for them.

The launcher, a bare interpreter, imports this module, so its imports must be cheap.
"""

from __future__ import annotations

# The socket module costs 6 ms of imports, a quarter of the launcher's start. The module
# array would import collections.
import _socket

# Bound here, since a fixture may patch them in their module.
from struct import calcsize, pack, unpack

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class Pipe:
    """
    A pipe. Leaving its context closes each end that was not taken.

    Raises:
        OSError: No descriptors are left.
    """

    def __init__(self) -> None:
        #: The ends, or -1 once closed or taken.
        self.read, self.write = syscalls.named("pipe2()", os.pipe)

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_read()
        self.close_write()

    def take_read(self) -> int:
        """
        Return the read end, which the caller must close from now on.
        """
        fd, self.read = self.read, -1
        return fd

    def take_write(self) -> int:
        """
        Return the write end, which the caller must close from now on.
        """
        fd, self.write = self.write, -1
        return fd

    def close_read(self) -> None:
        """
        Close the read end, unless it is closed or taken.
        """
        _close(self.take_read())

    def close_write(self) -> None:
        """
        Close the write end, unless it is closed or taken.
        """
        _close(self.take_write())


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def socketpair() -> tuple[_socket.socket, _socket.socket]:
    """
    Return two connected sockets that preserve message boundaries.

    Raises:
        OSError: No descriptors are left.
    """
    return syscalls.named(
        "socketpair()", _socket.socketpair, _socket.AF_UNIX, _socket.SOCK_SEQPACKET
    )


def send(control: _socket.socket, message: bytes, fds: Sequence[int]) -> None:
    """
    Send *message* together with descriptors. Source: unix(7), SCM_RIGHTS.

    Raises:
        OSError: The kernel refused.
    """
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pack(f"{len(fds)}i", *fds))
    syscalls.named("sendmsg()", control.sendmsg, [message], [rights])


def receive(control: _socket.socket, count: int) -> tuple[bytes, list[int]]:
    """
    Return a message and the descriptors that came with it.

    At the end of the stream the message is empty. The kernel drops descriptors beyond
    the limit on open ones. Source: unix(7).

    Args:
        control: The socket.
        count: The largest number of descriptors to receive.

    Raises:
        OSError: The kernel refused.
    """
    fds: list[int] = []
    each = calcsize("i")
    size = _socket.CMSG_LEN(count * each)
    flag = _socket.MSG_CMSG_CLOEXEC
    message, rights, _, _ = control.recvmsg(65536, size, flag)
    for level, kind, data in rights:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            number = len(data) // each
            fds += unpack(f"{number}i", data[: number * each])
    return message, fds


def close_all_but(kept: Collection[int]) -> None:
    """
    Close all descriptors of this process except those in *kept*.
    """
    # Not closerange(): a Python built without close_range(2) would try every number.
    # A /proc from outside works, too: its "self" is this process under its number
    # there. Source: proc_pid(5), /proc/self.
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        # With proc=False there may be no /proc.
        first = 0
        for fd in sorted(kept):
            # closerange(0, 0) calls close_range(0, -1), which closes everything.
            if fd > first:
                os.closerange(first, fd)
            first = fd + 1
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))
        return
    for name in names:
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                # The descriptor of the listing itself.
                continue


def readable(fd: int, timeout: float) -> bool:
    """
    Return whether *fd* becomes readable within *timeout* seconds.

    A pidfd becomes readable when its process ends. Source: pidfd_open(2).
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
