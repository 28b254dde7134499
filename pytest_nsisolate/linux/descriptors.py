"""
Descriptors: pipes and sockets with owners, and waiting for them.

Imported by the launcher, a bare interpreter: it imports nothing that costs time there.
"""

from __future__ import annotations

# The socket module costs 6 ms of imports, a quarter of the launcher's start.
import _socket
from array import array

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class Pipe:
    """
    A pipe, each end of which is closed on leaving the context unless it was taken.

    Raises:
        OSError: There can be no more descriptors.
    """

    def __init__(self) -> None:
        #: The ends, -1 once they are closed or taken.
        self.read, self.write = syscalls.named("pipe2()", os.pipe)

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_read()
        self.close_write()

    def take_read(self) -> int:
        """
        Return the end to read from, which is the caller's to close from here on.
        """
        fd, self.read = self.read, -1
        return fd

    def take_write(self) -> int:
        """
        Return the end to write to, which is the caller's to close from here on.
        """
        fd, self.write = self.write, -1
        return fd

    def close_read(self) -> None:
        """
        Close the end to read from, unless it is closed or taken.
        """
        _close(self.take_read())

    def close_write(self) -> None:
        """
        Close the end to write to, unless it is closed or taken.
        """
        _close(self.take_write())


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def socketpair() -> tuple[_socket.socket, _socket.socket]:
    """
    Return two connected sockets that keep messages apart.

    Raises:
        OSError: There can be no more descriptors.
    """
    return syscalls.named(
        "socketpair()", _socket.socketpair, _socket.AF_UNIX, _socket.SOCK_SEQPACKET
    )


def send(control: _socket.socket, message: bytes, fds: Sequence[int]) -> None:
    """
    Send *message*, and descriptors with it. Source: unix(7), SCM_RIGHTS.

    Raises:
        OSError: The kernel refused.
    """
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", fds))
    syscalls.named("sendmsg()", control.sendmsg, [message], [rights])


def receive(control: _socket.socket, count: int) -> tuple[bytes, list[int]]:
    """
    Return a message, empty at the end, and the descriptors that came with it.

    What does not fit under the limit of descriptors is dropped. Source: unix(7).

    Args:
        control: The socket.
        count: How many descriptors there are at most.

    Raises:
        OSError: The kernel refused.
    """
    fds = array("i")
    size = _socket.CMSG_LEN(count * fds.itemsize)
    message, rights, _, _ = control.recvmsg(65536, size)
    for level, kind, data in rights:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    for fd in fds:
        os.set_inheritable(fd, False)
    return message, fds.tolist()


def close_all_but(kept: Collection[int]) -> None:
    """
    Close all descriptors of this process but those in *kept*.
    """
    # Not closerange(): a Python that was built without close_range(2) closes number by
    # number, whether open or not.
    # A /proc from outside is as good: its "self" is this process by its number there.
    # Source: proc_pid(5), /proc/self.
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        # With proc=False there need not be one.
        first = 0
        for fd in sorted(kept):
            # An empty range that begins at 0 would be taken for all there are.
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
                # That of the listing itself.
                continue


def readable(fd: int, timeout: float) -> bool:
    """
    Say whether *fd* becomes readable, or a pidfd's process ends, in *timeout* seconds.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
