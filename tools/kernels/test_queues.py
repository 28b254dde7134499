"""
POSIX message queues on a machine that has a ``/dev/mqueue``.
"""

from __future__ import annotations

import os
import re

import pytest

_LEFT = """
import ctypes
import os
import pytest

libc = ctypes.CDLL(None, use_errno=True)
FLAGS = os.O_CREAT | os.O_EXCL | os.O_RDWR

@pytest.mark.isolated(leaks="fail")
def test_left():
    assert os.listdir("/dev/mqueue") == []
    assert libc.mq_open(b"/orders", FLAGS, 0o600, None) != -1
    assert libc.mq_open(b"/bills", FLAGS, 0o600, None) != -1
    assert sorted(os.listdir("/dev/mqueue")) == ["bills", "orders"]

@pytest.mark.isolated(leaks="fail")
def test_removed():
    assert os.listdir("/dev/mqueue") == []
    assert libc.mq_open(b"/orders", FLAGS, 0o600, None) != -1
    assert libc.mq_unlink(b"/orders") == 0
"""


def test_audit(pytester: pytest.Pytester) -> None:
    """
    The queues that a test leaves are named, and the host's are neither seen nor named.
    """
    assert os.path.ismount("/dev/mqueue")
    queue = f"/dev/mqueue/host-{os.getpid()}"
    with open(queue, "x"):
        pass
    try:
        pytester.makepyfile(_LEFT)
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=120)
        assert os.path.exists(queue)
    finally:
        os.unlink(queue)
    result.assert_outcomes(passed=2, errors=1)
    (left,) = re.findall(r"^test_left left (.*)", result.stdout.str(), re.MULTILINE)
    assert left == "2 POSIX message queues (/bills; /orders)"
