"""
syrupy: the snapshot assertions of guests, for the report of the session.

The plugin keeps every assertion until the end of the session. Then they tell it what to
write, what to report, and which snapshots to delete because no test has used them.
"""

from __future__ import annotations

import sys
import types
from typing import Any, cast

import pytest

from pytest_nsisolate.compat import builtin_plugins
from pytest_nsisolate.guest.messages import Payload

_NAME = "syrupy"

#: The fields of a `syrupy.assertion.AssertionResult` that the report needs.
_FIELDS = ("snapshot_location", "snapshot_name", "created", "updated", "success")


class Integration:
    """
    Carries over the results of assertions, without the values compared.
    """

    def __init__(self) -> None:
        #: How many assertions the supervisor has or has been sent.
        self._known = 0
        #: In a guest: the snapshots to be written that were not sent yet.
        self._writes: list[list[object]] = []

    @pytest.hookimpl
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        session = _session(item)
        if session is None:
            return
        self._known = len(session._assertions)
        queue = session.queue_snapshot_write

        def queue_too(
            *, extension: Any, test_location: Any, data: Any, index: Any
        ) -> None:
            # It is in this guest's queue for what the test compares next.
            queue(extension, test_location, data, index)
            self._writes.append([*_name_of(extension), data, index])

        # With these arguments since 4.0.
        session.queue_snapshot_write = queue_too

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, item: pytest.Item, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        session = _session(item)
        if session is None or report is not None:
            return
        made = session._assertions[self._known :]
        self._known = len(session._assertions)
        if made or self._writes:
            payload[_NAME] = {
                "expected": builtin_plugins.may_fail(item),
                "assertions": [_to_message(one) for one in made],
                "writes": self._writes,
            }
            self._writes = []

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, item: pytest.Item, payload: Payload) -> None:
        if _NAME not in payload:
            return
        message = cast("dict[str, Any]", payload[_NAME])
        location = _Location(item.config, expected=message["expected"])
        for module, qualname, results in message["assertions"]:
            _add(item, location, _find(module, qualname), results)
        for module, qualname, data, index in message["writes"]:
            extension = _find(module, qualname)()
            queue = _session(item).queue_snapshot_write
            queue(extension, _place_of(item), data, index)


def _session(item: pytest.Item) -> Any:
    """
    Return the plugin's session object, which has had this name since 4.0.
    """
    return getattr(item.config, "_syrupy", None)


def _to_message(made: Any) -> list[object]:
    results = [
        {name: getattr(one, name) for name in _FIELDS}
        for one in made.executions.values()
    ]
    return [*_name_of(made.extension), results]


def _name_of(extension: Any) -> list[str]:
    """
    Return the module and the name of the class of *extension*, which `_find` finds.
    """
    kind = type(extension)
    return [kind.__module__, kind.__qualname__]


def _place_of(item: pytest.Item) -> Any:
    return sys.modules["syrupy.location"].PyTestLocation(item)


def _add(item: pytest.Item, location: Any, extension: Any, results: list[Any]) -> None:
    module: Any = sys.modules["syrupy.assertion"]
    made = module.SnapshotAssertion(
        session=_session(item),
        extension_class=extension,
        test_location=_place_of(item),
        update_snapshots=False,
    )
    for number, fields in enumerate(results):
        made.executions[number] = module.AssertionResult(
            **fields,
            asserted_data=None,
            recalled_data=None,
            exception=None,
            test_location=location,
        )


class _Location:
    """
    A stand-in for a `syrupy.location.PyTestLocation`, used for the mark `xfail` only.
    """

    def __init__(self, config: pytest.Config, *, expected: bool) -> None:
        self.item = types.SimpleNamespace(
            stash=builtin_plugins.stash_of_xfail(config, expected=expected)
        )


def _find(module: str, qualname: str) -> Any:
    """
    Return the class of that name or, if it cannot be found, the plugin's default.
    """
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found or sys.modules["syrupy"].DEFAULT_EXTENSION
