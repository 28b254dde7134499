"""
What becomes of the tests after one that goes wrong?
"""

import os


def test_1_before() -> None:
    """
    Pass.
    """


def test_2_wrong() -> None:
    """
    Leave without a word, as a library in C may with exit(3).
    """
    os._exit(0)


def test_3_after() -> None:
    """
    Pass.
    """
