"""
What becomes of a test that leaves something in its sandbox.
"""

from __future__ import annotations

import warnings
from typing import cast

import pytest

from pytest_nsisolate.audit import Facts
from pytest_nsisolate.errors import Explanation, LeakWarning
from pytest_nsisolate.leaks import ATTRIBUTE, Leaks, details, leaks_in, sentence, unseen
from pytest_nsisolate.reports import failed_report
from pytest_nsisolate.test_run import TestRun


def judge(
    run: TestRun,
    facts: Facts | None,
    *,
    fails: bool,
    sharers: str | None = None,
) -> None:
    """
    Warn of what a test has left, or fail its teardown.

    Args:
        run: What its guest has said.
        facts: What was in its sandbox when it was over; None if that is not known.
        fails: Whether the policy is to fail.
        sharers: Whose tests shared the sandbox, if others than this one did.
    """
    name = run.item.name
    texts = [explain_unseen(name, facts)]
    if facts is not None:
        leaks = leaks_in(facts)
        run.note_leaks(leaks)
        texts += [explain(name, leaks, sharers)] if leaks else []
    for text in filter(None, texts):
        error = pytest.fail.Exception(text, pytrace=False)
        if fails or _is_error(run.item, text):
            run.fail_teardown(failed_report(run.item, "teardown", error))


def explain(name: str, leaks: Leaks, sharers: str | None = None) -> str:
    """
    Return the three lines on what the test *name* has left, or *sharers* by then.
    """
    whose = f"{name}, the last of {sharers}," if sharers else name
    where = "the sandbox that they share" if sharers else "its sandbox"
    return str(
        Explanation(
            what=f"{whose} left {sentence(leaks)}",
            why=f"found in {where} when it was over: {'; '.join(details(leaks))}",
            fix="end or remove it in the test or a fixture of it, or accept it with "
            '@pytest.mark.isolated(leaks="ignore")',
        )
    )


def explain_unseen(name: str, facts: Facts | None) -> str | None:
    """
    Return the three lines on what could not be looked for, if anything could not.
    """
    if facts is None:
        why = "the init of its sandbox gave no answer"
    elif missed := unseen(facts):
        why = "; ".join(missed)
    else:
        return None
    return str(
        Explanation(
            what=f"cannot look for what {name} left",
            why=why,
            fix="pytest --nsisolate-doctor, or do without by "
            '@pytest.mark.isolated(leaks="ignore")',
        )
    )


def _is_error(item: pytest.Item, text: str) -> bool:
    """
    Warn of *text* about *item*, and say whether a filter makes that an error.
    """
    filename, line, _ = item.reportinfo()
    try:
        warnings.warn_explicit(
            LeakWarning(text), None, filename=str(filename), lineno=(line or 0) + 1
        )
    except LeakWarning:
        return True
    return False


class Table:
    """
    The tests of a session that have left something, and what.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Note what the test of *report* has left.
        """
        left = cast("list[str]", getattr(report, ATTRIBUTE, []))
        if left:
            self._rows[report.nodeid] = left

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """
        Print the table, if it has a row.
        """
        if not self._rows:
            return
        terminalreporter.section("left behind by isolated tests")
        for nodeid, left in self._rows.items():
            terminalreporter.write_line(nodeid)
            for one in left:
                terminalreporter.write_line(f"    {one}")
        number = len(self._rows)
        terminalreporter.write_line(
            f"{number} test{'' if number == 1 else 's'} left something"
        )
