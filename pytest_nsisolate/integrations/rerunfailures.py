"""
pytest-rerunfailures: each try of a test has a sandbox of its own.

The plugin's loop runs in the supervisor, and what it takes for one run of a test is a
guest. It decides by what it has noted of that run in the test's item, which comes from
there. So a test whose guest has crashed is run again, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "rerunfailures"

#: Attributes of an item by which the plugin decides: truths by phase, since 16.0.
_NOTES = ("_test_failed_statuses", "_terminal_errors", "_test_xfailed")


class Integration:
    """
    Has the plugin run its loop around guests, and carries over what it decides by.
    """

    @pytest.hookimpl
    def pytest_nsisolate_repeat(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        run: Callable[[Callable[[], bool]], list[pytest.TestReport]],
    ) -> object:
        plugin = _plugin()
        own = plugin.runtestprotocol

        def run_once(*_: object, **__: object) -> list[pytest.TestReport]:
            return run(lambda: _is_run_again(plugin, item))

        plugin.runtestprotocol = run_once
        try:
            return plugin.pytest_runtest_protocol(item, nextitem)
        finally:
            plugin.runtestprotocol = own

    @pytest.hookimpl
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        plugin = _plugin()
        if plugin.get_reruns_count(item) is not None:
            # Here it runs once, and a failure is not yet one of the session.
            item.config.option.maxfail = 0
        plugin.pytest_runtest_protocol = _leave
        plugin.get_reruns_count = _leave

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, item: pytest.Item, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        notes: Payload = {name: getattr(item, name, {}) for name in _NOTES}
        if report is None:
            plugin = _plugin()
            failures = plugin._get_reruns_condition_failures(item)
            plugin.get_reruns_condition(item, failures)
            results = getattr(item, "_rerun_condition_results", {})
            notes["conditions"] = [[*key, value] for key, value in results.items()]
            notes["failures"] = [phase for phase, _, _ in failures]
        payload[_NAME] = notes

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, item: pytest.Item, payload: Payload) -> None:
        notes: Any = payload.get(_NAME)
        if notes is None:
            return
        for name in _NOTES:
            setattr(item, name, notes[name])
        if "conditions" in notes:
            phases = cast("list[str]", notes["failures"])
            state = vars(item)
            # Those that the plugin counts; their conditions have been looked at.
            state["_rerun_condition_excinfos"] = {
                phase: [None] * phases.count(phase) for phase in phases
            }
            state["_rerun_condition_results"] = {
                (phase, index): value for phase, index, value in notes["conditions"]
            }


def _is_run_again(plugin: Any, item: Any) -> bool:
    """
    Say whether what *item* borrows is to stay for another try.
    """
    reruns = plugin.get_reruns_count(item)
    failures = plugin._get_reruns_condition_failures(item)
    again = bool(
        item.execution_count <= reruns
        and failures
        and not any(getattr(item, "_test_xfailed", {}).values())
        and not any(getattr(item, "_terminal_errors", {}).values())
        and plugin.get_reruns_condition(item, failures)
    )
    if not again:
        # What it has put aside for another try that failed outside.
        plugin._restore_suspended_finalizers(item)
    return again


def _leave(*_: object) -> None:
    """
    Leave it to others.
    """


def _plugin() -> Any:
    return sys.modules["pytest_rerunfailures"]
