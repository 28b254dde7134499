"""
Borrowed fixtures: set up and finalised in the supervisor, seen by the guest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator

import pytest

from pytest_nsisolate import builtin, private


class Borrowing:
    """
    Sets up, in the supervisor, the fixtures that a guest borrows.

    The setup hooks of the item are called as ever, so that output, logs, warnings and
    failures go where they go in any test. Only the item's own setup is exchanged for
    one that leaves out what lives in the sandbox.
    """

    def __init__(self) -> None:
        #: Whether fixtures of function scope are to be passed over now.
        self.active = False
        self._passed_over: list[pytest.FixtureDef[object]] = []
        self._log: Callable[[pytest.TestReport], None] | None = None

    def set_up(
        self,
        item: pytest.Item,
        error: BaseException | None = None,
        *,
        log: Callable[[pytest.TestReport], None] | None = None,
    ) -> pytest.TestReport:
        """
        Set up the collectors of *item* and its fixtures of wider than function scope.

        Args:
            item: The test.
            error: Raised in place of setting up the fixtures, if given.
            log: Called with the report before a debugger opens on its failure.

        Returns:
            The report of that. If it passed, *item* is not on the setup stack.
        """
        self._passed_over.clear()
        properties = item.user_properties[:]
        state = vars(item)
        state["setup"] = lambda: self._fill(item, error)
        state["teardown"] = lambda: None
        try:
            with self.telling(log):
                report = private.run_phase(item, "setup")
        finally:
            del state["setup"], state["teardown"]
        if report.passed:
            private.unwind_item(item, self._passed_over)
            # The hooks that came before the fixtures are called again, inside.
            item.user_properties[:] = properties
        return report

    @contextlib.contextmanager
    def telling(
        self, log: Callable[[pytest.TestReport], None] | None
    ) -> Iterator[None]:
        """
        Have *log* called with the report before a debugger opens on a failure.
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
        Say whether the fixture of *request* is one for the guest to set up.
        """
        # Of function scope, or of class scope where there is no class.
        return self.active and isinstance(request.node, pytest.Item)

    def pass_over(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> object:
        """
        Have pytest take *fixturedef* for set up.
        """
        self._passed_over.append(fixturedef)
        return private.pass_over(fixturedef, request)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        if not self.passes_over(request):
            return (yield)
        with _not_shown(request.config):
            return (yield)

    def _fill(self, item: pytest.Item, error: BaseException | None) -> None:
        __tracebackhide__ = True
        if error is not None:
            raise error
        builtin.forget_captured(item.config)
        self.active = True
        try:
            private.fill_wide_fixtures(item)
        finally:
            self.active = False


@contextlib.contextmanager
def _not_shown(config: pytest.Config) -> Iterator[None]:
    """
    Keep ``--setup-show`` from showing what is only passed over.
    """
    shown = config.getoption("setupshow", False)
    config.option.setupshow = False
    try:
        yield
    finally:
        config.option.setupshow = shown
