"""
Refusals: why tests could not be isolated, told once for all tests with one reason.
"""

from __future__ import annotations

import dataclasses
from typing import NoReturn, cast

import pytest

from pytest_nsisolate.model.errors import Explanation, Refused

#: The attribute of a report that holds the name of its test and the fields of its
#: `Reason`, in order.
ATTRIBUTE = "nsisolate_refused"


@dataclasses.dataclass(frozen=True, slots=True)
class Reason:
    """
    Why tests were refused. None of its texts names a test.
    """

    refused: str
    """What was refused: the call and the symbol of its errno."""
    why: str
    fix: str

    @classmethod
    def of(cls, refused: Refused, explanation: Explanation) -> Reason:
        """
        Return the reason for *refused*, which *explanation* explains for one test.
        """
        return cls(str(refused), explanation.why, explanation.fix)

    def explain(self, what: str) -> Explanation:
        """
        Return the three lines on *what*, which could not be isolated.
        """
        return Explanation(
            what=f"cannot isolate {what}: {self.refused}", why=self.why, fix=self.fix
        )


def mark(report: pytest.TestReport, name: str, reason: Reason) -> None:
    """
    Note in *report*, of the test *name*, that it was refused for *reason*.
    """
    # Between processes of pytest-xdist reports travel with plain attributes.
    setattr(report, ATTRIBUTE, [name, *dataclasses.astuple(reason)])


class Summary:
    """
    The plugin that tells each reason once in the terminal.

    The first test that is refused for a reason is shown with all of it, each other one
    with a line that names the first. The summary has all of it again, with a count.
    """

    def __init__(self) -> None:
        #: For each reason, the ids of the tests refused for it, in order.
        self._tests: dict[Reason, dict[str, None]] = {}

    # The last: what is written for machines keeps the reason of each test, as in
    # JUnit's XML. The terminal shows reports only at the end of the session.
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Count the test of *report*, and let it refer to the first with its reason.
        """
        texts = cast("list[str]", getattr(report, ATTRIBUTE, []))
        if not texts:
            return
        name, *fields = texts
        reason = Reason(*fields)
        tests = self._tests.setdefault(reason, {})
        tests.setdefault(report.nodeid)
        first = next(iter(tests))
        # A test that runs again is refused again.
        if report.nodeid != first:
            what = f"cannot isolate {name}: {reason.refused}"
            _replace_text(report, f"{what}; why and fix: see {first}")

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """
        Print each reason with the number of its tests, unless there is none.
        """
        if not self._tests:
            return
        terminalreporter.write_sep("=", "tests that could not be isolated")
        for reason, tests in self._tests.items():
            number = len(tests)
            what = f"{number} test{'' if number == 1 else 's'}"
            terminalreporter.write_line(str(reason.explain(what)))


def _replace_text(report: pytest.TestReport, text: str) -> None:
    """
    Make *text* the reason of *report*, which failed or was skipped without a traceback.
    """
    if isinstance(report.longrepr, tuple):
        path, line, _ = report.longrepr
        report.longrepr = (path, line, f"Skipped: {text}")
        return

    def fail() -> NoReturn:
        raise pytest.fail.Exception(text, pytrace=False) from None

    call = pytest.CallInfo.from_call(fail, when="setup")
    assert call.excinfo is not None
    report.longrepr = call.excinfo.getrepr(style="value")
