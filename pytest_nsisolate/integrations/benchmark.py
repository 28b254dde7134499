"""
pytest-benchmark: the timings of guests, for the tables and files of the session.

The plugin appends the timings of each test to a list. At the end it makes its table,
its JSON and its comparisons from that list.
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
    Carries over timings. The supervisor works out the statistics from them.
    """

    def __init__(self) -> None:
        #: How many benchmarks the supervisor had when it forked.
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
    Return the plugin's list, which has had this name since 3.0.
    """
    session = getattr(config, "_benchmarksession", None)
    return [] if session is None else cast("list[Any]", session.benchmarks)


def _to_message(made: Any) -> Payload:
    profile = made.cprofile_stats
    return {
        "group": made.group,
        "extra_info": made.extra_info,
        "iterations": made.iterations,
        # The timer is a function, and only its name is shown.
        "options": {**made.options, "timer": made.options["timer"].__name__},
        "has_error": made.has_error,
        "figures": made.stats.data,
        # Its keys are tuples, which JSON does not have.
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
    # pstats takes this for a profiler that has run.
    ran = types.SimpleNamespace(create_stats=lambda: None, stats=ast.literal_eval(text))
    return pstats.Stats(cast("Any", ran))
