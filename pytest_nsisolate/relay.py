"""
The guest's side: run the test, and send what it reports instead of reporting it.

Runs in the fork. The guest calls the whole `pytest_runtest_protocol` hook anew, so that
whatever pytest and its plugins wrap around a test is inside with it. What leads out of
there are four hooks, whose calls go over the channel and are made in the supervisor.
"""

from __future__ import annotations

import gc
import traceback
import warnings
from collections.abc import Generator

import pluggy
import pytest

from pytest_nsisolate import (
    ahead,
    breach,
    builtin,
    helpers,
    private,
    terminal,
    variables,
)
from pytest_nsisolate.channel import Message
from pytest_nsisolate.entry import Outlet
from pytest_nsisolate.errors import Unlimited
from pytest_nsisolate.notices import interruption_to_message, warning_to_message
from pytest_nsisolate.output import flush, flush_output
from pytest_nsisolate.remains import Remains
from pytest_nsisolate.reports import report_to_message
from pytest_nsisolate.turns import END, item_of
from pytest_nsisolate.wish import wish_of


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
        self._waits = True
        self._began = False
        self._outlet: Outlet | None = None
        self._item: pytest.Item | None = None
        self._remains: Remains | None = None
        self._others: set[object] = set()
        self._callers: dict[str, pluggy.HookCaller] = {}
        #: The filters of warnings around the protocol of a test.
        self._filters = warnings.filters[:]

    def prepare(self, item: pytest.Item) -> None:
        """
        In the supervisor, before the fork for *item*: get ready to be the only one.
        """
        # What others do with a report comes before what the test does next.
        self._waits = (
            self._is_direct or ahead.is_watched(item) or builtin.is_on_terminal(item)
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

    def take_over(self, item: pytest.Item, outlet: Outlet, remains: Remains) -> None:
        """
        In the guest of *item*: have these implementations called, and no others.
        """
        self._item, self._outlet, self._remains = item, outlet, remains
        for name, caller in self._callers.items():
            # pytest 8 keeps a copy of a caller in a relay of its own.
            for hooks in (self._config.pluginmanager.hook, self._config.hook):
                setattr(hooks, name, caller)
        builtin.redirect_live_log(self._config, self._send_live_log)
        builtin.redirect_basetemp(
            self._config, lambda: outlet.send({"kind": "basetemp"}, wait=True)
        )

    def _send_live_log(self, when: str | None, text: str | None) -> None:
        if self._outlet is not None:
            message: Message = {"kind": "live log", "when": when, "text": text}
            self._outlet.send(message, wait=True)

    def run_test(self, outlet: Outlet, number: str) -> None:
        """
        In a guest: run its test and send all that it reports.

        Args:
            outlet: Where to.
            number: That of the test which comes next.
        """
        item = self._item
        assert item is not None
        self._settle_in(item)
        nextitem = item_of(item.session, number)
        if self._enter(item, outlet):
            self._run(item, nextitem, None, outlet)
            self._leave(item)

    def run_tests(self, outlet: Outlet, word: str) -> None:
        """
        In a guest that tests share: run them one after the other, as it is told.

        Args:
            outlet: Where to send what they report.
            word: What `turn` says of the first; `END` ends it early.
        """
        item = self._item
        assert item is not None
        session, is_first = item.session, True
        self._settle_in(item)
        self._waits = True
        while word != END:
            item, nextitem, kept = self._take_turn(session, word)
            # Those around the first were there before the fork.
            warnings.resetwarnings()
            warnings.filters[:] = self._filters  # type: ignore[index]
            if not self._enter(item, outlet, is_first=is_first):
                return
            is_first = False
            goes_on = self._run(item, nextitem, kept, outlet)
            if kept is None or not goes_on:
                self._leave(item)
                return
            flush(item.config)
            outlet.send({"kind": "over"})
            word = outlet.wait()
        try:
            private.tear_down_rest(session)
        finally:
            self._leave(item)

    def _take_turn(
        self, session: pytest.Session, word: str
    ) -> tuple[pytest.Item, pytest.Item | None, pytest.Item | None]:
        number, *others, failed = word.split()
        item = session.items[int(number)]
        nextitem, kept = (item_of(session, other) for other in others)
        # What else ran meanwhile counts too.
        session.testsfailed = int(failed)
        self._item, self._began = item, False
        return item, nextitem, kept

    def _settle_in(self, item: pytest.Item) -> None:
        helpers.forget_multiprocessing()
        helpers.forget_exit_handlers()
        private.forget_borrowed(item.session)

    def _enter(
        self, item: pytest.Item, outlet: Outlet, *, is_first: bool = True
    ) -> bool:
        """
        Get ready for *item*, and say whether it can be run.
        """
        private.refresh_request(item)
        # What wraps the protocol has begun outside, and begins again inside.
        properties = item.user_properties
        del properties[item.stash.get(_properties, len(properties)) :]
        if not is_first:
            return True
        variables.set_for(item)
        item.ihook.pytest_nsisolate_enter(
            item=item, send=self._send_payload, spec=wish_of(item)
        )
        terminal.take_when_reading(self._tell_of_terminal)
        try:
            breach.confine(item)
        except Unlimited as error:
            outlet.send(breach.refusal(error))
            return False
        return True

    def _send_payload(self) -> None:
        if self._outlet is not None and self._item is not None:
            send_payload(self._item, self._outlet, None)

    def _run(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        kept: pytest.Item | None,
        outlet: Outlet,
    ) -> bool:
        """
        Run *item*, keep what *kept* needs, and say whether another may follow.
        """
        session = item.session
        interrupted = False
        try:
            outlet.unblock_signals()
            with private.keeping(nextitem, kept):
                item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        except (KeyboardInterrupt, pytest.exit.Exception) as error:
            interrupted = True
            _end_session(session)
            outlet.send(interruption_to_message(error))
        send_payload(item, outlet, None)
        self._send_end(session, "at the end")
        return not interrupted

    def _leave(self, item: pytest.Item) -> None:
        helpers.run_exit_handlers()
        flush(item.config)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        if self._outlet is None:
            self._filters = warnings.filters[:]
            item.stash[_properties] = len(item.user_properties)
        return (yield)

    def _send_end(self, session: pytest.Session, when: str) -> None:
        """
        Tell that the session is to end, if it is.
        """
        if self._outlet is not None and (session.shouldstop or session.shouldfail):
            self._outlet.send(
                {
                    "kind": "session",
                    "when": when,
                    "shouldstop": session.shouldstop,
                    "shouldfail": session.shouldfail,
                }
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        if self._remains is not None:
            self._remains.copy_output()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        # Then all is torn down, in the supervisor too.
        self._send_end(item.session, "before teardown")
        try:
            return (yield)
        finally:
            if self._outlet is not None:
                # Of what the test made; elsewhere its turn comes some tests later.
                gc.collect(1)
                builtin.warn_of_unraisable(self._config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(self) -> None:
        if self._outlet is not None and self._config.getoption("usepdb", False):
            # The debugger shows this failure.
            self._outlet.send({"kind": "shown"}, wait=True)

    def pytest_enter_pdb(self) -> None:
        if self._outlet is not None:
            self._tell_of_terminal()
            terminal.take()

    def pytest_leave_pdb(self) -> None:
        if self._outlet is not None:
            self._outlet.send({"kind": "resumed"})

    def _tell_of_terminal(self) -> None:
        if self._outlet is not None:
            self._outlet.send({"kind": "terminal"}, wait=True)

    def pytest_runtest_logstart(self) -> None:
        """
        Tell that the test begins again; the first time, the supervisor has seen to it.
        """
        if self._outlet is not None:
            if self._began:
                self._outlet.send({"kind": "again"}, wait=True)
            self._began = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._outlet is not None and self._remains is not None:
            # What the test has printed comes before what is printed on this report.
            flush_output()
            assert self._item is not None
            send_payload(self._item, self._outlet, report)
            message = report_to_message(self._config, report)
            self._outlet.send(message, wait=self._waits)
            self._remains.clear()

    def pytest_runtest_logfinish(self) -> None:
        """
        Do nothing: the supervisor calls this when it has torn down what was borrowed.
        """

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        if self._outlet is not None:
            self._outlet.send(warning_to_message(warning_message))


#: The hooks of `Relay`.
RELAYED = (
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_warning_recorded",
)


#: How many user properties an item had when its protocol began.
_properties = pytest.StashKey[int]()


def send_payload(
    item: pytest.Item, outlet: Outlet, report: pytest.TestReport | None
) -> None:
    """
    Send what plugins want carried over before *report*, or at the end without one.
    """
    payload: Message = {}
    item.ihook.pytest_nsisolate_collect(item=item, report=report, payload=payload)
    if payload:
        outlet.send({"kind": "payload", "payload": payload})


def _end_session(session: pytest.Session) -> None:
    try:
        private.tear_down_rest(session)
    except BaseException:  # noqa: BLE001 - printed, as pytest ends with it either way
        traceback.print_exc()
