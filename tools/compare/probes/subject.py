"""
A module whose coverage is measured.
"""


def double(number: int) -> int:
    """
    Return twice *number*.
    """
    if number:
        return 2 * number
    return 0
