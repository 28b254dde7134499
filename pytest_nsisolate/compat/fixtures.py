"""
Fixtures inside pytest: their definitions, requests and cached values.

A comment at each use says since which version pytest has had that private part in this
form, and which public API could replace it ("Public would be").
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

import pytest

from pytest_nsisolate.compat import setup_state

#: The name of a fixture that pytest makes of a function such as `setup_module`.
_FUNCTION = re.compile(r"_?(?:xunit|unittest)_(?P<name>\w+?)_fixture_.*")


def fill_wide_fixtures(item: pytest.Item) -> None:
    """
    Set up the fixtures of *item* whose scope is wider than the test.

    A `pytest_fixture_setup` must `pass_over` the fixtures that belong to *item* itself.
    pytest still walks through these, in its own order, and so it also finds fixtures
    that only an overriding fixture requests.
    """
    __tracebackhide__ = True
    # Items with fixtures have had it since 7.0. Public would be:
    # request.setup_wider_fixtures().
    request: Any = getattr(item, "_request", None)
    if request is None:
        return
    kinds: Any = type(item).__mro__
    kind = next(one for one in kinds if one.__module__.startswith("_pytest."))
    state: dict[str, Any] = vars(item)
    values = dict(state.get("funcargs") or {})
    try:
        if kind.setup is pytest.Item.setup:
            for name in getattr(item, "fixturenames", ()):
                request.getfixturevalue(name)
        else:
            # This does hardly more, and a traceback then reads as in a plain run.
            kind.setup(item)
    finally:
        # A fixture that is passed over has no value.
        state["funcargs"] = values
        if hasattr(kind, "_testcase"):
            # Up to 8.1 a method of a unittest.TestCase makes its instance in setup().
            state["_testcase"] = state["_obj"] = None


def is_all_set_up(item: pytest.Item) -> bool:
    """
    Return whether every fixture that *item* needs from a wider scope is set up.

    This does not try to foresee what a setup does: if in doubt, the answer is no.
    """
    return setup_state.is_at(item) and has_wide_fixtures(item)


def will_be_all_set_up(
    item: pytest.Item,
    node: pytest.Item | pytest.Collector,
    inside: Collection[str],
) -> bool:
    """
    Return whether that will be so when it is the turn of *item*, with nothing done.

    On the way there pytest may leave collectors and enter others, as long as they set
    up and finalise nothing.

    Args:
        item: The test.
        node: The node at and below which a guest sets up collectors.
        inside: As for `has_wide_fixtures`.
    """
    return setup_state.leads_to(item, node) and has_wide_fixtures(item, inside)


def has_wide_fixtures(item: pytest.Item, inside: Collection[str] = ()) -> bool:
    """
    Return whether the fixtures that *item* borrows are set up, and stay so.

    Args:
        item: The test.
        inside: The scopes of fixtures that its guest sets up, though they may have been
            set up outside too.
    """
    # Items with fixtures have had it since 3.0.
    info: Any = getattr(item, "_fixtureinfo", None)
    known = () if info is None else info.name2fixturedefs.values()
    own = {"function"}
    if item.getparent(pytest.Class) is None:
        own.add("class")
    wide = [one for some in known for one in some if one.scope not in own]
    given = wide_parameters(item, own) if wide else {}
    return not any(
        # With another parameter, it is finalised outside.
        _may_differ(one, given) and one.cached_result
        if one.scope in inside
        else _may_differ(one, given) or not one.cached_result or one.cached_result[2]
        for one in wide
    )


def _may_differ(fixturedef: pytest.FixtureDef[object], given: Collection[str]) -> bool:
    """
    Return whether *fixturedef* may be set up with another parameter than a test has.

    Args:
        fixturedef: The fixture.
        given: The names of the parameters of the test, those with indirect=True too.
    """
    if fixturedef.params is not None or fixturedef.argname in given:
        return True
    # Since 3.0 the key of what is set up. Up to 8.0 it is 0 without a parameter.
    key = fixturedef.cached_result and fixturedef.cached_result[1]
    return key is not None and not (type(key) is int and key == 0)


def makes_directories(item: pytest.Item, inside: Collection[str] = ()) -> bool:
    """
    Return whether *item*, or a fixture in its guest, may name temporary directories.

    The fixtures `tmp_path` and `tmpdir` are left out.

    Args:
        item: The test.
        inside: The scopes of fixtures, besides its own, that the guest sets up.
    """
    # Items with fixtures have had it since 3.0, with these attributes since 3.1.
    info: Any = getattr(item, "_fixtureinfo", None)
    if info is None:
        return False
    takers = [info.argnames]
    for fixturedefs in info.name2fixturedefs.values():
        takers += [
            one.argnames
            for one in fixturedefs
            if one.scope in {"function", *inside}
            and one.argname not in {"tmp_path", "tmpdir"}
        ]
    return any({"tmp_path_factory", "tmpdir_factory"} & {*one} for one in takers)


def homes_of(item: pytest.Item) -> set[pytest.Collector]:
    """
    Return the collectors of *item* for which fixtures or functions set something up.

    Fixtures that a test or a fixture requests while it runs are not known.
    """
    # Items with fixtures have had it since 3.0. Public would be: item.fixturedefs.
    info: Any = getattr(item, "_fixtureinfo", None)
    known = () if info is None else info.name2fixturedefs.values()
    scopes = {one.scope for fixturedefs in known for one in fixturedefs}
    nodes = (item.getparent(kind) for name, kind in _KINDS.items() if name in scopes)
    chain: list[Any] = item.listchain()[:-1]
    own = {node for node in chain if setup_state.sets_up(node)}
    return own | {node for node in nodes if node is not None}


#: The kind of node for which fixtures of a scope are set up.
_KINDS: dict[str, type[pytest.Collector]] = {
    "class": pytest.Class,
    "module": pytest.Module,
    "package": pytest.Package,
}


def requested(item: pytest.Item) -> list[str]:
    """
    Return the names of the fixtures of *item*, those requested while it runs included.
    """
    # Since 3.0. Public would be: item.request.
    request: Any = getattr(item, "_request", None)
    return list(request.fixturenames) if request else []


def label(fixturedef: pytest.FixtureDef[object]) -> str:
    """
    Return what to call *fixturedef*: its name, or that of a function as `setup_module`.
    """
    function = _FUNCTION.fullmatch(fixturedef.argname)
    return fixturedef.argname if function is None else function["name"]


def pass_over(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> bool:
    """
    Make pytest regard *fixturedef* as set up, with a value that nothing uses.

    Returns:
        The value that `pytest_fixture_setup` returns for a fixture that it has set up.
    """
    # Since 2.4. Since 9.0 a fixture without a cached result is never finished.
    key = fixturedef.cache_key(request)  # type: ignore[arg-type]
    fixturedef.cached_result = (None, key, None)
    return True


def forget_passed_over(passed_over: Iterable[pytest.FixtureDef[object]]) -> None:
    """
    Make pytest regard the fixtures *passed_over* as not set up.

    Do not finish them: they were never started.
    """
    for fixturedef in passed_over:
        fixturedef.cached_result = None
        fixturedef._finalizers.clear()


def walk_through(item: pytest.Item) -> None:
    """
    Do the work of `fill_wide_fixtures` for an *item* that runs later.

    This leaves nodes on the stack that only this walk needs: `unwind_within` removes
    them.
    """
    stack = setup_state.stack_of(item.session)
    for node in item.listchain():
        stack.setdefault(node, ([], None))
    try:
        fill_wide_fixtures(item)
    finally:
        refresh_request(item)


def wide_parameters(item: pytest.Item, inside: Iterable[str]) -> dict[str, int]:
    """
    Return the index of the value that *item* has for each parameter of a wider scope.

    Args:
        item: The test.
        inside: The scopes that are not wider.
    """
    # Since 7.0. Public would be: the scope of a parameter.
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
    Make `runtestprotocol` begin with fresh fixture values, as for a rerun.
    """
    # runtestprotocol() itself has done this since 7.0. Public would be: item.reset().
    if hasattr(item, "_request"):
        item._request = False
        item.funcargs = None  # type: ignore[attr-defined]


def renew_request(item: pytest.Item) -> None:
    """
    Make the new request that `refresh_request` has prepared for.
    """
    # runtestprotocol() itself has done this since 7.0.
    if hasattr(item, "_request") and not item._request:
        item._initrequest()  # type: ignore[attr-defined]
