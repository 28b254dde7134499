"""
Credentials and working directory of a process, which its fork in a sandbox keeps.
"""

from __future__ import annotations

import dataclasses

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """
    What a process may do, to be what it was when a user namespace has given it more.

    Source: user_namespaces(7), "Capabilities": who joins one has all of them in it.
    """

    capabilities: tuple[int, int, int]
    bounding_set: int

    @classmethod
    def now(cls) -> Credentials:
        """
        Return that of this process.
        """
        return cls(syscalls.capabilities(), syscalls.bounding_set())

    def resume(self) -> None:
        """
        Give up what this process has beyond it.
        """
        syscalls.drop_from_bounding_set(syscalls.bounding_set() & ~self.bounding_set)
        syscalls.set_capabilities(*self.capabilities)


@dataclasses.dataclass(frozen=True, slots=True)
class Directory:
    """
    The working directory, by path: a descriptor would lead back to the host's mounts.
    """

    path: str | None
    fd: int

    @classmethod
    def now(cls) -> Directory:
        """
        Return that of this process.
        """
        try:
            return cls(os.getcwd(), -1)
        except FileNotFoundError:
            # Removed: nothing but the descriptor is left of it.
            return cls(None, os.open(".", os.O_PATH))

    def enter(self) -> None:
        """
        Go there.
        """
        if self.path is None:
            syscalls.named("fchdir()", os.fchdir, self.fd)
            os.close(self.fd)
            return
        try:
            os.chdir(self.path)
        except OSError as error:
            text = f"chdir({self.path})"
            raise OSError(error.errno, error.strerror, text) from None
