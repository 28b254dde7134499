"""
The order in which tests run, as far as it is known.

In a session that is all of the collection. A process of pytest-xdist has collected all
tests, runs those that it is sent, and knows of no others yet.
"""

from __future__ import annotations

from typing import Protocol

import pytest

from pytest_nsisolate.compat import xdist
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


class Sent:
    """
    The order in which a process of pytest-xdist was sent its tests.

    Args:
        queue: The tests that it is about to run.
    """

    def __init__(self, queue: xdist.Queue) -> None:
        self._queue = queue
        self._items: list[pytest.Item] = []
        #: The numbers of the tests in the collection, and None after the last one.
        self._numbers: list[int | None] = []
        self._places: dict[int | None, int] = {}

    def place_of(self, item: pytest.Item) -> int | None:
        """
        As for `Order`.
        """
        self._items = item.session.items
        self._look()
        number = self._queue.current
        if number is None or self._items[number] is not item:
            # Something else runs it.
            return None
        return self._places.get(number)

    def at(self, place: int) -> tuple[pytest.Item, pytest.Item | None] | None:
        """
        As for `Order`.
        """
        if place + 1 >= len(self._numbers):
            self._look()
        if place + 1 >= len(self._numbers):
            return None
        number, after = self._numbers[place : place + 2]
        assert number is not None
        return self._items[number], None if after is None else self._items[after]

    def _look(self) -> None:
        """
        Note what has been sent since the last look.
        """
        if None in self._places:
            return
        for number in self._queue.new(self._places):
            self._places[number] = len(self._numbers)
            self._numbers.append(number)


def order_of(config: pytest.Config) -> Order:
    """
    Return the order of the tests that run in this process.
    """
    queue = xdist.queue_of(config)
    return Collected() if queue is None else Sent(queue)
