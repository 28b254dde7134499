"""
The one module that imports ``_pytest``.

Each use says since which version it has been as it is used here, and what public API
would take its place.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pytest

# Since 3.0. Public would be: a hook that runs one phase and returns its report.
from _pytest.runner import call_and_report

if TYPE_CHECKING:
    # Since 7.0. Public would be: session.setup_state.
    from _pytest.runner import SetupState


_kept = pytest.StashKey["list[object]"]()


#: Title of a section that pytest has captured.
_CAPTURED = re.compile("Captured (?P<kind>[^ ]+) (?P<when>[^ ]+)")


def run_phase(
    item: pytest.Item, when: Literal["setup", "teardown"], **kwargs: object
) -> pytest.TestReport:
    """
    Run the hooks of a phase of *item* and return the report, which is not logged.

    Args:
        item: Whose phase.
        when: Which.
        kwargs: *nextitem* for teardown.
    """
    return call_and_report(item, when, log=False, **kwargs)


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


def tears_down_all(session: pytest.Session) -> bool:
    """
    Say whether the teardown of a test is that of everything, as the session is to end.
    """
    # pytest's changelog, 8.2.0: issue 11706.
    ends = bool(session.shouldstop or session.shouldfail)
    return ends and pytest.version_tuple >= (8, 2)


def is_all_set_up(item: pytest.Item) -> bool:
    """
    Say whether *item* needs nothing that is wider than itself to be set up.

    Without looking into what would happen: where that is not plain, say no.
    """
    stack = _stack(item.session)
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


def finalizers_within(node: pytest.Item | pytest.Collector) -> dict[Any, int]:
    """
    Return what of *node* and below it is set up, and how many finalizers that has.
    """
    stack = _stack(node.session)
    return {
        one: len(finalizers)
        for one, (finalizers, _) in stack.items()
        if node in one.listchain()
    }


def unwind_within(node: pytest.Item | pytest.Collector, before: dict[Any, int]) -> None:
    """
    Have of *node* and below be set up what was *before*, and finish nothing.
    """
    stack = _stack(node.session)
    for one in finalizers_within(node):
        if one in before:
            del stack[one][0][before[one] :]
        else:
            del stack[one]


def walk_through(item: pytest.Item) -> None:
    """
    Set up the fixtures of *item*, whose turn comes later, as `fill_wide_fixtures`.

    What is only needed for that is on the stack then, and is for `unwind_within`.
    """
    stack = _stack(item.session)
    for node in item.listchain():
        stack.setdefault(node, ([], None))
    try:
        fill_wide_fixtures(item)
    finally:
        refresh_request(item)


def forget_within(
    node: pytest.Item | pytest.Collector,
    fixturedefs: Iterable[pytest.FixtureDef[object]],
) -> None:
    """
    In a guest: take *node* and what is below for not set up, and *fixturedefs*, too.

    Their finalizers are kept, as by `forget_borrowed`.
    """
    stack = _stack(node.session)
    kept = node.session.stash.setdefault(_kept, [])
    for one in finalizers_within(node):
        kept.append(stack.pop(one))
    for fixturedef in fixturedefs:
        kept += [fixturedef.cached_result, *fixturedef._finalizers]
        fixturedef.cached_result = None
        fixturedef._finalizers.clear()


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


def forget_borrowed(session: pytest.Session) -> None:
    """
    In a guest: let its teardown finalise only what it sets up itself.

    What the supervisor has set up is finalised there, once. Its finalizers are kept:
    with the last reference to a generator its ``finally`` would run here.
    """
    kept = session.stash.setdefault(_kept, [])
    for finalizers, _ in _stack(session).values():
        kept += finalizers
        finalizers.clear()
    if pytest.version_tuple < (8, 2):
        # Each request for a fixture, and not only the first, schedules its end there.
        manager: Any = session._fixturemanager
        for fixturedefs in manager._arg2fixturedefs.values():
            for fixturedef in fixturedefs:
                kept += fixturedef._finalizers
                fixturedef._finalizers.clear()


def keep_nothing_for(nextitem: pytest.Item) -> None:
    """
    In a guest: have all torn down, though hooks get to know that *nextitem* comes next.
    """
    # Since 6.3, what it needs is looked up by this. Public would be: an argument.
    vars(nextitem)["listchain"] = list


@contextlib.contextmanager
def keeping(nextitem: pytest.Item | None, kept: pytest.Item | None) -> Iterator[None]:
    """
    In a guest: keep what *kept* needs, though for hooks *nextitem* is the next.
    """
    if nextitem is None or nextitem is kept:
        yield
        return
    keep_nothing_for(nextitem)
    if kept is not None:
        vars(nextitem)["listchain"] = kept.listchain
    try:
        yield
    finally:
        del vars(nextitem)["listchain"]


def tear_down_rest(session: pytest.Session) -> None:
    """
    Tear down whatever is set up, as at the end of a session.
    """
    _setup_state(session).teardown_exact(None)


def stays_set_up(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """
    Say whether *nextitem* needs every collector that *item* has left set up.
    """
    have = list(_stack(item.session))
    need = nextitem.listchain() if nextitem is not None else []
    return have == need[: len(have)]


def refresh_request(item: pytest.Item) -> None:
    """
    Have `runtestprotocol` begin with fresh fixture values, as for a rerun.
    """
    # Since 7.0: runtestprotocol() itself does this. Public would be: item.reset().
    if hasattr(item, "_request"):
        item._request = False
        item.funcargs = None  # type: ignore[attr-defined]


def end_current_test_variable() -> None:
    """
    Take ``PYTEST_CURRENT_TEST`` out of the environment, as the end of a test does.
    """
    os.environ.pop("PYTEST_CURRENT_TEST", None)


def _setup_state(session: pytest.Session) -> SetupState:
    return session._setupstate


def _stack(
    session: pytest.Session,
) -> dict[Any, tuple[list[Callable[[], object]], Any]]:
    return _setup_state(session).stack


def renew_request(item: pytest.Item) -> None:
    """
    Begin with what `refresh_request` has prepared.
    """
    # Since 7.0: runtestprotocol() itself does this.
    if hasattr(item, "_request") and not item._request:
        item._initrequest()  # type: ignore[attr-defined]


def number_of_sections(item: pytest.Item) -> int:
    """
    Return how many sections of captured output *item* has.
    """
    return len(item._report_sections)


def captured_sections(item: pytest.Item) -> list[tuple[str, str]]:
    """
    Return the sections of captured output that *item* has, as reports have them.
    """
    return [
        (f"Captured {kind} {when}", content)
        for when, kind, content in item._report_sections
    ]


def keep_sections(item: pytest.Item, reports: Sequence[pytest.TestReport]) -> None:
    """
    Give *item* the sections of its *reports*, as it has them where it runs itself.
    """
    # Since 2.9. Public would be: item.add_report_section(), and a way to clear them.
    item._report_sections[:] = [
        (match["when"], match["kind"], content)
        for title, content in reports[-1].sections
        if (match := _CAPTURED.fullmatch(title))
    ]


def copy_of(item: pytest.Item, name: str) -> pytest.Item:
    """
    Return a copy of *item*, which has not run, that is a test of its own.

    Args:
        item: Of any kind.
        name: What the copy is called. A method of a `unittest.TestCase` is looked up by
            its name, and keeps it: the new one is in its id only.
    """
    one = copy.copy(item)
    # Since 3.5, kept in the stash since 7.0. Public would be: Item.copy(name).
    stash = pytest.Stash()
    stash._storage.update(item.stash._storage)
    one.stash = one._store = stash
    one.own_markers = item.own_markers[:]
    one.extra_keyword_matches = {*item.extra_keyword_matches}
    one.user_properties = item.user_properties[:]
    one._report_sections = item._report_sections[:]
    state: dict[str, Any] = vars(one)
    # Made anew where they are asked for: an instance of the class, and a place.
    for cached in ("_instance", "_obj", "location"):
        state.pop(cached, None)
    _give_id(one, item, name)
    if "dtest" in state:
        # A doctest clears its globals when it has run.
        state["dtest"] = copy.copy(state["dtest"])
        if state["dtest"] is not None:
            state["dtest"].globs = state["dtest"].globs.copy()
    if hasattr(one, "_request"):
        one._initrequest()  # type: ignore[attr-defined]
    return one


def _give_id(one: pytest.Item, item: pytest.Item, name: str) -> None:
    """
    Call *one*, a copy of *item*, *name*, in its id and where it is looked up by it.
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
    Have *report* keep the id of *item*, and no copy of it, where they are the same.
    """
    if report.nodeid != item.nodeid:
        return
    # Since 9.2 an id is an object. Public would be: report.id, if it could be set.
    if "_id" in vars(report):
        vars(report)["_id"] = item._id
    else:
        report.nodeid = item.nodeid
