"""
pytest-bdd: the scenario of each report, which its terminal and its JSON show.

The plugin keeps scenarios in a dictionary by report object, in the process that made
the report.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "bdd"


class Integration:
    """
    Carries over the scenario of each report, as the plugin serialises it.
    """

    def __init__(self) -> None:
        #: In the supervisor: scenarios for the reports to come, by test and phase.
        self._coming: dict[tuple[str, object], list[Any]] = {}

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        module = _module()
        if module is None or report is None:
            return
        context = module.test_report_context_registry.get(report)
        if context is not None:
            payload[_NAME] = [report.when, context.scenario, context.name]

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, item: pytest.Item, payload: Payload) -> None:
        if _NAME in payload:
            when, *context = cast("list[Any]", payload[_NAME])
            self._coming[item.nodeid, when] = context

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        context = self._coming.pop((report.nodeid, report.when), None)
        module = _module()
        if context is not None and module is not None:
            scenario, name = context
            module.test_report_context_registry[report] = module.ReportContext(
                scenario=scenario, name=name
            )


def _module() -> Any:
    """
    Return the plugin's module, which has had the two names used here since 7.0.
    """
    module = sys.modules.get("pytest_bdd.reporting")
    return module if hasattr(module, "test_report_context_registry") else None
