"""
What becomes of the tests after one that goes wrong?
"""

import signal


def test_1_before() -> None:
    """
    Pass.
    """


def test_2_wrong() -> None:
    """
    Wait for what never comes.
    """
    while True:
        signal.pause()


def test_3_after() -> None:
    """
    Pass.
    """
