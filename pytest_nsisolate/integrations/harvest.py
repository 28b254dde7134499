"""
pytest-harvest: what tests put into its default store is there when they are over.

The store is a dict in its module, and holds the value of each saved fixture by the name
of the fixture and the node id of the test. A `results_bag` is one of these values.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "harvest"


class Integration:
    """
    Carries over the values of saved fixtures that are new in a guest.
    """

    def __init__(self) -> None:
        #: In a guest, the values that are known outside, by fixture and node id.
        self._known: set[tuple[str, str]] = set()

    @pytest.hookimpl
    def pytest_nsisolate_enter(self) -> None:
        self._known = {place for place, _ in _values()}

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        if report is not None:
            return
        bag = sys.modules["pytest_harvest.results_bags"].ResultsBag
        new = [
            (*place, isinstance(value, bag), value)
            for place, value in _values()
            if place not in self._known
        ]
        self._known.update((name, nodeid) for name, nodeid, *_ in new)
        if new:
            payload[_NAME] = new

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, payload: Payload) -> None:
        bag = sys.modules["pytest_harvest.results_bags"].ResultsBag
        for name, nodeid, is_bag, value in cast("Any", payload.get(_NAME, ())):
            found = _store().setdefault(name, type(_store())())
            found[nodeid] = bag(value) if is_bag else value


def _store() -> dict[str, dict[str, Any]]:
    return cast("Any", sys.modules["pytest_harvest.plugin"]).FIXTURE_STORE  # type: ignore[no-any-return]


def _values() -> list[tuple[tuple[str, str], Any]]:
    """
    Return what is in the store, and where.
    """
    return [
        ((name, nodeid), value)
        for name, values in _store().items()
        for nodeid, value in values.items()
    ]
