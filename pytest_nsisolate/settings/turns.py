"""
What a guest is told of its tests, by their numbers: which comes, and which is next.
"""

from __future__ import annotations

import pytest

#: In place of the number of a test: there is none.
NONE = "-"

#: What a guest that waits between two tests is told where none comes.
END = "end"

_number = pytest.StashKey[str]()


def number_of(item: pytest.Item | None) -> str:
    """
    Return which of the tests of its session *item* is, as a guest is told it.
    """
    if item is None:
        return NONE
    if _number not in item.stash:
        for number, one in enumerate(item.session.items):
            one.stash[_number] = str(number)
    return item.stash.get(_number, NONE)


def item_of(session: pytest.Session, number: str) -> pytest.Item | None:
    """
    Return the test of which `number_of` returns *number*.
    """
    return session.items[int(number)] if number != NONE else None


def turn(
    item: pytest.Item, nextitem: pytest.Item | None, kept: pytest.Item | None
) -> str:
    """
    Return what a guest is told that is to run *item*.

    Args:
        item: The test.
        nextitem: What pytest runs next.
        kept: The next test in that guest.
    """
    numbers = [number_of(one) for one in (item, nextitem, kept)]
    return " ".join([*numbers, str(item.session.testsfailed)])
