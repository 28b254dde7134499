# content of test_sysv_clash.py
"""
SysV objects with fixed keys that each test creates and no test removes.

On one machine, the second test to use a key fails with EEXIST. With isolation, each
test has its own IPC namespace, and its objects disappear with that namespace.
"""

import ctypes
import os

import pytest

# These tests leave objects behind on purpose, so they need no warning.
pytestmark = pytest.mark.isolated(leaks="ignore")

QUEUE_KEY = 0x6E736971
SEGMENT_KEY = 0x6E736973
IPC_CREAT, IPC_EXCL = 0o1000, 0o2000
MINE = IPC_CREAT | IPC_EXCL | 0o600

libc = ctypes.CDLL(None, use_errno=True)


def check(ipc_id: int) -> int:
    """
    Return *ipc_id*, or raise OSError if it is -1.
    """
    if ipc_id == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return ipc_id


def test_login_makes_the_queue() -> None:
    """
    The queue does not exist yet.
    """
    check(libc.msgget(QUEUE_KEY, MINE))


def test_logout_makes_the_queue() -> None:
    """
    The queue does not exist here either, although another test left one behind.
    """
    check(libc.msgget(QUEUE_KEY, MINE))


def test_login_makes_the_segment() -> None:
    """
    The shared memory segment does not exist yet.
    """
    check(libc.shmget(SEGMENT_KEY, 4096, MINE))


def test_logout_makes_the_segment() -> None:
    """
    The segment does not exist here either, although another test left one behind.
    """
    check(libc.shmget(SEGMENT_KEY, 4096, MINE))
