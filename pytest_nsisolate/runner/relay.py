"""
The guest's side: send what the test reports instead of reporting it.

What leads out of a guest are four hooks, whose calls go over the channel and are made
in the supervisor.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Generator

import pluggy
import pytest

from pytest_nsisolate.compat import builtin_plugins
from pytest_nsisolate.guest import terminal
from pytest_nsisolate.guest.channel import GuestChannel
from pytest_nsisolate.guest.crash_output import CrashOutput
from pytest_nsisolate.guest.inherited import flush_streams
from pytest_nsisolate.guest.messages import (
    BasetempRequest,
    DebuggerLeft,
    FailureShown,
    HandOver,
    LiveLog,
    Payload,
    Restarted,
    SessionEnd,
    TerminalTaken,
)
from pytest_nsisolate.reporting.events import warning_to_message
from pytest_nsisolate.reporting.report import report_to_message


class Relay:
    """
    A guest's part of pytest's hooks: what it reports is sent and not reported here.

    Registered in the supervisor already, where it does nothing: to register a plugin
    in each guest would cost more than all else that a guest does to begin.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        #: Whether some output goes past pytest, which then must keep up with it.
        self._is_direct = config.getoption("capture", "no") != "fd" or bool(
            config.getoption("setupshow", default=False)
        )
        #: In a guest, the test that runs, and whether it has been told to begin.
        self.item: pytest.Item | None = None
        self.began = False
        #: Whether the test goes on only when its report has been passed on.
        self.synchronous = True
        self._channel: GuestChannel | None = None
        self._crash_output: CrashOutput | None = None
        self._others: set[object] = set()
        self._callers: dict[str, pluggy.HookCaller] = {}
        #: The filters of warnings around the protocol of a test.
        self.filters = warnings.filters[:]

    def prepare(self, item: pytest.Item) -> None:
        """
        In the supervisor, before the fork for *item*: get ready to be the only one.
        """
        # What others do with a report comes before what the test does next.
        self.synchronous = (
            self._is_direct or is_watched(item) or builtin_plugins.is_on_terminal(item)
        )
        manager = self._config.pluginmanager
        # A session counts its failures, which a test may ask it for.
        session = manager.get_plugin("session")
        others = manager.get_plugins() - {self, session}
        if others != self._others:
            self._others = others
            self._callers = {
                name: manager.subset_hook_caller(name, others) for name in RELAYED
            }

    def take_over(
        self,
        item: pytest.Item,
        channel: GuestChannel,
        crash_output: CrashOutput,
        *,
        is_shared: bool,
    ) -> None:
        """
        In the guest of *item*: have these implementations called, and no others.

        Args:
            item: The test, or the first of those that share the guest.
            channel: Where to send what they report.
            crash_output: Where to note what a crash must not lose.
            is_shared: Whether other tests follow in this guest.
        """
        self.item, self._channel, self._crash_output = item, channel, crash_output
        self.synchronous = self.synchronous or is_shared
        for name, caller in self._callers.items():
            # pytest 8 keeps a copy of a caller in a relay of its own.
            for hooks in (self._config.pluginmanager.hook, self._config.hook):
                setattr(hooks, name, caller)
        builtin_plugins.redirect_live_log(self._config, self._send_live_log)
        builtin_plugins.redirect_basetemp(
            self._config, lambda: channel.send(BasetempRequest(), synchronous=True)
        )

    def begin(self, item: pytest.Item) -> None:
        """
        In a shared guest: relay what *item* reports from here on.
        """
        self.item, self.began = item, False

    def _send_live_log(self, when: str | None, text: str | None) -> None:
        if self._channel is not None:
            self._channel.send(LiveLog(when=when, text=text), synchronous=True)

    def send_payload(self, report: pytest.TestReport | None = None) -> None:
        """
        Send what plugins want carried over before *report*, or without one by now.
        """
        if self._channel is None or self.item is None:
            return
        payload: Payload = {}
        self.item.ihook.pytest_nsisolate_collect(
            item=self.item, report=report, payload=payload
        )
        if payload:
            self._channel.send(HandOver(payload=payload))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        if self._channel is None:
            self.filters = warnings.filters[:]
            item.stash[properties] = len(item.user_properties)
        return (yield)

    def send_end(self, session: pytest.Session, *, before_teardown: bool) -> None:
        """
        Tell that the session is to end, if it is.
        """
        if self._channel is not None and (session.shouldstop or session.shouldfail):
            self._channel.send(
                SessionEnd(
                    before_teardown=before_teardown,
                    shouldstop=session.shouldstop,
                    shouldfail=session.shouldfail,
                )
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        if self._crash_output is not None:
            self._crash_output.copy_output()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        # Then all is torn down, in the supervisor too.
        self.send_end(item.session, before_teardown=True)
        try:
            return (yield)
        finally:
            if self._channel is not None:
                # Of what the test made; elsewhere its turn comes some tests later.
                gc.collect(1)
                builtin_plugins.warn_of_unraisable(self._config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(self) -> None:
        if self._channel is not None and self._config.getoption("usepdb", False):
            # The debugger shows this failure.
            self._channel.send(FailureShown(), synchronous=True)

    def pytest_enter_pdb(self) -> None:
        if self._channel is not None:
            self.tell_of_terminal()
            terminal.take()

    def pytest_leave_pdb(self) -> None:
        if self._channel is not None:
            self._channel.send(DebuggerLeft())

    def tell_of_terminal(self) -> None:
        """
        Tell that the test takes the terminal.
        """
        if self._channel is not None:
            self._channel.send(TerminalTaken(), synchronous=True)

    def pytest_runtest_logstart(self) -> None:
        """
        Tell that the test begins again; the first time, the supervisor has seen to it.
        """
        if self._channel is not None:
            if self.began:
                self._channel.send(Restarted(), synchronous=True)
            self.began = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._channel is not None and self._crash_output is not None:
            # What the test has printed comes before what is printed on this report.
            flush_streams()
            self.send_payload(report)
            message = report_to_message(self._config, report)
            self._channel.send(message, synchronous=self.synchronous)
            self._crash_output.clear()

    def pytest_runtest_logfinish(self) -> None:
        """
        Do nothing: the supervisor calls this when it has torn down what was borrowed.
        """

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        if self._channel is not None:
            self._channel.send(warning_to_message(warning_message))


#: Hooks that the supervisor calls between the start of a test and that of the next.
_BETWEEN = (
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_runtest_protocol",
    "pytest_warning_recorded",
    "pytest_report_from_serializable",
    "pytest_report_teststatus",
    "pytest_nsisolate_hand_over",
    "pytest_nsisolate_ended",
)

#: Packages whose implementations of these change nothing that a test could notice.
_KNOWN = {"_pytest", "pytest_nsisolate"}


def is_watched(item: pytest.Item) -> bool:
    """
    Say whether any plugin or conftest file but pytest's own acts between tests.
    """
    return any(
        impl.function.__module__.partition(".")[0] not in _KNOWN
        for name in _BETWEEN
        for impl in getattr(item.ihook, name).get_hookimpls()
    )


#: How many user properties an item had when its protocol began.
properties = pytest.StashKey[int]()

#: The hooks of `Relay`.
RELAYED = (
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_warning_recorded",
)
