"""
The relay: a plugin that, in a guest, sends what the test reports to the supervisor.

Four hooks lead out of a guest (`RELAYED`). Their calls go over the channel, and the
supervisor makes them. A fifth, `pytest_exception_interact`, leads out for some plugins.
"""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Generator, Iterable
from typing import Any

import pluggy
import pytest

from pytest_nsisolate import integrations
from pytest_nsisolate.compat import builtin_plugins
from pytest_nsisolate.compat.hooks import implementations
from pytest_nsisolate.guest import terminal
from pytest_nsisolate.guest.channel import GuestChannel
from pytest_nsisolate.guest.crash_output import CrashOutput
from pytest_nsisolate.guest.inherited import flush_streams
from pytest_nsisolate.guest.messages import (
    BasetempRequest,
    DebuggerLeft,
    FailureShown,
    FileLog,
    HandOver,
    Kept,
    LiveLog,
    Passed,
    Payload,
    Report,
    Restarted,
    SessionEnd,
    TerminalTaken,
    TurnAwaited,
)
from pytest_nsisolate.model import frames
from pytest_nsisolate.reporting import interaction, memory
from pytest_nsisolate.reporting.events import warning_to_message
from pytest_nsisolate.reporting.report import passed_to_message, report_to_message
from pytest_nsisolate.reporting.terms import package_of
from pytest_nsisolate.settings.scopes import tests_of_guest


class Relay:
    """
    Sends, in a guest, what pytest reports there, instead of reporting it.

    It is registered in the supervisor, where it does nothing: registering a plugin in
    each guest would cost more than everything else that a guest does at its start.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        #: Whether some output bypasses pytest, so that the test must wait for pytest.
        self._is_direct = config.getoption("capture", "no") != "fd" or bool(
            config.getoption("setupshow", default=False)
        )
        #: In a guest, the test that runs, and whether its start has been reported.
        self.item: pytest.Item | None = None
        self.began = False
        #: Whether the test waits until its report has been logged.
        self.synchronous = True
        self._channel: GuestChannel | None = None
        #: The hook that collects what plugins want carried over.
        self._collect: pluggy.HookCaller | None = None
        self._crash_output: CrashOutput | None = None
        #: The other plugins: another object as soon as one has come or gone.
        self.plugins: set[object] = set()
        self._callers: dict[str, pluggy.HookCaller] = {}
        #: Whether plugins put into reports, or read, what they want.
        self._is_serialised = True
        #: Whether a plugin outside wants to know of failures.
        self._tells_failures = False
        self._sent: pytest.TestReport | None = None
        #: What hooks may keep, and the wrapper that notes it; None if there are none.
        self._memory: memory.Memory | None = None
        self._keeper: Keeper | None = None
        #: The reports that were made of the test, and what was kept with those that
        #: have not been sent.
        self._made: list[pytest.TestReport] = []
        self._kept: list[tuple[int, list[Any], list[str]]] = []
        #: How many of these reports are known outside.
        self._arrived = 0

    def prepare(self, item: pytest.Item) -> None:
        """
        Get ready, in the supervisor, for the fork for *item*.
        """
        integrations.register_late(self._config)
        watched = is_watched(item)
        self.synchronous = self.is_synchronous(item, watched=watched)
        locate(tests_of_guest(item))
        self._prepare_memory(item)
        self._tells_failures = interaction.is_watched(self._config) or watched
        manager = self._config.pluginmanager
        others = self._others()
        if others != self.plugins:
            self.plugins = others
            self._callers = {
                name: manager.subset_hook_caller(name, others) for name in RELAYED
            }
            self._is_serialised = not all(
                package_of(impl.function.__module__) == "_pytest"
                for name in _SERIALISING
                for impl in implementations(self._config, name)
            )
            self._callers["pytest_exception_interact"] = interaction.caller_inside(
                self._config
            )

    def _others(self) -> set[object]:
        manager = self._config.pluginmanager
        # The session counts its failures, and a test may read that number.
        return manager.get_plugins() - {self, manager.get_plugin("session")}

    def is_synchronous(self, item: pytest.Item, *, watched: bool | None = None) -> bool:
        """
        Say whether *item* waits until each of its reports has been logged.

        Args:
            item: The test.
            watched: What `is_watched` says of it, if that is known.
        """
        if watched is None:
            watched = is_watched(item)
        # Other plugins act on a report before the test goes on.
        return self._is_direct or watched or builtin_plugins.is_on_terminal(item)

    def _prepare_memory(self, item: pytest.Item) -> None:
        """
        Note how the memory of hooks is, so that no guest needs to look into all of it.
        """
        if self._others() != self.plugins:
            manager = self._config.pluginmanager
            if self._keeper is not None:
                manager.unregister(self._keeper)
                self._keeper = self._memory = None
            if memory.keepers(self._config):
                self._memory = memory.Memory(self._config)
                self._config.stash[memory.key] = self._memory
                self._keeper = Keeper(self, self._memory)
                # Registered last, it is the outermost wrapper.
                manager.register(self._keeper, "nsisolate-keeper")
        if self._memory is not None:
            self._memory.look(item)

    def keep(self, report: pytest.TestReport) -> None:
        """
        In a guest: note what was kept in memory when *report* was made.
        """
        if self._memory is not None and self.item is not None:
            self._made.append(report)
            changes, lost = self._memory.changes(self.item, self._made)
            self._kept.append((len(self._made) - 1, changes, lost))

    @property
    def pid_on_host(self) -> int:
        """
        In a guest: the id of this process outside its PID namespace.
        """
        assert self._channel is not None
        return self._channel.pid_on_host

    def is_guest(self) -> bool:
        """
        Say whether this process is a guest.
        """
        return self._channel is not None

    def _send_kept(self, channel: GuestChannel, report: pytest.TestReport) -> None:
        """
        Send what was kept until *report* was made.
        """
        if self._memory is None:
            return
        numbers = [number for number, one in enumerate(self._made) if one is report]
        last = numbers[-1] if numbers else len(self._made)
        now = [one for one in self._kept if one[0] <= last]
        # Plugins that run a test again do not log all reports.
        others = {
            number: report_to_message(self._config, one).report
            for number, one in enumerate(self._made)
            if self._arrived <= number < last
        }
        self._arrived = min(last + 1, len(self._made))
        self._kept = [one for one in self._kept if one[0] > last]
        changes = [change for _, some, _ in now for change in some]
        lost = [text for *_, some in now for text in some]
        if now:
            channel.send(
                Kept(
                    number=last,
                    changes=changes,
                    reports=others,
                    lost=lost,
                    version=self._memory.version,
                )
            )

    def take_over(self) -> None:
        """
        In a fork, replace all implementations of the relayed hooks.
        """
        for name, caller in self._callers.items():
            # pytest 8 keeps a copy of each caller in a relay of its own.
            for hooks in (self._config.pluginmanager.hook, self._config.hook):
                setattr(hooks, name, caller)
        builtin_plugins.redirect_live_log(self._config, self._send_live_log)
        builtin_plugins.redirect_basetemp(self._config, self._ask_for_basetemp)

    def keep_output_in(self, crash_output: CrashOutput) -> None:
        """
        In a fork, keep the output that must survive a crash in *crash_output*.
        """
        self._crash_output = crash_output

    def begin(
        self, item: pytest.Item, channel: GuestChannel, *, synchronous: bool
    ) -> None:
        """
        In a guest, relay from here on what *item* reports.

        Args:
            item: The test.
            channel: The guest's end of the channel.
            synchronous: Whether the test waits until its reports have been logged.
        """
        self._channel, self.synchronous = channel, synchronous
        self.item, self.began = item, False
        # Each access to the hooks makes them anew.
        self._collect = item.ihook.pytest_nsisolate_collect
        self._made.clear()
        self._kept.clear()
        self._arrived = 0

    def _send_live_log(self, when: str | None, text: str | None) -> None:
        if self._channel is not None:
            self._channel.send(LiveLog(when=when, text=text), synchronous=True)

    def send_file_log(self, text: str) -> None:
        """
        Send *text*, a record for the log file.
        """
        if self._channel is not None:
            self._channel.send(FileLog(text=text))

    def _ask_for_basetemp(self) -> str:
        assert self._channel is not None
        return self._channel.send(BasetempRequest(), synchronous=True)

    def send_payload(self, report: pytest.TestReport | None = None) -> None:
        """
        Send what plugins want carried over: before *report*, or when the test is over.
        """
        if self._channel is None or self._collect is None:
            return
        payload: Payload = {}
        self._collect(item=self.item, report=report, payload=payload)
        if payload:
            self._channel.send(HandOver(payload=payload))

    def send_end(self, session: pytest.Session, *, before_teardown: bool) -> None:
        """
        Send whether the session is to stop, if it is.
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

    # No wrapper: it would be in the traceback of each teardown that fails.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        # If the session stops, the supervisor too tears everything down.
        self.send_end(item.session, before_teardown=True)

    @pytest.hookimpl(trylast=True, specname="pytest_runtest_teardown")
    def pytest_runtest_teardown_last(self) -> None:
        """
        In a guest: collect the garbage of the test when its teardown has passed.
        """
        __tracebackhide__ = True
        if self._channel is not None:
            # Without isolation it is collected some tests later.
            gc.collect(1)
            builtin_plugins.warn_of_unraisable(self._config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        __tracebackhide__ = True
        if call.when == "teardown" and call.excinfo is not None:
            # The error has kept pytest from calling it.
            try:
                self.pytest_runtest_teardown_last()
            except Exception as error:  # noqa: BLE001 - a warning that is an error
                frames.cut_callers(error)
                first: BaseException = error
                while first.__cause__ is not None:
                    first = first.__cause__
                first.__context__ = call.excinfo.value
                call.excinfo = pytest.ExceptionInfo.from_exception(error)

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(
        self, call: pytest.CallInfo[object], report: pytest.TestReport
    ) -> None:
        if self._channel is None:
            return
        if self._tells_failures:
            self._send_failure(self._channel, call, report)
        if self._config.getoption("usepdb", False):
            # The debugger is about to show this failure.
            self._channel.send(FailureShown(), synchronous=True)

    def _send_failure(
        self,
        channel: GuestChannel,
        call: pytest.CallInfo[object],
        report: pytest.TestReport,
    ) -> None:
        own = None
        if report is not self._sent:
            own = report_to_message(self._config, report)
        channel.send(
            interaction.failure_to_message(call, own), synchronous=self.synchronous
        )

    def pytest_enter_pdb(self) -> None:
        if self._channel is not None:
            self.announce_terminal()
            terminal.take()

    def pytest_leave_pdb(self) -> None:
        if self._channel is not None:
            self._channel.send(DebuggerLeft())

    def announce_terminal(self) -> None:
        """
        Tell the supervisor that the test takes the terminal.
        """
        if self._channel is not None:
            self._channel.send(TerminalTaken(), synchronous=True)

    def await_turn(self) -> None:
        """
        Wait, if other tests run beside this one, until it is its turn.

        Then it is known how many tests have failed before. A failed subtest may be the
        last one that ``--maxfail`` allows.
        """
        if self._channel is not None and self.item is not None:
            failed = self._channel.send(TurnAwaited(), synchronous=True)
            self.item.session.testsfailed = int(failed)

    def pytest_runtest_logstart(self) -> None:
        """
        Send that the test begins again; its first start the supervisor has reported.
        """
        if self._channel is not None:
            if self.began:
                self._channel.send(Restarted(), synchronous=True)
            self.began = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._channel is not None and self._crash_output is not None:
            # The output of the test must appear before that of this report.
            flush_streams()
            self.send_payload(report)
            self._send_kept(self._channel, report)
            message = self._message_of(report)
            # Without this report, a guest that dies now dies in teardown all the same.
            later = isinstance(message, Passed) and report.when == "teardown"
            self._channel.send(
                message,
                synchronous=self.synchronous,
                later=later and not self.synchronous,
            )
            self._sent = report
            self._crash_output.clear()

    def _message_of(self, report: pytest.TestReport) -> Report | Passed:
        short = None
        if self.item is not None and not self._is_serialised:
            short = passed_to_message(self.item, report)
        return short or report_to_message(self._config, report)

    def pytest_runtest_logfinish(self) -> None:
        """
        Do nothing: the supervisor calls this hook after its own part of teardown.
        """

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        if self._channel is not None:
            self._channel.send(warning_to_message(warning_message))


class Keeper:
    """
    Notes, in a guest, what one call of `pytest_runtest_makereport` keeps in memory.

    Args:
        relay: Sends it.
        found: Where it may be kept.
    """

    def __init__(self, relay: Relay, found: memory.Memory) -> None:
        self._relay = relay
        self._memory = found

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        if not self._relay.is_guest():
            return (yield)
        self._memory.look(item)
        report = yield
        self._relay.keep(report)
        return report


def locate(items: Iterable[pytest.Item]) -> None:
    """
    Make pytest work out the places of those *items* that are in the file of the first.

    It does so once for each test, and otherwise the guest would do it once more.
    """
    path = None
    for item in items:
        path = path or item.path
        # Later ones may be in files that are not run here: pytest-xdist.
        if item.path != path:
            return
        with contextlib.suppress(Exception):
            # It raises again where pytest asks for it.
            _ = item.location


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

#: Hooks by which plugins change how a report travels.
_SERIALISING = ("pytest_report_to_serializable", "pytest_report_from_serializable")

#: Packages whose implementations of these hooks change nothing that a test notices.
_KNOWN = {"_pytest", "pytest_nsisolate"}

#: The implementations of these hooks for the latest test, and whether one is another's.
_latest = pytest.StashKey["tuple[list[list[pluggy.HookImpl]], bool]"]()


def is_watched(item: pytest.Item) -> bool:
    """
    Say whether a conftest file, or a plugin that is not pytest's, acts between tests.
    """
    # Each access makes it anew.
    hook = item.ihook
    impls = [getattr(hook, name).get_hookimpls() for name in _BETWEEN]
    latest = item.config.stash.get(_latest, None)
    # Tests in a row mostly have the same ones.
    if latest is None or impls != latest[0]:
        modules = (impl.function.__module__ for some in impls for impl in some)
        is_any = not all(package_of(module) in _KNOWN for module in modules)
        latest = item.config.stash[_latest] = impls, is_any
    return latest[1]


#: The hooks of `Relay`.
RELAYED = (
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_warning_recorded",
)
