"""
Items inside pytest: their sections of captured output, their ids, and copies of them.

A comment at each use says since which version pytest has had that private part in this
form, and which public API could replace it ("Public would be").
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import pytest

#: Title of a section that pytest has captured.
_CAPTURED = re.compile("Captured (?P<kind>[^ ]+) (?P<when>[^ ]+)")


def number_of_sections(item: pytest.Item) -> int:
    """
    Return how many sections of captured output *item* has.
    """
    return len(item._report_sections)


def captured_sections(item: pytest.Item) -> list[tuple[str, str]]:
    """
    Return the sections of captured output of *item*, in the form of a report.
    """
    return [
        (f"Captured {kind} {when}", content)
        for when, kind, content in item._report_sections
    ]


def keep_sections(item: pytest.Item, reports: Sequence[pytest.TestReport]) -> None:
    """
    Give *item* the sections of its *reports*, as if it had run in this process.
    """
    # Since 2.9. Public would be: item.add_report_section(), and a way to clear them.
    item._report_sections[:] = [
        (match["when"], match["kind"], content)
        for title, content in reports[-1].sections
        if (match := _CAPTURED.fullmatch(title))
    ]


def id_of(item: pytest.Item) -> Any:
    """
    Return the node id of *item*: an object since pytest 9.2, before that a string.
    """
    return getattr(item, "id", None) or item.nodeid


def copy_of(item: pytest.Item, name: str) -> pytest.Item:
    """
    Return a copy of *item* that is a separate test.

    Args:
        item: A test of any kind that has not run.
        name: The name of the copy. A method of a `unittest.TestCase` is looked up by
            its name and keeps it: only its id has the new name.
    """
    one = copy.copy(item)
    # Since 3.5; in the stash since 7.0. Public would be: Item.copy(name).
    stash = pytest.Stash()
    stash._storage.update(item.stash._storage)
    one.stash = one._store = stash
    one.own_markers = item.own_markers[:]
    one.extra_keyword_matches = {*item.extra_keyword_matches}
    one.user_properties = item.user_properties[:]
    one._report_sections = item._report_sections[:]
    state: dict[str, Any] = vars(one)
    # pytest makes these again on demand: the instance of the class, the location.
    for cached in ("_instance", "_obj", "location"):
        state.pop(cached, None)
    _give_id(one, item, name)
    if "dtest" in state:
        # A doctest clears its globals after it has run.
        state["dtest"] = copy.copy(state["dtest"])
        if state["dtest"] is not None:
            state["dtest"].globs = state["dtest"].globs.copy()
    if hasattr(one, "_request"):
        one._initrequest()  # type: ignore[attr-defined]
    return one


def _give_id(one: pytest.Item, item: pytest.Item, name: str) -> None:
    """
    Name *one*, a copy of *item*, *name*: in its id, its keywords and its attribute.
    """
    nodeid = item.nodeid.removesuffix(item.name) + name
    loose: Any = one
    if hasattr(item, "_id"):
        # Since 9.2.
        loose._id = type(loose._id).parse(nodeid)
    else:
        loose._nodeid = nodeid
    if all(kind.__module__ != "_pytest.unittest" for kind in type(item).__mro__):
        one.name = name
    # Since 2.2.
    loose.keywords = type(item.keywords)(one)  # type: ignore[call-arg]
    old: Any = item.keywords
    loose.keywords.update(
        {key: value for key, value in old._markers.items() if key != item.name}
    )
    loose.keywords.update({name: True})


def share_id(item: pytest.Item, report: pytest.TestReport) -> None:
    """
    Make *report* refer to the id of *item* instead of an equal copy.
    """
    if report.nodeid != item.nodeid:
        return
    # Since 9.2 an id is an object. Public would be: report.id, if it could be set.
    if "_id" in vars(report):
        vars(report)["_id"] = item._id
    else:
        report.nodeid = item.nodeid
