"""
The PID namespace of a thread's next children, which need not be its own.

Imported by the launcher, a bare interpreter. Source: pid_namespaces(7), setns(2).
"""

from __future__ import annotations

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os


class PidForChildren:
    """
    The link of that name in ``/proc/PID/ns``, to be pointed elsewhere and back.

    Raises:
        OSError: There can be no more descriptors.
    """

    def __init__(self) -> None:
        self._own = syscalls.named("pidfd_open()", os.pidfd_open, os.getpid())

    def unshare(self) -> None:
        """
        Point it at a new namespace; it has to be restored before this is done again.

        Raises:
            OSError: The kernel refused.
        """
        syscalls.unshare(syscalls.CLONE_NEWPID)

    def enter(self, pidfd: int) -> None:
        """
        Point it at the namespace of the process behind *pidfd*, one of a child at most.

        Raises:
            OSError: The kernel refused.
        """
        syscalls.setns(pidfd, syscalls.CLONE_NEWPID)

    def restore(self) -> None:
        """
        Point it at this process's own namespace.

        That takes CAP_SYS_ADMIN over the owner of that namespace.

        Raises:
            OSError: The kernel refused.
        """
        syscalls.setns(self._own, syscalls.CLONE_NEWPID)

    def close(self) -> None:
        """
        Close the descriptor that leads back.
        """
        os.close(self._own)
