"""
Which tests run with -x, and which with --lf?
"""

import pytest


def _note(name: str) -> None:
    with open("ran", "a") as file:
        file.write(f"{name} ")


def test_1_passes() -> None:
    """
    Pass.
    """
    _note("1")


def test_2_fails() -> None:
    """
    Fail.
    """
    _note("2")
    pytest.fail("as it should")


def test_3_passes() -> None:
    """
    Pass.
    """
    _note("3")
