"""
What is reported of tests that fail, skip, print, warn, or have subtests?
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest


def test_1_diff() -> None:
    """
    Fail with a diff.
    """
    assert {"left": 1, "same": 2} == {"left": 3, "same": 2}


def test_2_output() -> None:
    """
    Print from Python, and as a program in C does, and fail.
    """
    print("printed by Python")
    print("said by Python", file=sys.stderr)
    sys.stdout.flush()
    os.write(1, b"printed by a program\n")
    pytest.fail("look at the output")


def test_3_property(record_property: Callable[[str, object], None]) -> None:
    """
    Record a property.
    """
    record_property("colour", "blue")


@pytest.mark.xfail(reason="known")
def test_4_xfail() -> None:
    """
    Fail as expected.
    """
    pytest.fail("known")


@pytest.mark.xfail(reason="mended", strict=True)
def test_5_xpass() -> None:
    """
    Pass against expectations.
    """


def test_6_skip() -> None:
    """
    Be skipped while running.
    """
    pytest.skip("not today")


def test_7_subtests(subtests: Any) -> None:
    """
    Fail in two of three subtests.
    """
    for number in range(3):
        with subtests.test(number=number):
            assert number == 1


def test_8_warning() -> None:
    """
    Warn.
    """
    warnings.warn("mind the step", stacklevel=1)


@pytest.fixture
def broken() -> Iterator[None]:
    """
    Fail at the end of a test.
    """
    yield
    raise OSError("cannot clean up")


def test_9_teardown(broken: None) -> None:
    """
    Pass, and fail to clean up.
    """
