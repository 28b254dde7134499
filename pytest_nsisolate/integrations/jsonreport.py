"""
pytest-json-report: output and log records of phases that run in two processes.

The plugin keeps them on the test, by phase. A phase with a borrowed fixture runs in two
processes, and the report has only the records of the process that ran the second part.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, cast

import pytest

#: The plugin's attribute of tests and reports. It has had this name since 0.8.
_EXTRA = "_json_report_extra"


class Integration:
    """
    Joins the parts of setup in the guest, and those of teardown in the supervisor.
    """

    def __init__(self) -> None:
        #: The records from the borrowed part of setup.
        self._before: dict[str, Any] = {}
        #: A test, and the records from the borrowed part of its teardown.
        self._after: tuple[str, dict[str, Any]] = ("", {})
        self._is_guest = False

    @pytest.hookimpl
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        self._is_guest = True
        self._before = dict(getattr(item, _EXTRA, {}).get("setup", {}))

    @pytest.hookimpl
    def pytest_nsisolate_collect(self, report: pytest.TestReport | None) -> None:
        extra = getattr(report, _EXTRA, None)
        if report is None or extra is None:
            return
        if report.when == "setup":
            extra["setup"] = _join(self._before, extra.get("setup", {}))
            self._before = {}
        for phase in ("setup", "call", "teardown"):
            if "log" in extra.get(phase, {}):
                # The plugin writes it in the same way.
                log = json.dumps(extra[phase]["log"], default=str)
                extra[phase]["log"] = json.loads(log)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.when == "teardown" and not self._is_guest:
            extra = getattr(report, _EXTRA, {}).get("teardown", {})
            self._after = report.nodeid, dict(extra)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        nodeid, after = self._after
        extra = cast("dict[str, Any] | None", getattr(report, _EXTRA, None))
        if extra is None or report.when != "teardown" or report.nodeid != nodeid:
            return
        self._after = "", {}
        if extra.get("teardown") != after:
            # This report came from a guest, and is not the one made here.
            extra["teardown"] = _join(extra.get("teardown", {}), after)


def _join(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    joined = dict(one)
    for name, value in other.items():
        # The values are strings and a list of log records.
        joined[name] = joined[name] + value if name in joined else value
    return joined
