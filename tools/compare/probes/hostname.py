"""
Does one test see the hostname that another has set?
"""

import ctypes
import socket

_NAME = b"compare-changed"


def test_1_changes() -> None:
    """
    Set the hostname; socket.sethostname() does the same, with less to read.
    """
    socket.sethostname(_NAME.decode())


def test_2_looks() -> None:
    """
    Look at it with gethostname(2), as a library in C does.
    """
    name = ctypes.create_string_buffer(64)
    ctypes.CDLL(None).gethostname(name, len(name))

    assert name.value != _NAME, "SHARED"
