# content of test_hostname.py
"""
Two tests, each on a machine of its own.
"""

import os
import socket

import psutil
import pytest


@pytest.mark.isolated(hostname="t1")
def test_first() -> None:
    """
    The machine is called t1, and nothing runs on it but this test and its init.
    """
    assert socket.gethostname() == "t1"
    assert psutil.pids() == [1, os.getpid()]


@pytest.mark.isolated(hostname="t2")
def test_second() -> None:
    """
    The machine is called t2, and is as empty as the first one.
    """
    assert socket.gethostname() == "t2"
    assert psutil.pids() == [1, os.getpid()]
