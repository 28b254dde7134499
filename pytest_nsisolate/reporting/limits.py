"""
The resource limits of a test in pytest: applied in its phases, named when reached.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_nsisolate.guest import rlimits
from pytest_nsisolate.guest.rlimits import Confinement
from pytest_nsisolate.model.ending import Exited, Killed
from pytest_nsisolate.model.limits import Limit
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.settings.resolve import resolve_spec

#: Title of the section in the report of a phase that failed at a limit.
TITLE = "nsisolate limit"


def confine(item: pytest.Item) -> None:
    """
    Apply, in the guest of *item*, its limits in all phases from here on.

    Raises:
        Unlimited: One of them cannot be applied.
    """
    limits = _limits_of(item)
    if limits:
        # Registered here and not in the supervisor: most tests have no limits.
        watch = Watch(Confinement(limits))
        item.config.pluginmanager.register(watch, "nsisolate-limits")


class Watch:
    """
    The plugin in a guest that applies its limits in each phase.

    Args:
        confinement: The limits, lifted.
    """

    def __init__(self, confinement: Confinement) -> None:
        self._confinement = confinement

    # The innermost wrapper: what other plugins do around a phase is not limited.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        with self._confinement.holding():
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        with self._confinement.holding():
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        with self._confinement.holding():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        # A report of a subtest is made in the middle of a phase.
        with self._confinement.lifted():
            report = yield
        if report.failed and call.excinfo is not None:
            lines = self._confinement.reached_by(call.excinfo.value)
            if lines:
                report.sections.append((TITLE, "\n".join(lines)))
        return report


def why_killed(item: pytest.Item, ended: Exited | Killed, used: float) -> str | None:
    """
    Say which limit ended the guest of *item*; None if none did.

    Args:
        item: The test.
        ended: How its guest ended.
        used: The processor time of the guest, in seconds.
    """
    return rlimits.why_killed(_limits_of(item), ended, used, "its guest")


def _limits_of(item: pytest.Item) -> tuple[Limit, ...]:
    spec = resolve_spec(item)
    return spec.limits() if isinstance(spec, Spec) and spec.is_limited() else ()
