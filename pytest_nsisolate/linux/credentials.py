"""
Credentials and working directory of a process, which its fork restores in a sandbox.
"""

from __future__ import annotations

import dataclasses

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """
    The capabilities of a process, to restore after it has joined a user namespace.

    Joining one gives it all capabilities there. Source: user_namespaces(7),
    "Capabilities".
    """

    capabilities: tuple[int, int, int]
    bounding_set: int

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
        syscalls.drop_from_bounding_set(syscalls.bounding_set() & ~self.bounding_set)
        syscalls.set_capabilities(*self.capabilities)


@dataclasses.dataclass(frozen=True, slots=True)
class Directory:
    """
    A working directory, kept as a path: a descriptor would lead to the host's mounts.
    """

    path: str | None
    fd: int

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
        if self.path is None:
            syscalls.named("fchdir()", os.fchdir, self.fd)
            os.close(self.fd)
            return
        try:
            os.chdir(self.path)
        except OSError as error:
            text = f"chdir({self.path})"
            raise OSError(error.errno, error.strerror, text) from None
