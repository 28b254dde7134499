"""
Subtests: the number of failed subtests of a test, which pytest counts where they run.

If this number is not 0, pytest fails the test around them when it reports that test.
The reports of the subtests themselves travel like all reports.
"""

from __future__ import annotations

import pytest

from pytest_nsisolate.compat import builtin_plugins
from pytest_nsisolate.guest.messages import Payload

_NAME = "subtests"


class Integration:
    """
    Carries over the number of failed subtests with each report.
    """

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, item: pytest.Item, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        if report is not None and (failed := builtin_plugins.failed_subtests(item)):
            payload[_NAME] = failed

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, item: pytest.Item, payload: Payload) -> None:
        failed = payload.get(_NAME)
        if isinstance(failed, int):
            builtin_plugins.set_failed_subtests(item, failed)
