# content of test_sysv_clash.py
"""
SysV objects on fixed keys, made by each test and removed by none.

On one machine the second test to ask for a key gets EEXIST. Isolated, each has an IPC
namespace of its own, which takes what is left with it.
"""

import ctypes
import os

import pytest

# That they leave something is the point here, and needs no warning.
pytestmark = pytest.mark.isolated(leaks="ignore")

QUEUE_KEY = 0x6E736971
SEGMENT_KEY = 0x6E736973
IPC_CREAT, IPC_EXCL = 0o1000, 0o2000
MINE = IPC_CREAT | IPC_EXCL | 0o600

libc = ctypes.CDLL(None, use_errno=True)


def check(ipc_id: int) -> int:
    """
    Return *ipc_id*, or raise the error that -1 stands for.
    """
    if ipc_id == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return ipc_id


def test_login_makes_the_queue() -> None:
    """
    No queue is there yet.
    """
    check(libc.msgget(QUEUE_KEY, MINE))


def test_logout_makes_the_queue() -> None:
    """
    No queue is there either, whatever another test has left.
    """
    check(libc.msgget(QUEUE_KEY, MINE))


def test_login_makes_the_segment() -> None:
    """
    No shared memory is there yet.
    """
    check(libc.shmget(SEGMENT_KEY, 4096, MINE))


def test_logout_makes_the_segment() -> None:
    """
    No shared memory is there either, whatever another test has left.
    """
    check(libc.shmget(SEGMENT_KEY, 4096, MINE))
