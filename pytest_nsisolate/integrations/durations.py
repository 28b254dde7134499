"""
pytest-durations: what it measures in a guest comes into its table.

The setup and teardown of a test that borrows fixtures run partly outside. The plugin
measures both parts, and here they become one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "durations"


class Integration:
    """
    Carries over the measurements, which the plugin has by category and name.
    """

    def __init__(self) -> None:
        #: In a guest, how many are known outside.
        self._known: Counter[tuple[str, str]] = Counter()
        #: In the supervisor, how many came from guests.
        self._inside: Counter[tuple[str, str]] = Counter()
        self._measured: dict[str, dict[str, list[float]]] | None = None

    @pytest.hookimpl
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        self._new(item.config)

    @pytest.hookimpl
    def pytest_nsisolate_collect(self, item: pytest.Item, payload: Payload) -> None:
        if new := self._new(item.config):
            payload[_NAME] = new

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, item: pytest.Item, payload: Payload) -> None:
        measured = self._measured = _measurements(item.config)
        for category, name, seconds in cast("Any", payload.get(_NAME, ())):
            measured[category].setdefault(name, []).extend(seconds)
            self._inside[category, name] += len(seconds)
            self._join(category, name, measured[category])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown" and self._measured is not None:
            # The part of teardown outside comes after the one inside.
            measured = self._measured["test teardown"]
            self._join("test teardown", report.nodeid, measured)

    def _new(self, config: pytest.Config) -> list[tuple[str, str, list[float]]]:
        """
        Return the measurements since the last call.
        """
        found = []
        for category, by_name in _measurements(config).items():
            for name, seconds in by_name.items():
                known = self._known[category, name]
                self._known[category, name] = len(seconds)
                if len(seconds) > known:
                    found.append((category, name, seconds[known:]))
        return found

    def _join(self, category: str, name: str, measured: dict[str, list[float]]) -> None:
        """
        Add what was measured outside to what was measured inside of the same phase.
        """
        seconds, inside = measured.get(name, []), self._inside[category, name]
        if inside and len(seconds) > inside:
            seconds[-2:] = [sum(seconds[-2:])]


def _measurements(config: pytest.Config) -> dict[str, dict[str, list[float]]]:
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__name__ == "PytestDurationPlugin":
            return cast("Any", plugin).measurements  # type: ignore[no-any-return]
    return {"test setup": {}, "test teardown": {}}
