"""
Time limits: from when on a test's time counts.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pytest_nsisolate.deadline import Deadline

#: A fork of pytest that takes two seconds, while the guest before it runs.
SLOW_FORK = """
import os
import sys
import time
from pathlib import Path

def before():
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "begin_next":
        frame = frame.f_back
    if frame is not None and not Path("forked").exists():
        time.sleep(2)
        Path("forked").touch()

def pytest_configure():
    os.register_at_fork(before=before)
"""

TESTS = """
import time
from pathlib import Path
import pytest

@pytest.mark.isolated(timeout=1.9)
def test_slow():
    while not Path("forked").exists():
        time.sleep(0.01)
    time.sleep(1.5)

@pytest.mark.isolated
def test_next(): pass
"""


def test_since() -> None:
    """
    A limit counts from when it is told to, and from now on otherwise.
    """
    now = time.monotonic()
    assert Deadline(60, now - 61).is_over()
    assert Deadline(0.001, now - 1).left() == 0
    assert not Deadline(60).is_over()
    assert not Deadline(None, now - 61).is_over()


def test_next_fork(pytester: pytest.Pytester) -> None:
    """
    What the supervisor does while a test runs is time of that test.
    """
    pytester.makeconftest(SLOW_FORK)
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess(timeout=30)
    assert Path("forked").exists()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_slow*1.9 s*"])
