"""
Does one test see the SysV shared memory that another has made?
"""

import ctypes

_KEY, _IPC_CREAT, _MODE = 0x4E5349, 0o1000, 0o600
_libc = ctypes.CDLL(None, use_errno=True)


def test_1_changes() -> None:
    """
    Make a segment.
    """
    assert _libc.shmget(_KEY, 4096, _IPC_CREAT | _MODE) >= 0


def test_2_looks() -> None:
    """
    Look for it.
    """
    assert _libc.shmget(_KEY, 0, 0) < 0, "SHARED"
