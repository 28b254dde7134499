"""
Does one test see the POSIX shared memory that another has made?
"""

import ctypes
import os

_NAME = b"/compare-memory"
_libc = ctypes.CDLL(None, use_errno=True)


def test_1_changes() -> None:
    """
    Make it, as multiprocessing.shared_memory does.
    """
    assert _libc.shm_open(_NAME, os.O_CREAT | os.O_RDWR, 0o600) >= 0


def test_2_looks() -> None:
    """
    Look for it.
    """
    assert _libc.shm_open(_NAME, os.O_RDWR, 0o600) < 0, "SHARED"
