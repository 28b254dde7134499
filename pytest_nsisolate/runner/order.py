"""
The order in which tests run, as far as it is known.

In a session that is all of the collection.
"""

from __future__ import annotations

from typing import Protocol

import pytest

from pytest_nsisolate.settings.scopes import NONE, number_of


class Order(Protocol):
    """
    Gives each test its place.
    """

    def place_of(self, item: pytest.Item) -> int | None:
        """
        Return the place of *item*, whose turn it is; None if it has none.
        """

    def at(self, place: int) -> tuple[pytest.Item, pytest.Item | None] | None:
        """
        Return the test at *place* and the one after it, if both are known by now.

        Of the last one it is known that none comes after it.
        """


class Collected:
    """
    The order of the collection.
    """

    def __init__(self) -> None:
        self._items: list[pytest.Item] = []

    def place_of(self, item: pytest.Item) -> int | None:
        """
        As for `Order`.
        """
        self._items = item.session.items
        number = number_of(item)
        # A plugin may make items of its own and run them.
        return None if number == NONE else int(number)

    def at(self, place: int) -> tuple[pytest.Item, pytest.Item | None] | None:
        """
        As for `Order`.
        """
        found = self._items[place : place + 2]
        if not found:
            return None
        return found[0], found[1] if len(found) > 1 else None
