"""
Does a test pass?
"""


def test_1_trifle() -> None:
    """
    Do nothing.
    """
