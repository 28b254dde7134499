"""
The queue of a process of pytest-xdist: the tests that it is about to run.

Looked at: pytest-xdist 3.7 and 3.8. Up to 3.6 the queue has no lock, and up to 3.1
there is none. Public would be: the numbers of the tests that the process was sent.
"""

from __future__ import annotations

import sys
from collections.abc import Container
from itertools import chain, takewhile
from typing import Any

import pytest

#: What `run_one_test()` uses: the queue, and the two numbers that it took out last.
_USED = {"torun", "item_index", "nextitem_index"}


def is_known() -> bool:
    """
    Say, in the process that has the terminal, whether the queue of others can be read.

    They execute the module that is loaded here.
    """
    module = sys.modules.get("xdist.remote")
    run: Any = getattr(getattr(module, "WorkerInteractor", None), "run_one_test", None)
    code = getattr(run, "__code__", None)
    names = {*code.co_names} if code is not None else set[str]()
    return names >= _USED and hasattr(getattr(module, "TestQueue", None), "lock")


class Queue:
    """
    The queue, in a process that runs tests.

    Args:
        interactor: The object of pytest-xdist that has it.
    """

    def __init__(self, interactor: Any) -> None:
        self._interactor = interactor

    @property
    def current(self) -> int | None:
        """The number of the test whose turn it is; None if there is none."""
        number = getattr(self._interactor, "item_index", None)
        return number if isinstance(number, int) else None

    def new(self, known: Container[object]) -> list[int | None]:
        """
        Return the numbers of the tests after those that are *known*, in their order.

        The last is None if the process ends after them. As long as it is not, nobody
        knows what comes after the last test.
        """
        taken = (self._interactor.nextitem_index, self.current)
        with self._interactor.torun.lock() as queue:
            # More are only added at the end. Those at the other end may be very many.
            last = chain(reversed(queue), taken)
            found = [*takewhile(lambda one: one not in known, last)]
        numbers = [one if isinstance(one, int) else None for one in reversed(found)]
        # It may be told more than once to end.
        return numbers[: numbers.index(None) + 1] if None in numbers else numbers


def queue_of(config: pytest.Config) -> Queue | None:
    """
    Return the queue, in a process that runs tests, if it can be read.
    """
    for one in config.pluginmanager.get_plugins():
        if type(one).__name__ == "WorkerInteractor":
            is_known = hasattr(one, "nextitem_index") and hasattr(one, "torun")
            return Queue(one) if is_known and hasattr(one.torun, "lock") else None
    return None
