"""
Borrowed fixtures: set up and finalised in the supervisor, seen by the guest.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

import pytest

from pytest_nsisolate.compat import builtin_plugins, fixtures, setup_state
from pytest_nsisolate.guest import absent
from pytest_nsisolate.reporting import memory
from pytest_nsisolate.settings.scopes import Node, node_of


class Borrowing:
    """
    Sets up, in the supervisor, the fixtures that a guest borrows.

    It calls the setup hooks of the item as pytest does, so that output, logs, warnings
    and failures go where they go in any test. Only the item's own setup is replaced, by
    one that leaves out the fixtures that live in the sandbox.
    """

    def __init__(self) -> None:
        #: The node whose fixtures, with those below it, are now passed over.
        self._within: Node | None = None
        self._passed_over: list[pytest.FixtureDef[object]] = []
        self._log: Callable[[pytest.TestReport], None] | None = None
        #: Whether ``--setup-show`` is given.
        self._shows = False

    def set_up(
        self,
        item: pytest.Item,
        error: BaseException | None = None,
        *,
        log: Callable[[pytest.TestReport], None] | None = None,
        others: Iterable[pytest.Item] = (),
    ) -> pytest.TestReport:
        """
        Set up what *item* borrows: its fixtures and collectors wider than its sandbox.

        Args:
            item: The test.
            error: If given, raised instead of setting up the fixtures.
            log: Called with the report of a failure before a debugger opens.
            others: Tests that run later in the same guest.

        Returns:
            The report of this part of setup. If it passed, *item* is not on the setup
            stack.
        """
        self._passed_over.clear()
        properties = item.user_properties[:]
        node = node_of(item)
        before = setup_state.finalizers_within(node)
        with contextlib.ExitStack() as stack:
            for one in item.listchain()[:-1]:
                if node in one.listchain():
                    stack.enter_context(_replaced(one, lambda: None))
            fill: Callable[[], None]
            if error is None:
                fill = functools.partial(self._fill, item, others)
            else:
                fill = functools.partial(_raise, error)
            stack.enter_context(_replaced(item, fill))
            stack.enter_context(self.telling(log))
            silence = memory.untouched(item.config)
            report = setup_state.run_phase(item, "setup", silence)
        if report.passed:
            # The guest calls the hooks that come before the fixtures again.
            item.user_properties[:] = properties
        if report.passed or node is not item:
            setup_state.unwind_within(node, before)
            fixtures.forget_passed_over(self._passed_over)
        return report

    @contextlib.contextmanager
    def telling(
        self, log: Callable[[pytest.TestReport], None] | None
    ) -> Iterator[None]:
        """
        Call *log* with the report of a failure before a debugger opens on it.
        """
        self._log = log
        try:
            yield
        finally:
            self._log = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(self, report: pytest.TestReport) -> None:
        if self._log is not None:
            self._log(report)

    def passes_over(self, request: pytest.FixtureRequest) -> bool:
        """
        Say whether the guest, and not the supervisor, sets up the fixture of *request*.
        """
        # The node is the item for function scope, and for class scope without a class.
        return self._within is not None and self._within in request.node.listchain()

    # No wrapper: it would be in the traceback of each fixture that fails.
    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> object:
        if not self.passes_over(request):
            absent.begin(fixtures.label(fixturedef), fixturedef.scope)
            self._show(request.config, shown=True)
            return None
        self._passed_over.append(fixturedef)
        # pytest shows the fixture when this hook is over.
        self._show(request.config, shown=False)
        return fixtures.pass_over(fixturedef, request)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        # What a test on the host starts is of no fixture.
        absent.end()

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_post_finalizer(self, request: pytest.FixtureRequest) -> None:
        self._show(request.config, shown=True)

    def _show(self, config: pytest.Config, *, shown: bool) -> None:
        """
        Let ``--setup-show`` show the next fixture, or not: it is only passed over.
        """
        if self._within is not None:
            config.option.setupshow = self._shows and shown

    def _fill(
        self,
        item: pytest.Item,
        others: Iterable[pytest.Item],
    ) -> None:
        __tracebackhide__ = True
        builtin_plugins.forget_captured(item.config)
        self._shows = item.config.getoption("setupshow", False)
        self._within = node_of(item)
        try:
            fixtures.fill_wide_fixtures(item)
            for one in others:
                self._fill_later(one)
        finally:
            self._show(item.config, shown=True)
            self._within = None

    def _fill_later(self, item: pytest.Item) -> None:
        """
        Set up what *item*, which runs later in the same guest, borrows.

        pytest remembers a failure, and *item* fails with it when its turn comes.
        """
        if builtin_plugins.is_skipped(item):
            return
        try:
            fixtures.walk_through(item)
        except pytest.exit.Exception:
            raise
        except (Exception, pytest.skip.Exception, pytest.fail.Exception):  # noqa: BLE001
            return


# Not hidden: pytest says so if all entries of a traceback are.
def _raise(error: BaseException) -> NoReturn:
    raise error


@contextlib.contextmanager
def _replaced(node: object, setup: Callable[[], None]) -> Iterator[None]:
    """
    Replace the setup of *node* by *setup*, and its teardown by nothing.
    """
    state = vars(node)
    state["setup"], state["teardown"] = setup, lambda: None
    try:
        yield
    finally:
        del state["setup"], state["teardown"]
