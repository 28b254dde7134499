"""
Refusals: why tests and boxes have no sandbox, told once for all with one reason.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, NoReturn, cast

import pytest

from pytest_nsisolate.model.errors import Explanation, Refused

#: The attribute of a report that holds what could not be done, for its test and for
#: several, and the fields of its `Reason`, in order.
ATTRIBUTE = "nsisolate_refused"

#: What could not be done for several tests.
_ISOLATE = "isolate"
_MAKE_BOXES = "make boxes for"


class Reason(NamedTuple):
    """
    Why sandboxes were refused. None of its texts names a test.
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

    def explain(self, action: str) -> Explanation:
        """
        Return the three lines on *action*, which could not be done.
        """
        return Explanation(
            what=f"cannot {action}: {self.refused}", why=self.why, fix=self.fix
        )


def mark(report: pytest.TestReport, name: str, reason: Reason) -> None:
    """
    Note in *report*, of the test *name*, that it was refused for *reason*.
    """
    # Between processes of pytest-xdist reports travel with plain attributes.
    texts = [f"isolate {name}", _ISOLATE, *reason]
    setattr(report, ATTRIBUTE, texts)


def note_box(error: BaseException, action: str, reason: Reason) -> None:
    """
    Note in *error* that it is raised since *action*, to make a box, was refused.
    """
    texts = [action, _MAKE_BOXES, *reason]
    setattr(error, ATTRIBUTE, texts)


def on_host(item: pytest.Item, *, is_late: bool) -> BaseException:
    """
    Return what to raise instead of *item*, which asks for a sandbox and has none.

    Args:
        item: The test, which is about to be called on the host.
        is_late: Whether it did not ask for one when it began.
    """
    reason = _TOO_LATE if is_late else _run_by(item)
    action = f"isolate {item.name}"
    error = pytest.fail.Exception(str(reason.explain(action)), pytrace=False)
    setattr(error, ATTRIBUTE, [action, _ISOLATE, *reason])
    return error


#: How to have what is wrong with `on_host` without isolation.
_WITHOUT = "run all tests on the host: pytest --no-nsisolate"

_TOO_LATE = Reason(
    "it got the marker isolated too late",
    "the marker was added when it had been decided that the test runs on the host",
    "add it in pytest_collection_modifyitems(), or write @pytest.mark.isolated above "
    "the test",
)


def _run_by(item: pytest.Item) -> Reason:
    """
    Return the reason if something else runs *item* in the place of this plugin.
    """
    impls = item.ihook.pytest_runtest_protocol.get_hookimpls()
    plain = [one for one in impls if not (one.wrapper or one.hookwrapper)]
    modules = [one.function.__module__ for one in plain]
    # pluggy calls the last one first. Those of this package run no test.
    after = modules.index(_PLUGIN) + 1 if _PLUGIN in modules else len(plain)
    before = [
        one for one in plain[after:] if not one.function.__module__.startswith(_OWN)
    ]
    if not before:
        return Reason(
            "it runs on the host",
            "something calls it without pytest_runtest_protocol() of pytest-nsisolate",
            _WITHOUT,
        )
    first = before[-1]
    fix = f"let it return None for isolated tests, or {_WITHOUT}"
    if first.function.__module__.rpartition(".")[2] != "conftest":
        fix = f"pytest -p no:{first.plugin_name}, or {_WITHOUT}"
    return Reason(
        "it runs on the host",
        f"pytest_runtest_protocol() of {first.function.__module__} runs it, and comes "
        "before that of pytest-nsisolate",
        fix,
    )


#: The module whose hook isolates tests.
_PLUGIN = "pytest_nsisolate.plugin"
_OWN = "pytest_nsisolate."


def never_expected(report: pytest.TestReport) -> bool:
    """
    Make *report*, of a refusal, a failure even if a mark ``xfail`` excused it.

    Returns:
        Whether one has excused it.
    """
    if not hasattr(report, "wasxfail"):
        return False
    report.outcome = "failed"
    del report.wasxfail
    return True


class Marks:
    """
    The plugin that marks the reports of tests that raise a refusal themselves.
    """

    # The outermost, also around what excuses a failure.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """
        Hand on the note of the exception, if it has one.
        """
        report = yield
        error = None if call.excinfo is None else call.excinfo.value
        texts = getattr(error, ATTRIBUTE, None)
        if texts is not None:
            never_expected(report)
            setattr(report, ATTRIBUTE, texts)
        return report


class Summary:
    """
    The plugin that tells each reason once in the terminal.

    The first test that is refused for a reason is shown with all of it, each other one
    with a line that names the first. The summary has all of it again, with a count.
    """

    def __init__(self) -> None:
        #: For each reason, the ids of the tests refused for it, in order, and what
        #: could not be done.
        self._tests: dict[Reason, dict[str, str]] = {}

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
        action, kind, *fields = texts
        reason = Reason(*fields)
        tests = self._tests.setdefault(reason, {})
        tests.setdefault(report.nodeid, kind)
        first = next(iter(tests))
        # A test that runs again is refused again.
        if report.nodeid != first:
            what = reason.explain(action).what
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
            kinds = list(tests.values())
            actions = [
                f"{kind} {_tests(kinds.count(kind))}"
                for kind in (_ISOLATE, _MAKE_BOXES)
                if kind in kinds
            ]
            terminalreporter.write_line(str(reason.explain(" and ".join(actions))))


def _tests(number: int) -> str:
    return "1 test" if number == 1 else f"{number} tests"


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
