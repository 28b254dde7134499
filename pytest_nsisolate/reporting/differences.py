"""
Differences: the tests whose outcome depends on their flavour, named at the end.
"""

from __future__ import annotations

from typing import cast

import pytest

from pytest_nsisolate.settings.options import Flavour
from pytest_nsisolate.settings.resolve import flavour_key, origin_key

#: The attribute of a report that holds the id of its test without the flavour, and the
#: flavour.
ATTRIBUTE = "nsisolate_flavour"

#: The outcomes of a test. If its reports tell several, the last one here counts.
_OUTCOMES = ("passed", "xpassed", "skipped", "xfailed", "error", "failed")
_BAD = _OUTCOMES[-2:]

#: What to do about tests that fail in the second of these flavours, not in the first.
_ADVICE = {
    ("alone", "beside"): """\
Those that fail only beside others may share a port, a directory or a file of the host
with one of them. Give each its own by net=True, overlay= or tmp_path, or mark all that
share it with group="name". See "Run tests side by side" in the documentation.""",
    ("beside", "alone"): """\
Those that fail only alone may need what another test has done or does meanwhile.""",
}


class Table:
    """
    The table of these tests, at the end of a session.

    Args:
        flavours: The flavours in which tests run.
    """

    def __init__(self, flavours: tuple[Flavour, ...]) -> None:
        self._flavours = flavours
        #: By the id of a copy, what its reports are to hold.
        self._copies: dict[str, list[str]] = {}
        #: By the id of a test without its flavour, its outcome in each one.
        self._outcomes: dict[str, dict[str, str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """
        Note which of the tests are copies.
        """
        for item in session.items:
            if origin_key in item.stash:
                copy = [item.stash[origin_key], item.stash[flavour_key]]
                self._copies[item.nodeid] = copy

    # Before pytest-xdist sends it to the process that has the terminal.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Note in *report* of which test it is, and the outcome of that.
        """
        if report.nodeid in self._copies:
            setattr(report, ATTRIBUTE, self._copies[report.nodeid])
        copy = cast("list[str] | None", getattr(report, ATTRIBUTE, None))
        outcome = _outcome(report)
        if copy is None or outcome is None:
            return
        origin, flavour = copy
        known = self._outcomes.setdefault(origin, {})
        found = [outcome, known.get(flavour, outcome)]
        known[flavour] = max(found, key=_OUTCOMES.index)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """
        Print the table, or that it is empty, if any test has run in a flavour.
        """
        if not self._outcomes:
            return
        compared = [one for one in self._outcomes.items() if len(one[1]) > 1]
        differing = [one for one in compared if len({*one[1].values()}) > 1]
        number = len(compared)
        tests = "1 test" if number == 1 else f"{number} tests"
        write_line = terminalreporter.write_line
        if not differing:
            *some, last = self._flavours
            names = f"{', '.join(some)} and {last}"
            write_line(f"nsisolate: no difference between {names} in {tests}")
            return
        terminalreporter.write_sep("=", "tests that differ between flavours")
        for origin, known in differing:
            found = (f"{one} {known[one]}" for one in self._flavours if one in known)
            write_line(f"{origin}: {', '.join(found)}")
        verb = "differs" if len(differing) == 1 else "differ"
        write_line(f"{len(differing)} of {tests} {verb}")
        for (good, bad), text in _ADVICE.items():
            if any(_fails_only(known, bad, good) for _, known in differing):
                write_line(text)


def _fails_only(known: dict[str, str], bad: str, good: str) -> bool:
    """
    Say whether a test with the outcomes *known* fails in the flavour *bad*, not *good*.
    """
    return known.get(bad) in _BAD and good in known and known[good] not in _BAD


def _outcome(report: pytest.TestReport) -> str | None:
    """
    Return the outcome that *report* tells; None if another report tells it.
    """
    if report.failed:
        return "failed" if report.when == "call" else "error"
    if report.skipped:
        return "xfailed" if hasattr(report, "wasxfail") else "skipped"
    if report.passed and report.when == "call":
        return "xpassed" if hasattr(report, "wasxfail") else "passed"
    return None
