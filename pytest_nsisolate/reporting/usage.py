"""
What is told of a guest that has ended: to hooks, in properties, in a table.
"""

from __future__ import annotations

from typing import cast

import pytest

from pytest_nsisolate.guest.handle import Guest
from pytest_nsisolate.model.ending import Ending
from pytest_nsisolate.reporting.report import failed_report, never_expected
from pytest_nsisolate.reporting.test_run import TestRun
from pytest_nsisolate.sandbox.leaks import leaks_in
from pytest_nsisolate.settings.options import Options

#: Names of the user properties of a report that say what its test has used.
CPU = "nsisolate_cpu"
PEAK_MEMORY = "nsisolate_peak_memory"


class Account:
    """
    Tells what there is to tell of guests that have ended.

    Args:
        options: What the session is asked for.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def is_wanted(self, item: pytest.Item) -> bool:
        """
        Say whether anyone asks what *item* has used: only then is it waited for.
        """
        hook = item.ihook.pytest_nsisolate_ended
        return self._options.usage is not None or bool(hook.get_hookimpls())

    def note(self, run: TestRun, guest: Guest) -> None:
        """
        Have the reports that are still to come say what *guest* has used.
        """
        used = guest.process.usage
        if self._options.usage is None or used is None:
            return
        figures: list[tuple[str, object]] = [
            (CPU, round(used.cpu, 6)),
            (PEAK_MEMORY, used.peak_memory),
        ]
        run.add_properties(figures)

    def tell(self, run: TestRun, ended: Ending, guest: Guest | None) -> None:
        """
        Call the hook that is told of an ending; if it raises, teardown has failed.

        Args:
            run: What the guest has said.
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
            # The session ends, but not without what the test has come to.
            run.log_held()
            raise
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - whatever a plugin raises
            failed = failed_report(run.item, "teardown", error)
            never_expected(failed)
            run.fail_teardown(failed)


def forget(item: pytest.Item) -> None:
    """
    Take from *item* what an earlier run of it has used.
    """
    item.user_properties[:] = [
        one for one in item.user_properties if one[0] not in {CPU, PEAK_MEMORY}
    ]


class Table:
    """
    The heaviest tests of a session.

    Args:
        number: How many are shown; 0: all.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._rows: dict[str, tuple[float, int]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Note what the test of *report* has used.
        """
        # Also lists, where they come from a process of pytest-xdist.
        figures = {one[0]: one[1] for one in report.user_properties}
        if report.when == "teardown" and CPU in figures:
            cpu = cast("float", figures[CPU])
            self._rows[report.nodeid] = (cpu, cast("int", figures[PEAK_MEMORY]))

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """
        Print the table, if it has a row.
        """
        number = len(self._rows)
        if not number:
            return
        shown = min(self._number, number) or number
        for index, what in enumerate(("processor time", "peak memory")):
            terminalreporter.section(
                f"heaviest {shown} of {number} isolated tests, by {what}"
            )
            rows = sorted(self._rows.items(), key=lambda row: -row[1][index])
            for nodeid, (cpu, memory) in rows[:shown]:
                mebibytes = memory / 2**20
                terminalreporter.write_line(
                    f"{cpu:8.2f}s {mebibytes:8.1f} MiB {nodeid}"
                )
