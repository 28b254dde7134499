"""
inline-snapshot: the changes that guests make to snapshots in the source code.

The plugin works out the changes at the end of the session from the values it has seen.
Values cannot leave their guest. So the guest works out the changes, and sends them as
code and the place where the code goes.
"""

from __future__ import annotations

import ast
import dataclasses
import os
import sys
import types
from typing import Any, cast

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "inline_snapshot"

#: Changes that have consisted of code and a place alone since 0.13.
_KINDS = ("Delete", "ListInsert", "DictInsert", "Replace", "CallArg", "RequiredImport")


class Integration:
    """
    Carries over changes to the source, by snapshot.
    """

    def __init__(self) -> None:
        #: For the place of each snapshot: the guest that changed it, and its changes.
        self._seen: dict[tuple[str, int], tuple[str, list[Any]]] = {}
        #: Distinguishes this guest from others.
        self._guest = ""

    @pytest.hookimpl
    def pytest_nsisolate_enter(self) -> None:
        self._guest = os.urandom(8).hex()

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        state = _state()
        if report is None and state is not None and state.active:
            made = [_to_message(one) for one in state.snapshots.values()]
            if any(made) or state.all_problems:
                problems = sorted(state.all_problems)
                told = [one for one in made if one]
                payload[_NAME] = [self._guest, told, problems]

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, payload: Payload) -> None:
        if _NAME not in payload:
            return
        state = _state()
        guest, snapshots, problems = cast(
            "tuple[str, list[Any], list[str]]", payload[_NAME]
        )
        state.all_problems.update(problems)
        for filename, number, changes in snapshots:
            place = (filename, number)
            before = self._seen.get(place)
            if before is not None and before[0] != guest:
                changes = _merge(before[1], changes)  # noqa: PLW2901
            self._seen[place] = (guest, changes)
            # It replaces the plugin's own snapshot, which is asked for this alone.
            state.snapshots[place] = types.SimpleNamespace(
                _changes=lambda filename=filename, changes=changes: [
                    _from_message(filename, one) for one in changes
                ]
            )


def _state() -> Any:
    """
    Return the plugin's state, if it is loaded.
    """
    module = sys.modules.get("inline_snapshot._global_state")
    return None if module is None else module.state()


def _merge(before: list[Any], changes: list[Any]) -> list[Any]:
    """
    Return the changes of a snapshot that the tests of two guests have used.

    One test may need what another does not use, so both must agree to trim a value. A
    value that one test has added cannot be compared with that of the other, which has
    not seen it: the first one wins.
    """
    kept = [one for one in before if one["flag"] != "trim" or one in changes]
    return kept or [one for one in changes if one["flag"] != "trim"]


def _to_message(snapshot: Any) -> list[object] | None:
    context: Any = getattr(snapshot, "_context", None)
    node = getattr(getattr(context, "expr", None), "node", None)
    if node is None:
        return None
    source = context.source
    numbers = {id(one): number for number, one in enumerate(ast.walk(source.tree))}
    made = list(snapshot._changes())
    if any(type(one).__name__ not in _KINDS for one in made):
        # It goes to a separate file, and half of such a change is worse than none.
        return None
    changes = [
        {
            "kind": type(one).__name__,
            **{
                field.name: getattr(one, field.name)
                for field in dataclasses.fields(one)
                if field.name not in {"file", "node"}
            },
            "node": numbers.get(id(getattr(one, "node", None))),
        }
        for one in made
    ]
    return [source.filename, numbers[id(node)], changes]


def _from_message(filename: str, message: dict[str, Any]) -> Any:
    fields = dict(message)
    kind = getattr(sys.modules["inline_snapshot._change"], fields.pop("kind"))
    source = sys.modules["executing"].Source.for_filename(filename)
    number = fields.pop("node")
    nodes = list(ast.walk(source.tree))
    if "node" in {field.name for field in dataclasses.fields(kind)}:
        fields["node"] = None if number is None else nodes[number]
    file = sys.modules["inline_snapshot._source_file"].SourceFile(source)
    return kind(file=file, **fields)
