"""
A fork that calls none of the functions that libraries have registered for forks.
"""

from __future__ import annotations

from pytest_nsisolate.linux import at_fork, syscalls


def bare_fork() -> int:
    """
    Fork this process, which has one thread, and call nothing that is registered.

    Nor are the handlers of C code called, if possible.

    Returns:
        As `os.fork`.

    Raises:
        OSError: The kernel refused.
    """
    with at_fork.nothing_called() as is_told:
        return syscalls.fork_alone(is_told=is_told)
