"""
What becomes of the tests after one that goes wrong?
"""


def test_1_before() -> None:
    """
    Pass.
    """


def test_2_wrong() -> None:
    """
    Take 600 MB of memory.
    """
    assert len(bytearray(b"x") * 600_000_000)


def test_3_after() -> None:
    """
    Pass.
    """
