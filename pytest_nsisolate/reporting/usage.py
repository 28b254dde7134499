"""
Reports of how guests ended and what they used: a hook, properties, and a table.
"""

from __future__ import annotations

from typing import cast

import pytest

from pytest_nsisolate.guest.handle import Guest
from pytest_nsisolate.model.ending import Ending
from pytest_nsisolate.reporting.refusals import never_expected
from pytest_nsisolate.reporting.report import failed_report
from pytest_nsisolate.reporting.test_run import TestRun
from pytest_nsisolate.sandbox.leaks import leaks_in
from pytest_nsisolate.settings.options import Options

#: Names of the user properties of a report that say what its test used.
CPU = "nsisolate_cpu"
PEAK_MEMORY = "nsisolate_peak_memory"


class EndingReporter:
    """
    Reports how a guest ended, and what it used, to whoever asked for that.

    Args:
        options: The options of the session.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def is_wanted(self, item: pytest.Item) -> bool:
        """
        Say whether anyone asked for the ending or the usage of *item*.

        To know them the supervisor waits until the guest is gone, which takes time.
        """
        hook = item.ihook.pytest_nsisolate_ended
        return self._options.usage is not None or bool(hook.get_hookimpls())

    def add_usage(self, run: TestRun, guest: Guest) -> None:
        """
        Add what *guest* used to the reports of its test that have not been logged.
        """
        used = guest.process.usage
        if self._options.usage is None or used is None:
            return
        figures: list[tuple[str, object]] = [
            (CPU, round(used.cpu, 6)),
            (PEAK_MEMORY, used.peak_memory),
        ]
        run.add_properties(figures)

    def call_hook(self, run: TestRun, ended: Ending, guest: Guest | None) -> None:
        """
        Call `pytest_nsisolate_ended`; if it raises, the teardown of the test fails.

        Args:
            run: The run of the test.
            ended: How it ended.
            guest: The guest, reaped; None if there was none.
        """
        left = None if guest is None else guest.left
        try:
            run.item.ihook.pytest_nsisolate_ended(
                item=run.item,
                ending=ended,
                usage=None if guest is None else guest.process.usage,
                left=None if left is None else leaks_in(left),
            )
        except (KeyboardInterrupt, pytest.exit.Exception):
            # The session ends, but the test is reported first.
            run.log_held()
            raise
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - whatever a plugin raises
            failed = failed_report(run.item, "teardown", error)
            never_expected(failed)
            run.fail_teardown(failed, error)


def forget(item: pytest.Item) -> None:
    """
    Remove from *item* what an earlier run of it used.
    """
    item.user_properties[:] = [
        one for one in item.user_properties if one[0] not in {CPU, PEAK_MEMORY}
    ]


class Table:
    """
    The table of the tests that used most, at the end of a session.

    Args:
        number: How many tests to show; 0 for all.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._rows: dict[str, tuple[float, int]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Note what the test of *report* used.
        """
        # From a process of pytest-xdist the pairs arrive as lists.
        figures = {one[0]: one[1] for one in report.user_properties}
        if report.when == "teardown" and CPU in figures:
            cpu = cast("float", figures[CPU])
            self._rows[report.nodeid] = (cpu, cast("int", figures[PEAK_MEMORY]))

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """
        Print the table, unless it is empty.
        """
        number = len(self._rows)
        if not number:
            return
        shown = min(self._number, number) or number
        for index, what in enumerate(("processor time", "peak memory")):
            terminalreporter.section(
                f"isolated tests by {what}: top {shown} of {number}"
            )
            rows = sorted(self._rows.items(), key=lambda row: -row[1][index])
            for nodeid, (cpu, memory) in rows[:shown]:
                mebibytes = memory / 2**20
                terminalreporter.write_line(
                    f"{cpu:8.2f}s {mebibytes:8.1f} MiB {nodeid}"
                )
