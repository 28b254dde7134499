"""
The test run: the supervisor's record of one test and of what its guest said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import pytest

from pytest_nsisolate.compat import builtin_plugins, items
from pytest_nsisolate.compat.builtin_plugins import flush
from pytest_nsisolate.guest.deadline import Deadline
from pytest_nsisolate.guest.handle import Guest
from pytest_nsisolate.guest.messages import (
    BasetempRequest,
    Broken,
    DebuggerLeft,
    Failure,
    FailureShown,
    FileLog,
    Garbled,
    HandOver,
    Interrupted,
    Kept,
    LiveLog,
    Passed,
    Phase,
    RecordedWarning,
    Report,
    Restarted,
    SessionEnd,
    TerminalTaken,
    TestMessage,
    Texts,
    TurnAwaited,
    assert_never,
)
from pytest_nsisolate.linux.stdlib import time
from pytest_nsisolate.reporting import (
    carried,
    events,
    interaction,
    memory,
    refusals,
)
from pytest_nsisolate.reporting.refusals import Reason
from pytest_nsisolate.reporting.report import (
    append_section,
    failed_report,
    intern,
    join_outcomes,
    join_sections,
    passed_from_message,
    report_from_message,
    shared_names,
)
from pytest_nsisolate.reporting.report_schema import Order
from pytest_nsisolate.sandbox.leaks import ATTRIBUTE, Leaks

_AFTER: dict[str, Phase] = {"setup": "call", "call": "teardown"}


class TestRun:
    """
    One run of one isolated test, from its borrowed fixtures to its last report.

    It logs the guest's reports as they arrive, but holds back the report of teardown
    until the supervisor has torn down its own part.

    Args:
        item: The test.
        stays: Called when the test is over; says if it will run again, so that its
            borrowed fixtures stay set up. If given, reports are collected, not logged.
    """

    # pytest: this is not a class of tests.
    __test__ = False

    def __init__(
        self, item: pytest.Item, *, stays: Callable[[], bool] | None = None
    ) -> None:
        #: The test.
        self.item = item
        #: Report of the supervisor's part of setup; None while there is none.
        self.borrowed: pytest.TestReport | None = None
        #: The latest report; None before the first.
        self.last: pytest.TestReport | None = None
        #: Reports that were collected instead of logged.
        self.reports: list[pytest.TestReport] = []
        #: The time limit of the guest.
        self.deadline = Deadline(None)
        #: Whether the guest has taken the terminal.
        self.has_terminal = False
        #: The traceback of an error outside the phases of the test.
        self.broken: str | None = None
        self._stays = stays
        #: The report of teardown, while it is held back.
        self._held: pytest.TestReport | None = None
        #: The call that has failed and that this report is about.
        self._failure: pytest.CallInfo[None] | None = None
        #: What hooks have kept when they made the next report.
        self._kept: Kept | None = None
        #: Whether something else has been kept since the guest was forked, which it has
        #: not seen; None as long as it has kept nothing.
        self._is_stale: bool | None = None
        #: The reports that have arrived, by their number in a `Kept`.
        self._numbered: dict[int, pytest.TestReport] = {}
        self._is_torn_down = False
        #: For each phase that has been reported, whether it passed.
        self._passed: dict[str, bool] = {}
        #: Set if the session is to end when this test is over.
        self._end: SessionEnd | None = None
        #: The KeyboardInterrupt or `pytest.exit` that ended the test.
        self._interruption: Interrupted | None = None
        #: Start of the phase that has no report yet, in seconds since the epoch.
        self._since = time.time()
        #: What the test left in its sandbox.
        self._leaks: Leaks = ()
        #: Number of sections with captured output from earlier runs of the test.
        self._earlier = items.number_of_sections(item)
        #: Whether the guest was forked before the supervisor's part of setup.
        self._forked_before = False
        #: Whether the guest ran before its turn.
        self._was_early = False
        self._logged: pytest.TestReport | None = None
        self._order = Order()

    @property
    def is_ready(self) -> bool:
        """
        Whether the supervisor's part of setup, if there was any, has passed.
        """
        return self.borrowed is None or self.borrowed.passed

    @property
    def was_interrupted(self) -> bool:
        """
        Whether a KeyboardInterrupt or `pytest.exit` ended the test.
        """
        return self._interruption is not None

    @property
    def is_complete(self) -> bool:
        """
        Whether the guest has reported every phase of the test.
        """
        if self._interruption is not None:
            return True
        expected = {"setup", "teardown"}
        if self._passed.get("setup") and not self.item.config.getoption(
            "setuponly", False
        ):
            expected.add("call")
        return self._passed.keys() >= expected

    @property
    def holds_report(self) -> bool:
        """
        Whether the guest has reported teardown and that report is held back.
        """
        return self._held is not None

    @property
    def runs_again(self) -> bool:
        """
        Whether the test will run again, with what it borrows still set up.
        """
        return self._stays is not None and self._stays()

    @property
    def phase(self) -> Phase:
        """
        The phase that the guest is in, by the latest report.
        """
        if self.last is None:
            return "setup"
        if self.last.when == "setup" and not self.last.passed:
            return "teardown"
        return _AFTER.get(self.last.when, "teardown")

    def borrow(self, report: pytest.TestReport) -> None:
        """
        Note *report* of the supervisor's part of setup.
        """
        self.borrowed = report

    def attach(self, guest: Guest, timeout: float | None) -> None:
        """
        Note that *guest*, which was just released, runs the test.

        Args:
            guest: The guest.
            timeout: Its time limit, in seconds; None or 0 for none.
        """
        self._forked_before = guest.is_reused
        self._was_early = guest.early is not None
        if guest.early is not None:
            self.deadline = guest.early.deadline
        else:
            self.deadline = Deadline(timeout or None, guest.since)

    def hear(
        self, message: TestMessage, *, synchronous: bool, texts: Texts = ()
    ) -> str | None:
        """
        Act on *message*, and return the answer, if it asks for one.

        Args:
            message: What the guest says.
            synchronous: Whether the guest waits for this call to return.
            texts: What in the message is text in place of what it could not carry.

        Raises:
            Garbled: Some part of the message cannot be used.
        """
        item = self.item
        # In a copy of an exception, text in place of a value is what one expects.
        if texts and not isinstance(message, Failure):
            carried.warn(item, message, texts)
        match message:
            case Interrupted():
                self._interruption = message
            case Kept():
                self._kept = message
            case Failure():
                self._hear_failure(message)
            case FailureShown():
                self._note_shown()
            case TerminalTaken():
                self._give_terminal()
            case TurnAwaited():
                flush(item.config)
                return str(item.session.testsfailed)
            case Broken():
                self.broken = message.traceback
            case BasetempRequest():
                return builtin_plugins.basetemp(item.config)
            case SessionEnd(before_teardown=True):
                self._stop_like(message)
            case SessionEnd():
                self._end = message
            case DebuggerLeft():
                self.deadline.resume()
            case Restarted():
                self._begin_again()
            case Report():
                report = report_from_message(item.config, message)
                intern(item, report)
                self._hear_report(report, synchronous=synchronous)
            case Passed():
                keywords = self._keywords(message.keywords)
                report = passed_from_message(item, message, keywords)
                self._hear_report(report, synchronous=synchronous)
            case RecordedWarning():
                events.show_warning(message)
            case LiveLog():
                builtin_plugins.show_live_log(item.config, message.when, message.text)
            case FileLog():
                builtin_plugins.write_log_file(item.config, message.text)
            case HandOver():
                item.ihook.pytest_nsisolate_hand_over(
                    item=item, payload=message.payload
                )
            case _:
                assert_never(message)
        return None

    def log(
        self, report: pytest.TestReport, failure: pytest.CallInfo[None] | None = None
    ) -> None:
        """
        Pass *report* to pytest and its plugins, or collect it for `stays`.

        Args:
            report: The report.
            failure: The call that has failed, if pytest itself does not tell of it.
        """
        if self._leaks and report.when == "teardown":
            setattr(report, ATTRIBUTE, [str(leak) for leak in self._leaks])
        if self._stays is not None and type(report) is pytest.TestReport:
            # Reports of subtests are logged as they come all the same.
            if report not in self.reports:
                self.reports.append(report)
        elif report is not self._logged:
            self._logged = report
            self._order.keep(report)
            self.item.ihook.pytest_runtest_logreport(report=report)
        if failure is not None and report.failed:
            interaction.tell(self.item, failure, report)

    def log_held(self) -> None:
        """
        Log the report of teardown, if it is held back.
        """
        held, self._held = self._held, None
        failure, self._failure = self._failure, None
        if held is not None:
            self.log(held, failure)

    def refuse(self, error: BaseException, reason: Reason) -> None:
        """
        Report *error* as the setup of the test, which has no sandbox for *reason*.
        """
        self.last = failed_report(self.item, "setup", error)
        refusals.never_expected(self.last)
        refusals.mark(self.last, self.item.name, reason)
        self.log(self.last, interaction.call_of(error, "setup"))

    def fail(self, text: str, output: dict[str, str]) -> None:
        """
        Report that the guest ended too early, in the phase that it was in.

        Either `borrowed` or a report of the guest must be there already.

        Args:
            text: The text of the failure.
            output: What the guest printed in that phase, by stream.
        """
        phase = self.phase
        before = self.borrowed if self.last is None else self.last
        assert before is not None
        error = pytest.fail.Exception(text, pytrace=False)
        failed = failed_report(self.item, phase, error)
        failed.start, failed.stop = self._since, time.time()
        failed.duration = failed.stop - failed.start
        captured = [
            (f"Captured {kind} {phase}", content)
            for kind, content in output.items()
            if content
        ]
        if phase == "teardown":
            failed = self.fail_teardown(failed, error)
        failed.sections = [*before.sections, *captured]
        if phase != "teardown":
            self.log(failed, interaction.call_of(error, phase))
        self.last = failed

    def note_leaks(self, leaks: Leaks) -> None:
        """
        Attach *leaks* to the report of teardown.
        """
        self._leaks = leaks

    def add_properties(self, properties: list[tuple[str, object]]) -> None:
        """
        Add user properties to the reports that are still to come.
        """
        self.item.user_properties += properties
        if self._held is not None:
            self._held.user_properties += properties

    def complete_teardown(self, report: pytest.TestReport) -> None:
        """
        Log one report of teardown: the guest's part joined with *report*, ours.
        """
        if self._is_torn_down:
            return
        self._is_torn_down = True
        if report.failed:
            # pytest is about to tell of that.
            self._failure = None
        held = self._held
        if held is None:
            # The guest never got to teardown, or its report has been logged.
            if not report.passed or self.last is None or self.last.when != "teardown":
                self.log(report)
            return
        sections = held.sections[:]
        for title, content in report.sections:
            if title.startswith("Captured ") and title.endswith(" teardown"):
                append_section(sections, title, content)
        duration = held.duration + report.duration
        self._held = join_outcomes(self.item.config, held, report)
        self._held.sections, self._held.duration = sections, duration
        self.log_held()

    def fail_teardown(
        self, report: pytest.TestReport, error: BaseException
    ) -> pytest.TestReport:
        """
        Make *report*, the failure *error*, the report of teardown; return the result.

        If the guest reported a failure too, that one is shown below this one.
        """
        if self._failure is None:
            self._failure = interaction.call_of(error, "teardown")
        held = self._held
        if held is None:
            self._held = report
            return report
        report.sections = held.sections
        report.start, report.stop = held.start, held.stop
        report.duration = held.duration
        self._held = join_outcomes(self.item.config, held, report)
        return self._held

    def raise_interruption(self) -> None:
        """
        Raise the interruption that ended the test, if one did, with its own location.

        The supervisor's part of teardown is then left out, so this first logs the
        report that is held back.
        """
        if self._interruption is not None:
            self.log_held()
            events.raise_interruption(self._interruption)

    def stop_session(self) -> None:
        """
        Stop the session after this test, if the guest said so.
        """
        if self._end is not None:
            self._stop_like(self._end)

    def _keywords(self, names: list[str]) -> dict[str, int]:
        """
        Return the keywords *names* of a report, which share their strings with others.
        """
        before: Iterable[str] = () if self.last is None else self.last.keywords
        if [*before] != names:
            before = shared_names(self.item, names)
        return dict.fromkeys(before, 1)

    def _hear_report(self, report: pytest.TestReport, *, synchronous: bool) -> None:
        # A report after that of teardown: the test runs again.
        self.log_held()
        self._remember(report)
        if report.when == "call":
            interaction.forget_last()
        if report.when == "setup":
            self._passed.clear()
        self._passed[report.when] = report.passed
        if self.borrowed is not None:
            if report.when == "setup" and self.last is None:
                # One that ran before its turn was earlier than what is set up then.
                report.start = min(report.start, self.borrowed.start)
                report.duration += self.borrowed.duration
            old = report.sections[: self._earlier]
            new = report.sections[self._earlier :]
            number = len(self.borrowed.sections) - self._earlier
            if self._forked_before:
                # The guest's copy of the test lacks what was captured here.
                outside = items.captured_sections(self.item)[self._earlier :]
                number, new = len(outside), outside + new
            report.sections = old + join_sections(new, number)
        self.last, self._since = report, time.time()
        self.item.user_properties[:] = report.user_properties
        if report.when == "teardown":
            self._held = report
        else:
            self.log(report)
        if synchronous:
            # The next output of the guest must appear after this report.
            flush(self.item.config)

    def _remember(self, report: pytest.TestReport) -> None:
        """
        Let the hooks here remember what they kept when they made *report*.
        """
        kept, self._kept = self._kept, None
        found = self.item.config.stash.get(memory.key, None)
        if kept is not None and found is not None:
            if not isinstance(kept.reports, dict):
                raise Garbled("reports that are none")
            for number, data in kept.reports.items():
                unlogged = Report(report=data, marked=None)
                self._numbered[number] = report_from_message(self.item.config, unlogged)
            self._numbered[kept.number] = report
            if self._is_stale is None:
                self._is_stale = self._was_early and kept.version != found.version
            found.apply(self.item, kept, self._numbered, is_stale=self._is_stale)

    def _hear_failure(self, message: Failure) -> None:
        """
        Tell plugins of a failure, or note it, if its report is held back.
        """
        call, report = interaction.call_from_message(message), self.last
        if message.report is not None:
            if not isinstance(message.report, dict):
                raise Garbled("a failure with a report that is none")
            own = Report(report=message.report, marked=message.marked)
            report = report_from_message(self.item.config, own)
        if report is None:
            raise Garbled("a failure without a report")
        interaction.note_last(call)
        if report is self._held:
            self._failure = call
        else:
            interaction.tell(self.item, call, report)

    def _give_terminal(self) -> None:
        """
        Leave the terminal to the guest, and stop its clock while someone types.
        """
        self.deadline.suspend()
        self.log_held()
        flush(self.item.config)
        self.has_terminal = True

    def _note_shown(self) -> None:
        """
        Keep pytest from showing a failure again that a debugger has shown.
        """
        if self.last is not None:
            # In pytest since 2.0; there is no public way.
            vars(self.last)["_pdbshown"] = True
        self.log_held()
        flush(self.item.config)

    def _begin_again(self) -> None:
        """
        Report that the test is over and starts again, as plugins that rerun tests do.
        """
        self.log_held()
        nodeid, location = self.item.nodeid, self.item.location
        self.item.ihook.pytest_runtest_logfinish(nodeid=nodeid, location=location)
        self.item.ihook.pytest_runtest_logstart(nodeid=nodeid, location=location)

    def _stop_like(self, end: SessionEnd) -> None:
        session = self.item.session
        # A reason that the supervisor found itself also counts failures on the host.
        if end.shouldstop and not session.shouldstop:
            session.shouldstop = cast("str", end.shouldstop)
        if end.shouldfail and not session.shouldfail:
            session.shouldfail = cast("str", end.shouldfail)
