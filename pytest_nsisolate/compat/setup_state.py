"""
pytest's setup state: the stack of collectors and fixtures, and the phases of a test.

A comment at each use says since which version pytest has had that private part in this
form, and which public API could replace it ("Public would be").
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import pytest

# Since 5.4. Public would be: a hook that runs one phase and returns its report.
from _pytest.runner import call_and_report, check_interactive_exception

from pytest_nsisolate.compat import hooks

if TYPE_CHECKING:
    # Since 7.0. Public would be: session.setup_state.
    from _pytest.runner import SetupState

_MAKEREPORT = "pytest_runtest_makereport"

_kept = pytest.StashKey["list[object]"]()

#: Whether the setup of a package calls functions of its module.
_calls_functions = pytest.StashKey[bool]()


def run_phase(
    item: pytest.Item,
    when: Literal["setup", "teardown"],
    silence: contextlib.AbstractContextManager[object],
    **kwargs: object,
) -> pytest.TestReport:
    """
    Run the hooks of a phase of *item* and return the report, without logging it.

    Args:
        item: The test.
        when: The phase.
        silence: The context in which the report is made, if the phase has passed.
        kwargs: *nextitem* for teardown.
    """
    taker.is_taking = True
    try:
        with hooks.without(
            item.config, _MAKEREPORT, lambda one: one.plugin is not taker
        ):
            taken: Any = call_and_report(item, when, log=False, **kwargs)
    finally:
        taker.is_taking = False
    call = taken.call
    with silence if call.excinfo is None else contextlib.nullcontext():
        report: pytest.TestReport = item.ihook.pytest_runtest_makereport(
            item=item, call=call
        )
    if check_interactive_exception(call, report):
        item.ihook.pytest_exception_interact(node=item, call=call, report=report)
    return report


class _Taken:
    """
    A call that is to be reported later. pytest tells nobody of what was expected.
    """

    wasxfail = ""

    def __init__(self, call: pytest.CallInfo[None]) -> None:
        self.call = call


class CallTaker:
    """
    A plugin that, while `run_phase` runs, takes the call in place of its report.
    """

    is_taking = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> _Taken | None:
        """
        Return *call*, or None to leave it to others.
        """
        return _Taken(call) if self.is_taking else None


#: Registered in each supervisor.
taker = CallTaker()


def tears_down_all(session: pytest.Session) -> bool:
    """
    Return whether the next teardown tears down everything because the session ends.
    """
    # Source: pytest's changelog, 8.2.0, issue 11706.
    ends = bool(session.shouldstop or session.shouldfail)
    return ends and pytest.version_tuple >= (8, 2)


def finalizers_within(node: pytest.Item | pytest.Collector) -> dict[Any, int]:
    """
    Return what is set up at *node* and below, with its number of finalizers.
    """
    stack = stack_of(node.session)
    return {
        one: len(finalizers)
        for one, (finalizers, _) in stack.items()
        if node in one.listchain()
    }


def unwind_within(node: pytest.Item | pytest.Collector, before: dict[Any, int]) -> None:
    """
    Reset the stack at *node* and below to its state *before*, and finish nothing.

    Args:
        node: A test or collector.
        before: What `finalizers_within` returned then.
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
    In a guest: regard *node* and all below it, and *fixturedefs*, as not set up.

    Their finalizers are kept, as in `forget_borrowed`.
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
    In a guest: clear the finalizers of everything that the supervisor has set up.

    The supervisor calls them, once; the guest finalises only what it sets up itself.
    The finalizers stay referenced: when the last reference to a generator goes, its
    ``finally`` would run here.
    """
    kept = session.stash.setdefault(_kept, [])
    for finalizers, _ in stack_of(session).values():
        kept += finalizers
        finalizers.clear()
    if pytest.version_tuple < (8, 2):
        # In these versions each request for a fixture schedules its finish, not only
        # the first.
        manager: Any = session._fixturemanager
        for fixturedefs in manager._arg2fixturedefs.values():
            for fixturedef in fixturedefs:
                kept += fixturedef._finalizers
                fixturedef._finalizers.clear()


def keep_nothing_for(nextitem: pytest.Item) -> None:
    """
    In a guest: make pytest tear down everything, though hooks still see *nextitem*.
    """
    # pytest has used this since 6.3 to find what *nextitem* needs. Public would be: an
    # argument.
    vars(nextitem)["listchain"] = list


@contextlib.contextmanager
def keeping(nextitem: pytest.Item | None, kept: pytest.Item | None) -> Iterator[None]:
    """
    In a guest: keep what *kept* needs, though hooks still see *nextitem*.
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
    Tear down everything that is set up, as at the end of a session.
    """
    _setup_state(session).teardown_exact(None)


def stays_set_up(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """
    Return whether *nextitem* needs every collector that *item* has left set up.
    """
    have = list(stack_of(item.session))
    need = nextitem.listchain() if nextitem is not None else []
    return have == need[: len(have)]


def is_at(item: pytest.Item) -> bool:
    """
    Return whether just the collectors of *item* are set up, without an error.
    """
    stack = stack_of(item.session)
    return list(stack) == item.listchain()[:-1] and not _has_errors(stack)


def leads_to(item: pytest.Item, node: pytest.Item | pytest.Collector) -> bool:
    """
    Return whether pytest gets from what is set up to *item* without doing anything.

    So it is if it only leaves collectors that finalise nothing, and enters collectors
    that set up nothing: what modules and classes set up are fixtures.

    Args:
        item: The test.
        node: The test, or the collector at and below which a guest sets up collectors.
    """
    stack = stack_of(item.session)
    chain: list[Any] = item.listchain()[:-1]
    left = [one for one in stack if one not in chain]
    entered = [one for one in chain if one not in stack and node not in one.listchain()]
    return (
        not _has_errors(stack)
        # The first finalizer of each is its own teardown.
        and all(
            len(stack[one][0]) == 1 and not _has_own(one, "teardown") for one in left
        )
        and not any(_has_own(one, "teardown") or sets_up(one) for one in entered)
    )


def _has_errors(stack: dict[Any, tuple[list[Callable[[], object]], Any]]) -> bool:
    return any(error is not None for _, error in stack.values())


def _has_own(node: pytest.Collector, method: str) -> bool:
    """
    Return whether *node* has its own setup or teardown; that of pytest does nothing.
    """
    is_inherited = getattr(type(node), method) is getattr(pytest.Collector, method)
    return method in vars(node) or not is_inherited


def sets_up(node: pytest.Collector) -> bool:
    """
    Return whether the setup of *node* does something.
    """
    if not isinstance(node, pytest.Package) or "setup" in vars(node):
        return _has_own(node, "setup")
    if _calls_functions not in node.stash:
        # Since 8.0. Public would be: a fixture, as for modules and classes.
        path = str(node.path / "__init__.py")
        names = {"setUpModule", "setup_module", "tearDownModule", "teardown_module"}
        node.stash[_calls_functions] = not any(
            names.isdisjoint(vars(one))
            for one in [*sys.modules.values()]
            # Not by getattr(): a module may import others when it is asked.
            if issubclass(type(one), ModuleType) and vars(one).get("__file__") == path
        )
    return node.stash[_calls_functions]


def leave_for(item: pytest.Item) -> None:
    """
    In a guest: regard collectors that *item* does not belong to as not set up.

    They finalise nothing: see `leads_to`.
    """
    stack = stack_of(item.session)
    chain = item.listchain()
    for one in [one for one in stack if one not in chain]:
        del stack[one]


def end_current_test_variable() -> None:
    """
    Remove ``PYTEST_CURRENT_TEST`` from the environment, as the end of a test does.
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
