"""
pytest's setup state: the stack of what is set up, and its phases.

Each use of a private part says since which version it has been as it is used here, and
what public API would take its place.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest

# Since 3.0. Public would be: a hook that runs one phase and returns its report.
from _pytest.runner import call_and_report

if TYPE_CHECKING:
    # Since 7.0. Public would be: session.setup_state.
    from _pytest.runner import SetupState

_kept = pytest.StashKey["list[object]"]()


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


def tears_down_all(session: pytest.Session) -> bool:
    """
    Say whether the teardown of a test is that of everything, as the session is to end.
    """
    # pytest's changelog, 8.2.0: issue 11706.
    ends = bool(session.shouldstop or session.shouldfail)
    return ends and pytest.version_tuple >= (8, 2)


def finalizers_within(node: pytest.Item | pytest.Collector) -> dict[Any, int]:
    """
    Return what of *node* and below it is set up, and how many finalizers that has.
    """
    stack = stack_of(node.session)
    return {
        one: len(finalizers)
        for one, (finalizers, _) in stack.items()
        if node in one.listchain()
    }


def unwind_within(node: pytest.Item | pytest.Collector, before: dict[Any, int]) -> None:
    """
    Have of *node* and below be set up what was *before*, and finish nothing.
    """
    stack = stack_of(node.session)
    for one in finalizers_within(node):
        if one in before:
            del stack[one][0][before[one] :]
        else:
            del stack[one]


def forget_within(
    node: pytest.Item | pytest.Collector,
    fixturedefs: Iterable[pytest.FixtureDef[object]],
) -> None:
    """
    In a guest: take *node* and what is below for not set up, and *fixturedefs*, too.

    Their finalizers are kept, as by `forget_borrowed`.
    """
    stack = stack_of(node.session)
    kept = node.session.stash.setdefault(_kept, [])
    for one in finalizers_within(node):
        kept.append(stack.pop(one))
    for fixturedef in fixturedefs:
        kept += [fixturedef.cached_result, *fixturedef._finalizers]
        fixturedef.cached_result = None
        fixturedef._finalizers.clear()


def forget_borrowed(session: pytest.Session) -> None:
    """
    In a guest: let its teardown finalise only what it sets up itself.

    What the supervisor has set up is finalised there, once. Its finalizers are kept:
    with the last reference to a generator its ``finally`` would run here.
    """
    kept = session.stash.setdefault(_kept, [])
    for finalizers, _ in stack_of(session).values():
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
    have = list(stack_of(item.session))
    need = nextitem.listchain() if nextitem is not None else []
    return have == need[: len(have)]


def end_current_test_variable() -> None:
    """
    Take ``PYTEST_CURRENT_TEST`` out of the environment, as the end of a test does.
    """
    os.environ.pop("PYTEST_CURRENT_TEST", None)


def _setup_state(session: pytest.Session) -> SetupState:
    return session._setupstate


def stack_of(
    session: pytest.Session,
) -> dict[Any, tuple[list[Callable[[], object]], Any]]:
    """
    Return what is set up, with its finalizers and the error of its setup, if any.
    """
    return _setup_state(session).stack
