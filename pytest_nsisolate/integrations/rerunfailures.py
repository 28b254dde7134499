"""
pytest-rerunfailures: a separate sandbox for each try of a test.

The plugin's loop runs in the supervisor, and each run of the test is a guest. The
plugin decides by its notes in the item of the test, which come from the guest. So it
also repeats a test whose guest has crashed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "rerunfailures"

#: The notes: attributes of an item that have a bool for each phase since 16.0.
_NOTES = ("_test_failed_statuses", "_terminal_errors", "_test_xfailed")


class Integration:
    """
    Makes the plugin run its loop around guests, and carries over its notes.
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
            # The guest runs it once, and its failure may not count for the session.
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
            # The plugin counts these. The guest has evaluated their conditions.
            state["_rerun_condition_excinfos"] = {
                phase: [None] * phases.count(phase) for phase in phases
            }
            state["_rerun_condition_results"] = {
                (phase, index): value for phase, index, value in notes["conditions"]
            }


def _is_run_again(plugin: Any, item: Any) -> bool:
    """
    Return whether the fixtures that *item* borrows stay for another try.
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
        # The plugin put these aside for another try, which failed outside.
        plugin._restore_suspended_finalizers(item)
    return again


def _leave(*_: object) -> None:
    """
    Do nothing, in place of a function of the plugin.
    """


def _plugin() -> Any:
    return sys.modules["pytest_rerunfailures"]
