"""
Credentials and working directory of a process, which its fork restores in a sandbox.
"""

from __future__ import annotations

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os


class Credentials:
    """
    The capabilities of a process, to restore after it has joined a user namespace.

    Joining one gives it all capabilities there. Source: user_namespaces(7),
    "Capabilities".
    """

    __slots__ = ("_bounding_set", "_capabilities")

    def __init__(self, capabilities: tuple[int, int, int], bounding_set: int) -> None:
        self._capabilities = capabilities
        self._bounding_set = bounding_set

    @classmethod
    def now(cls) -> Credentials:
        """
        Return the credentials of this process.
        """
        return cls(syscalls.capabilities(), syscalls.bounding_set())

    def resume(self) -> None:
        """
        Drop the capabilities that this process has beyond these.
        """
        syscalls.drop_from_bounding_set(syscalls.bounding_set() & ~self._bounding_set)
        syscalls.set_capabilities(*self._capabilities)


class Directory:
    """
    A working directory, kept as a path: a descriptor would lead to the host's mounts.
    """

    __slots__ = ("_fd", "_path")

    def __init__(self, path: str | None, fd: int) -> None:
        self._path = path
        self._fd = fd

    @classmethod
    def now(cls) -> Directory:
        """
        Return the working directory of this process.
        """
        try:
            return cls(os.getcwd(), -1)
        except FileNotFoundError:
            # It was removed, and has no path any more.
            return cls(None, os.open(".", os.O_PATH))

    def enter(self) -> None:
        """
        Change to this directory.
        """
        if self._path is None:
            syscalls.named("fchdir()", os.fchdir, self._fd)
            os.close(self._fd)
            return
        try:
            os.chdir(self._path)
        except OSError as error:
            text = f"chdir({self._path})"
            raise OSError(error.errno, error.strerror, text) from None
