"""
The leak policy: a warning or a failure for a test that leaves something behind.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple, cast

import pytest

from pytest_nsisolate.launcher.audit import Facts
from pytest_nsisolate.model.errors import Explanation, LeakWarning
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.reporting.report import failed_report
from pytest_nsisolate.reporting.test_run import TestRun
from pytest_nsisolate.sandbox.leaks import (
    ATTRIBUTE,
    FILE,
    Leak,
    Leaks,
    changes_in,
    details,
    leaks_in,
    sentence,
    unseen,
)


def apply(
    run: TestRun,
    facts: Facts | None,
    spec: Spec,
    *,
    sharers: str | None = None,
) -> None:
    """
    Do what *spec* says about what a test left and which files it changed.

    Args:
        run: The run of the test.
        facts: What was in its sandbox when it was over; None if that is not known.
        spec: The spec of the test.
        sharers: The name of what the tests that share the sandbox belong to, if tests
            share it.
    """
    wording = Wording.of_test(run.item.name, sharers)
    if facts is not None:
        if spec.leaks != "ignore":
            run.note_leaks(leaks_in(facts))
        run.add_properties([(FILE, name) for name in changed_files(facts)])
    for text, fails in verdicts(wording, facts, spec):
        error = pytest.fail.Exception(text, pytrace=False)
        if fails or _is_error(run.item, text):
            run.fail_teardown(failed_report(run.item, "teardown", error), error)


def verdicts(
    wording: Wording, facts: Facts | None, spec: Spec
) -> list[tuple[str, bool]]:
    """
    Return what *spec* wants said: three lines each, and whether that is a failure.

    Args:
        wording: The wording for the test or box.
        facts: What was found in it; None if that is not known.
        spec: Its spec.
    """
    policy, keyword = (
        (spec.files, "files") if spec.leaks == "ignore" else (spec.leaks, "leaks")
    )
    said = [(text, policy == "fail") for text in _unknown(wording, facts, keyword)]
    if facts is None:
        return said
    if spec.leaks != "ignore" and (leaks := leaks_in(facts)):
        said.append((_left(wording, leaks), spec.leaks == "fail"))
    if spec.files in {"warn", "fail"} and (changes := changes_in(facts)):
        said.append((_changed(wording, changes), spec.files == "fail"))
    return said


def changed_files(facts: Facts) -> list[str]:
    """
    Return what was done to each file that was changed, and its path.
    """
    changes = changes_in(facts)
    return [] if changes is None else changes.names()


def forget(item: pytest.Item) -> None:
    """
    Remove from *item* which files an earlier run of it changed.
    """
    item.user_properties[:] = [one for one in item.user_properties if one[0] != FILE]


class Wording(NamedTuple):
    """
    The parts of the three lines on leaks that differ between a test and a box.
    """

    left: str
    """The start of the first line: who left something."""
    sought: str
    """The end of the first line if the check failed: what could not be checked."""
    found: str
    """Where and when the leak was found."""
    init: str
    """The name of the init that was asked."""
    end: str
    """Where or when to end or remove the leak."""
    changed: str
    """The start of the first line on changed files: who changed them."""
    overlays: str
    """Where those were found."""
    accept: str
    """What to write to accept it, but for the keyword."""

    @classmethod
    def of_test(cls, name: str, sharers: str | None = None) -> Wording:
        """
        Return the wording for the test *name*, the last one of *sharers* if given.
        """
        found = "found in its sandbox when the test was over"
        if sharers:
            found = "found in their shared sandbox when the last of them was over"
        left = f"{name}, the last of {sharers}," if sharers else name
        return cls(
            left=f"{left} left",
            sought=f"{name} left",
            found=found,
            init="the init of its sandbox",
            end="in the test or one of its fixtures",
            changed=f"{left} changed",
            overlays="the overlays of its sandbox",
            accept='@pytest.mark.isolated({}="ignore")',
        )

    @classmethod
    def of_box(cls, name: str) -> Wording:
        """
        Return the wording for the box *name*.
        """
        return cls(
            left=f"{name} was left with",
            sought=f"was left in {name}",
            found="found in it when it was closed",
            init="its init",
            end="before the box is closed",
            changed=f"{name} changed",
            overlays="its overlays",
            accept='sandbox_factory({}="ignore")',
        )


def _unknown(wording: Wording, facts: Facts | None, keyword: str) -> list[str]:
    """
    Return three lines on what could not be checked, if there is anything.

    Args:
        wording: The wording for the test or box.
        facts: What was found; None if that is not known.
        keyword: The keyword that turns the check off.
    """
    missed = [f"{wording.init} gave no answer"] if facts is None else unseen(facts)
    if not missed:
        return []
    unknown = Explanation(
        what=f"cannot check what {wording.sought}",
        why="; ".join(missed),
        fix="pytest --nsisolate-doctor, or turn this check off with "
        f"{wording.accept.format(keyword)}",
    )
    return [str(unknown)]


def _left(wording: Wording, leaks: Leaks) -> str:
    """
    Return three lines on what was left.
    """
    explanation = Explanation(
        what=f"{wording.left} {sentence(leaks)}",
        why=f"{wording.found}: {'; '.join(details(leaks))}",
        fix=f"end or remove it {wording.end}, or accept it with "
        f"{wording.accept.format('leaks')}",
    )
    return str(explanation)


def _changed(wording: Wording, changes: Leak) -> str:
    """
    Return three lines on the files that were changed.
    """
    number = f"{changes.number} file{'' if changes.number == 1 else 's'}"
    explanation = Explanation(
        what=f"{wording.changed} {number} outside of tmp_path "
        f"({'; '.join(changes.names(3))})",
        why=f"found in {wording.overlays}; without them it would have stayed",
        fix=f"write below tmp_path, or accept it with {wording.accept.format('files')}",
    )
    return str(explanation)


def _is_error(item: pytest.Item, text: str) -> bool:
    """
    Give the warning *text* about *item*; say whether a filter makes it an error.
    """
    filename, line, _ = item.reportinfo()
    try:
        warnings.warn_explicit(
            LeakWarning(text), None, filename=str(filename), lineno=(line or 0) + 1
        )
    except LeakWarning:
        return True
    return False


class Files:
    """
    The table of the files that tests changed, at the end of a session.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Note which files the test of *report* changed.
        """
        # From a process of pytest-xdist the pairs arrive as lists.
        found = [str(one[1]) for one in report.user_properties if one[0] == FILE]
        if report.when == "teardown" and found:
            self._rows[report.nodeid] = found

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """
        Print the table; one line if it is empty.
        """
        if not self._rows:
            terminalreporter.write_line("nsisolate: no isolated test changed a file")
            return
        title = "files changed by isolated tests"
        _print(terminalreporter, title, self._rows, "changed files")


class Table:
    """
    The table of the tests that left something, at the end of a session.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Note what the test of *report* left.
        """
        left = cast("list[str]", getattr(report, ATTRIBUTE, []))
        if left:
            self._rows[report.nodeid] = left

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """
        Print the table, unless it is empty.
        """
        if self._rows:
            title = "left behind by isolated tests"
            _print(terminalreporter, title, self._rows, "left something")


def _print(
    terminalreporter: pytest.TerminalReporter,
    title: str,
    rows: dict[str, list[str]],
    verb: str,
) -> None:
    """
    Print a table, and in its last line how many tests did what *verb* says.

    Args:
        terminalreporter: Where to.
        title: The title of the table.
        rows: The lines of each test, by its id.
        verb: What the tests did.
    """
    terminalreporter.section(title)
    for nodeid, lines in rows.items():
        terminalreporter.write_line(nodeid)
        for line in lines:
            terminalreporter.write_line(f"    {line}")
    plural = "" if len(rows) == 1 else "s"
    terminalreporter.write_line(f"{len(rows)} test{plural} {verb}")
