"""
SysV objects with fixed keys that each test creates and no test removes.

On one machine, the second test to use a key fails with EEXIST. With isolation, each
test has its own IPC namespace, and its objects disappear with that namespace.
"""

import pytest
from sysv import Queue, Segment

# These tests leave objects behind on purpose, so they need no warning.
pytestmark = pytest.mark.isolated(leaks="ignore")

QUEUE_KEY = 0x6E736971
SEGMENT_KEY = 0x6E736973


def test_login_makes_the_queue() -> None:
    """
    The queue does not exist yet.
    """
    Queue(QUEUE_KEY, create=True)


def test_logout_makes_the_queue() -> None:
    """
    The queue does not exist here either, although another test left one behind.
    """
    Queue(QUEUE_KEY, create=True)


def test_login_makes_the_segment() -> None:
    """
    The shared memory segment does not exist yet.
    """
    Segment(SEGMENT_KEY, 4096, create=True)


def test_logout_makes_the_segment() -> None:
    """
    The segment does not exist here either, although another test left one behind.
    """
    Segment(SEGMENT_KEY, 4096, create=True)
