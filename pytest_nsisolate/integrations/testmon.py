"""
pytest-testmon: which lines the tests of a batch have run, which it notes in the last.

It measures with coverage.py, so `coverage` carries over the lines that guests have run.
But it takes the result in `pytest_runtest_makereport`, and a guest knows only its own
lines. So the report of teardown gets the result that was taken in the supervisor.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

#: The attribute of a report that holds the result, since pytest-testmon 2.0.
_ATTRIBUTE = "nodes_files_lines"


class Integration:
    """
    Puts the result that was taken in the supervisor into the report that is logged.
    """

    def __init__(self) -> None:
        #: The result that belongs into the next report of teardown, if any.
        self._result: object = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._result = getattr(report, _ATTRIBUTE, None) or self._result
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, _ATTRIBUTE):
            setattr(report, _ATTRIBUTE, self._result or {})
            self._result = None
