"""
The durations of tests in the last run, so that those that take long can start first.
"""

from __future__ import annotations

from typing import Any

import pytest

#: How many seconds make a test a long one. Others are started in their order.
_LONG = 0.1

_NAME = "nsisolate/durations"


class Durations:
    """
    Knows which tests took long, and notes in pytest's cache which do now.

    Args:
        config: The configuration of the session.
    """

    def __init__(self, config: pytest.Config) -> None:
        # Several processes of pytest-xdist share the cache. The one that has the
        # terminal sees the reports of all, and writes it.
        self._is_reader = hasattr(config, "workerinput")
        # Without the plugin cacheprovider there is none.
        self._cache: Any = getattr(config, "cache", None)
        known = self._cache and self._cache.get(_NAME, None)
        self._known: dict[str, float] = {}
        if isinstance(known, dict):
            self._known = {
                name: float(one)
                for name, one in known.items()
                if isinstance(one, int | float)
            }
        #: What is known for the next run.
        self._next = dict(self._known)
        #: What the phases of the tests that run took so far.
        self._running: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def of(self, item: pytest.Item) -> float:
        """
        Return how many seconds *item* took; 0 if that is not known, or was not long.
        """
        return self._known.get(item.nodeid, 0.0)

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds = self._running.pop(report.nodeid, 0.0) + report.duration
        if report.when != "teardown":
            self._running[report.nodeid] = seconds
        elif seconds >= _LONG:
            self._next[report.nodeid] = round(seconds, 2)
        else:
            self._next.pop(report.nodeid, None)

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        if self._is_reader or self._cache is None or self._next == self._known:
            return
        self._cache.set(_NAME, self._next)
