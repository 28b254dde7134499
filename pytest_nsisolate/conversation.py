"""
What the supervisor makes of a guest's messages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import cast

import pytest

from pytest_nsisolate import builtin, grammar, notices, private
from pytest_nsisolate.channel import Message
from pytest_nsisolate.deadline import Deadline
from pytest_nsisolate.leaks import ATTRIBUTE, Leaks
from pytest_nsisolate.order import Order
from pytest_nsisolate.output import flush
from pytest_nsisolate.reports import (
    append_section,
    join_outcomes,
    join_sections,
    report_from_message,
    share,
)
from pytest_nsisolate.untouched import time


@dataclasses.dataclass(slots=True)
class Conversation:
    """
    What a guest says of its test, and what becomes of it.

    The report of teardown is held back until the supervisor has torn down its own part.
    """

    item: pytest.Item
    borrowed: pytest.TestReport | None
    """Report of the part of setup that the supervisor did; None if there was none."""
    last: pytest.TestReport | None = None
    """The report that came last."""
    held: pytest.TestReport | None = None
    """The report of teardown."""
    passed: dict[str, bool] = dataclasses.field(default_factory=dict)
    """By phase that has been reported, whether it has passed."""
    end: Message | None = None
    """What is to end the session when this test is over."""
    interruption: Message | None = None
    """The KeyboardInterrupt or `pytest.exit` that ended the test."""
    terminal: bool = False
    """Whether the guest has taken the terminal."""
    since: float = dataclasses.field(default_factory=time.time)
    """When the phase began that is not reported yet, in seconds since the epoch."""
    deadline: Deadline | None = None
    """When the guest is to be ended."""
    leaks: Leaks = ()
    """What the test has left in its sandbox."""
    before: int = 0
    """How many sections of captured output the test had before, from earlier tries."""
    stays: Callable[[], bool] | None = None
    """Whether what is borrowed stays; None where the test is run once and logged."""
    reports: list[pytest.TestReport] = dataclasses.field(default_factory=list)
    """Those that are not logged."""
    logged: pytest.TestReport | None = None
    """The report that was logged last."""
    order: Order = dataclasses.field(default_factory=Order)
    """That of the reports which are logged."""
    torn_down: bool = False
    """Whether teardown is reported."""
    apart: bool = False
    """Whether the guest was forked before what is borrowed was looked at."""
    broken: str | None = None
    """Traceback of an error outside of the test's own phases."""

    def hear(self, message: Message) -> str | None:
        """
        Act on *message*, and return the answer, if it wants one.

        Raises:
            Garbled: It is none that a guest sends.
        """
        grammar.check(message)
        match message["kind"]:
            case "interrupted":
                self.interruption = message
            case "shown":
                self._note_shown()
            case "terminal":
                self._give_terminal()
            case "broken":
                self.broken = str(message["traceback"])
            case "basetemp":
                return builtin.basetemp(self.item.config)
            case "session" if message["when"] == "before teardown":
                self._stop_like(message)
            case "session":
                self.end = message
            case _:
                self._pass_on(message)
        return None

    def is_complete(self) -> bool:
        """
        Say whether the guest has told how the test went, to its end.
        """
        if self.interruption is not None:
            return True
        expected = {"setup", "teardown"}
        if self.passed.get("setup") and not self.item.config.getoption(
            "setuponly", False
        ):
            expected.add("call")
        return self.passed.keys() >= expected

    def log(self, report: pytest.TestReport) -> None:
        """
        Report *report* to pytest and its plugins.
        """
        if self.leaks and report.when == "teardown":
            setattr(report, ATTRIBUTE, [str(leak) for leak in self.leaks])
        if self.stays is not None and type(report) is pytest.TestReport:
            # Those of subtests are logged as they come, as ever.
            if report not in self.reports:
                self.reports.append(report)
        elif report is not self.logged:
            self.logged = report
            self.order.keep(report)
            self.item.ihook.pytest_runtest_logreport(report=report)

    def release(self) -> None:
        """
        Report what was held back.
        """
        held, self.held = self.held, None
        if held is not None:
            self.log(held)

    def complete_teardown(self, report: pytest.TestReport) -> None:
        """
        Report teardown: what the guest said of its part, and *report* of the other.
        """
        if self.torn_down:
            return
        self.torn_down = True
        held = self.held
        if held is None:
            # The guest did not get there, or that is reported.
            if not report.passed or self.last is None or self.last.when != "teardown":
                self.log(report)
            return
        sections = held.sections[:]
        for title, content in report.sections:
            if title.startswith("Captured ") and title.endswith(" teardown"):
                append_section(sections, title, content)
        duration = held.duration + report.duration
        self.held = join_outcomes(self.item.config, held, report)
        self.held.sections, self.held.duration = sections, duration
        self.release()

    def fail_teardown(self, report: pytest.TestReport) -> pytest.TestReport:
        """
        Have *report*, which failed, be what is reported of teardown, and return that.

        Where the guest has told of a failure itself, this is told below that.
        """
        held = self.held
        if held is None:
            self.held = report
            return report
        report.sections = held.sections
        report.start, report.stop = held.start, held.stop
        report.duration = held.duration
        self.held = join_outcomes(self.item.config, held, report)
        return self.held

    def raise_interruption(self) -> None:
        """
        Raise what ended the session in the guest, if anything did, as if from there.

        No teardown outside comes then: what is held back is reported before.
        """
        if self.interruption is not None:
            self.release()
            notices.raise_interruption(self.interruption)

    def _hear_report(self, report: pytest.TestReport) -> None:
        # More after a teardown: the test is run again.
        self.release()
        share(self.item, report)
        if report.when == "setup":
            self.passed.clear()
        self.passed[report.when] = report.passed
        if self.borrowed is not None:
            if report.when == "setup" and self.last is None:
                report.start = self.borrowed.start
                report.duration += self.borrowed.duration
            old, new = report.sections[: self.before], report.sections[self.before :]
            number = len(self.borrowed.sections) - self.before
            if self.apart:
                # Its copy of the test has none of what was captured here.
                outside = private.captured_sections(self.item)[self.before :]
                number, new = len(outside), outside + new
            report.sections = old + join_sections(new, number)
        self.last, self.since = report, time.time()
        self.item.user_properties[:] = report.user_properties
        if report.when == "teardown":
            self.held = report
        else:
            self.log(report)

    def stop_session(self) -> None:
        """
        Have the session end, if the guest said so.
        """
        if self.end is not None:
            self._stop_like(self.end)

    def _pass_on(self, message: Message) -> None:
        """
        Pass on what is meant for pytest and its plugins.
        """
        match message["kind"]:
            case "again":
                self._begin_again()
            case "resumed":
                if self.deadline is not None:
                    self.deadline.resume()
            case "report":
                self._hear_report(report_from_message(self.item.config, message))
                if message.get("wait"):
                    # What the guest prints next comes after what this has printed.
                    flush(self.item.config)
            case "warning":
                notices.show_warning(message)
            case "live log":
                builtin.show_live_log(
                    self.item.config,
                    cast("str | None", message["when"]),
                    cast("str | None", message["text"]),
                )
            case "payload":
                self.item.ihook.pytest_nsisolate_hand_over(
                    item=self.item, payload=message["payload"]
                )

    def _give_terminal(self) -> None:
        """
        Leave the terminal to the guest, for someone who types.
        """
        if self.deadline is not None:
            self.deadline.suspend()
        self.release()
        flush(self.item.config)
        self.terminal = True

    def _note_shown(self) -> None:
        """
        Keep pytest from showing once more, at the end, what a debugger has shown.
        """
        if self.last is not None:
            # Since 2.0. Public would be: an option of the terminal reporter.
            vars(self.last)["_pdbshown"] = True
        self.release()
        flush(self.item.config)

    def _begin_again(self) -> None:
        """
        Report that the test is over and begins anew, as plugins have it that rerun it.
        """
        self.release()
        nodeid, location = self.item.nodeid, self.item.location
        self.item.ihook.pytest_runtest_logfinish(nodeid=nodeid, location=location)
        self.item.ihook.pytest_runtest_logstart(nodeid=nodeid, location=location)

    def _stop_like(self, message: Message) -> None:
        session = self.item.session
        # What this process has found out itself counts what failed outside, too.
        if message["shouldstop"] and not session.shouldstop:
            session.shouldstop = cast("str", message["shouldstop"])
        if message["shouldfail"] and not session.shouldfail:
            session.shouldfail = cast("str", message["shouldfail"])
