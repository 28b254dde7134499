"""
The PID namespace that a thread's next children are forked into.

The launcher, a bare interpreter, imports this module. Source: pid_namespaces(7),
setns(2).
"""

from __future__ import annotations

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os


class PidForChildren:
    """
    The namespace behind ``/proc/PID/ns/pid_for_children``, to change and restore.

    Raises:
        OSError: No descriptors are left.
    """

    def __init__(self) -> None:
        self._own = syscalls.named("pidfd_open()", os.pidfd_open, os.getpid())

    def unshare(self) -> None:
        """
        Make a new namespace for the children. Restore before calling this again.

        Raises:
            OSError: The kernel refused.
        """
        syscalls.unshare(syscalls.CLONE_NEWPID)

    def enter(self, pidfd: int) -> None:
        """
        Choose the namespace of the process behind *pidfd*.

        It must be this process's own namespace or a descendant of it.

        Raises:
            OSError: The kernel refused.
        """
        syscalls.setns(pidfd, syscalls.CLONE_NEWPID)

    def restore(self) -> None:
        """
        Choose this process's own namespace again.

        This takes CAP_SYS_ADMIN in the user namespace that owns that namespace.

        Raises:
            OSError: The kernel refused.
        """
        syscalls.setns(self._own, syscalls.CLONE_NEWPID)

    def fileno(self) -> int:
        """
        Return the descriptor of the own namespace.
        """
        return self._own

    def close(self) -> None:
        """
        Close the descriptor of the own namespace.
        """
        os.close(self._own)
