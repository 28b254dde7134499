"""
pytest-benchmark: what a guest has timed goes into the tables and files of the session.

The plugin appends the figures of each test to a list, from which it makes its table,
its JSON and its comparisons at the end.
"""

from __future__ import annotations

import ast
import pstats
import sys
import types
from typing import Any, cast

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "benchmark"


class Integration:
    """
    Carries over figures, not statistics: those are worked out from them anew.
    """

    def __init__(self) -> None:
        #: How many the supervisor had when it forked.
        self._known = 0

    @pytest.hookimpl
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        self._known = len(_benchmarks(item.config))

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, item: pytest.Item, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        made = _benchmarks(item.config)[self._known :] if report is None else []
        self._known += len(made)
        if made:
            payload[_NAME] = [_to_message(one) for one in made]

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, item: pytest.Item, payload: Payload) -> None:
        for message in cast("list[Payload]", payload.get(_NAME, [])):
            _benchmarks(item.config).append(_from_message(item, message))


def _benchmarks(config: pytest.Config) -> list[Any]:
    """
    Return the plugin's own list, which it has had under this name since 3.0.
    """
    session = getattr(config, "_benchmarksession", None)
    return [] if session is None else cast("list[Any]", session.benchmarks)


def _to_message(made: Any) -> Payload:
    profile = made.cprofile_stats
    return {
        "group": made.group,
        "extra_info": made.extra_info,
        "iterations": made.iterations,
        # The timer, a function, is shown by its name.
        "options": {**made.options, "timer": made.options["timer"].__name__},
        "has_error": made.has_error,
        "figures": made.stats.data,
        # Its keys are tuples, which JSON has not.
        "profile": None if profile is None else repr(profile.stats),
    }


def _from_message(item: pytest.Item, message: Payload) -> Any:
    callspec = getattr(item, "callspec", None)
    fixture = types.SimpleNamespace(
        name=item.name,
        fullname=item.nodeid,
        param=getattr(callspec, "id", None),
        params=getattr(callspec, "params", None),
        group=message["group"],
        extra_info=message["extra_info"],
        has_error=message["has_error"],
        cprofile_stats=_profile(message["profile"]),
    )
    module: Any = sys.modules["pytest_benchmark.stats"]
    made = module.Metadata(
        fixture, iterations=message["iterations"], options=message["options"]
    )
    made.stats.data = message["figures"]
    return made


def _profile(text: object) -> pstats.Stats | None:
    if not isinstance(text, str):
        return None
    # What pstats takes for a profiler that has run.
    ran = types.SimpleNamespace(create_stats=lambda: None, stats=ast.literal_eval(text))
    return pstats.Stats(cast("Any", ran))
