"""
Fixtures inside pytest: their definitions, requests and cached values.

Each use of a private part says since which version it has been as it is used here, and
what public API would take its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from pytest_nsisolate.compat.setup_state import stack_of


def fill_wide_fixtures(item: pytest.Item) -> None:
    """
    Set up the fixtures of *item*.

    A `pytest_fixture_setup` must `pass_over` those that hang on *item*: pytest walks
    through them all the same, so that also what only an overriding fixture requests is
    found, in pytest's own order.
    """
    # Since 7.0: items with fixtures have these two. Public would be:
    # request.setup_wider_fixtures().
    request: Any = getattr(item, "_request", None)
    if request is None:
        return
    case = _make_test_case(item)
    for name in getattr(item, "fixturenames", ()):
        request._get_active_fixturedef(name)
    if case:
        vars(item)["_testcase"] = None


def _make_test_case(item: pytest.Item) -> bool:
    """
    Make the instance that fixtures of a `unittest.TestCase` method are bound to.

    Only until 8.1, where setup() makes it, which is left to the guest.
    """
    if "_testcase" not in vars(type(item)) or not isinstance(item, pytest.Function):
        return False
    maker: Any = item.parent
    vars(item)["_testcase"] = maker.obj(item.name)
    return True


def is_all_set_up(item: pytest.Item) -> bool:
    """
    Say whether *item* needs nothing that is wider than itself to be set up.

    Without looking into what would happen: where that is not plain, say no.
    """
    stack = stack_of(item.session)
    if list(stack) != item.listchain()[:-1]:
        return False
    if any(error is not None for _, error in stack.values()):
        return False
    # Since 3.0 on items with fixtures.
    info: Any = getattr(item, "_fixtureinfo", None)
    known = () if info is None else info.name2fixturedefs.values()
    inside = {"function"}
    if item.getparent(pytest.Class) is None:
        inside.add("class")
    return not any(
        one.scope not in inside
        and (one.params is not None or not one.cached_result or one.cached_result[2])
        for fixturedefs in known
        for one in fixturedefs
    )


def pass_over(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> bool:
    """
    Have pytest take *fixturedef* for set up, with a value that no one looks at.

    Returns:
        What `pytest_fixture_setup` returns for a fixture that it has set up.
    """
    # Since 2.4; a fixture without it is never finished since 9.0.
    key = fixturedef.cache_key(request)  # type: ignore[arg-type]
    fixturedef.cached_result = (None, key, None)
    return True


def forget_passed_over(passed_over: Iterable[pytest.FixtureDef[object]]) -> None:
    """
    Have pytest take the fixtures *passed_over* for not set up.

    They are not finished: they have not begun.
    """
    for fixturedef in passed_over:
        fixturedef.cached_result = None
        fixturedef._finalizers.clear()


def walk_through(item: pytest.Item) -> None:
    """
    Set up the fixtures of *item*, whose turn comes later, as `fill_wide_fixtures`.

    What is only needed for that is on the stack then, and is for `unwind_within`.
    """
    stack = stack_of(item.session)
    for node in item.listchain():
        stack.setdefault(node, ([], None))
    try:
        fill_wide_fixtures(item)
    finally:
        refresh_request(item)


def wide_parameters(item: pytest.Item, inside: Iterable[str]) -> dict[str, int]:
    """
    Return which of its values *item* has of each parameter of a wider scope.

    Args:
        item: The test.
        inside: The scopes that are not wider.
    """
    # Since 7.0. Public would be: what a parameter's scope is.
    callspec: Any = getattr(item, "callspec", None)
    if callspec is None:
        return {}
    return {
        name: index
        for name, index in callspec.indices.items()
        if name in callspec._arg2scope and callspec._arg2scope[name].value not in inside
    }


def refresh_request(item: pytest.Item) -> None:
    """
    Have `runtestprotocol` begin with fresh fixture values, as for a rerun.
    """
    # Since 7.0: runtestprotocol() itself does this. Public would be: item.reset().
    if hasattr(item, "_request"):
        item._request = False
        item.funcargs = None  # type: ignore[attr-defined]


def renew_request(item: pytest.Item) -> None:
    """
    Begin with what `refresh_request` has prepared.
    """
    # Since 7.0: runtestprotocol() itself does this.
    if hasattr(item, "_request") and not item._request:
        item._initrequest()  # type: ignore[attr-defined]
