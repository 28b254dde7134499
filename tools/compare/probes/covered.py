"""
Which lines of a module are covered?
"""

import subject


def test_1_one() -> None:
    """
    Run one branch.
    """
    assert subject.double(2) == 4


def test_2_other() -> None:
    """
    Run the other one.
    """
    assert subject.double(0) == 0
