"""
Whether the kernel gives this process many pages at once, as hot pages take.
"""

from __future__ import annotations

import mmap
import os

from pytest_nsisolate.linux import syscalls


def can_populate() -> bool:
    """
    Say whether it does: Linux before 6.13 does not, and a filter may refuse it.
    """
    pidfd = os.pidfd_open(os.getpid())
    try:
        # All zero, it stands for a range without pages.
        memory = mmap.mmap(-1, mmap.PAGESIZE)
        syscalls.populate(pidfd, syscalls.address_of(memory), 1)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True
