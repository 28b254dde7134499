"""
What becomes of the tests after one that goes wrong?
"""

import ctypes


def test_1_before() -> None:
    """
    Pass.
    """


def test_2_wrong() -> None:
    """
    Read from address 0.
    """
    ctypes.string_at(0)


def test_3_after() -> None:
    """
    Pass.
    """
