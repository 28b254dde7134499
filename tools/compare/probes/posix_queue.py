"""
Does one test see the POSIX message queue that another has made?
"""

import ctypes
import os

_NAME = b"/compare-queue"
_libc = ctypes.CDLL(None, use_errno=True)


def test_1_changes() -> None:
    """
    Make it.
    """
    assert _libc.mq_open(_NAME, os.O_CREAT | os.O_RDWR, 0o600, None) >= 0


def test_2_looks() -> None:
    """
    Look for it.
    """
    assert _libc.mq_open(_NAME, os.O_RDWR) < 0, "SHARED"
