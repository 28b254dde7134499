"""
The guest side: the object that runs the tests in a guest.

It calls the whole hook `pytest_runtest_protocol` again, so that everything that pytest
and its plugins wrap around a test happens in the sandbox too.
"""

from __future__ import annotations

import signal
import traceback
import warnings
from types import FrameType

import pytest

from pytest_nsisolate.compat import fixtures, setup_state
from pytest_nsisolate.compat.builtin_plugins import flush
from pytest_nsisolate.guest import absent, inherited, terminal
from pytest_nsisolate.guest.channel import GuestChannel
from pytest_nsisolate.guest.messages import Interrupted, LimitRefused, Paused
from pytest_nsisolate.model import frames
from pytest_nsisolate.model.errors import Unlimited
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.reporting import limits
from pytest_nsisolate.reporting.events import interruption_to_message
from pytest_nsisolate.runner.relay import Relay
from pytest_nsisolate.runner.surroundings import Surroundings, properties
from pytest_nsisolate.sandbox.sandbox import Sandbox
from pytest_nsisolate.settings.isolation import Isolation, isolation_by
from pytest_nsisolate.settings.resolve import resolve_spec
from pytest_nsisolate.settings.scopes import END, WAIT, item_of


class GuestSide:
    """
    Runs, in a guest, its test, or one after another the tests that share it.

    Args:
        item: The test, or the first of them.
        channel: The guest's end of the channel.
        relay: Sends what the tests report; it has taken over.
        sandbox: The sandbox of the guest.
        surroundings: What was noted outside.
        is_shared: Whether tests share the guest.
        is_early: Whether it was forked while it was another test's turn.
    """

    def __init__(
        self,
        item: pytest.Item,
        channel: GuestChannel,
        relay: Relay,
        sandbox: Sandbox,
        *,
        surroundings: Surroundings,
        is_shared: bool,
        is_early: bool = False,
    ) -> None:
        #: The guest's end of the channel.
        self.channel = channel
        self._item = item
        self._relay = relay
        self._sandbox = sandbox
        self._surroundings = surroundings
        self._is_shared = is_shared
        self._is_early = is_early

    def isolation(self) -> Isolation:
        """
        Return the namespaces that isolate this process, and its pid on the host.
        """
        return isolation_by(self._sandbox.namespaces, self.channel.pid_on_host)

    def run(self, _: GuestChannel, word: str) -> None:
        """
        Run the test of this guest, or all tests that share it.

        Args:
            _: The guest's end of the channel.
            word: What the supervisor sent when it opened the gate: the number of the
                test that comes next, or, if tests share the guest, a `turn`.
        """
        if self._is_shared:
            self._run_tests(word)
        else:
            self._run_test(word)

    def _run_test(self, number: str) -> None:
        """
        Run the only test of this guest; the test numbered *number* comes after it.
        """
        item = self._item
        nextitem = item_of(item.session, number)
        if self._is_early:
            self._restore_filters()
        if self._enter(item):
            self._run_protocol(item, nextitem, None)
            self._leave(item)

    def _run_tests(self, word: str) -> None:
        """
        Run tests until the supervisor sends no more; *word* is the first `turn`.
        """
        item, session = self._item, self._item.session
        is_first = True
        while word != END:
            item, nextitem, kept = self._take_turn(session, word)
            self._restore_filters()
            if not self._enter(item, is_first=is_first):
                return
            is_first = False
            goes_on = self._run_protocol(item, nextitem, kept)
            if kept is None or not goes_on:
                self._leave(item)
                return
            flush(item.config)
            self.channel.send(Paused())
            word = self.channel.wait()
        try:
            setup_state.tear_down_rest(session)
        finally:
            self._leave(item)

    def _take_turn(
        self, session: pytest.Session, word: str
    ) -> tuple[pytest.Item, pytest.Item | None, pytest.Item | None]:
        """
        Return the test to run, the test after it, and the next test of this guest.
        """
        number, *others, failed, waits = word.split()
        item = session.items[int(number)]
        nextitem, kept = (item_of(session, other) for other in others)
        # Tests that ran elsewhere meanwhile count too.
        session.testsfailed = int(failed)
        self._relay.begin(item, self.channel, synchronous=waits == WAIT)
        return item, nextitem, kept

    def _restore_filters(self) -> None:
        """
        Drop the warning filters of the test that ran in the supervisor at the fork.
        """
        warnings.resetwarnings()
        warnings.filters[:] = self._surroundings.filters  # type: ignore[index]

    def _enter(self, item: pytest.Item, *, is_first: bool = True) -> bool:
        """
        Get ready for *item*, and say whether it can run.
        """
        fixtures.refresh_request(item)
        # Wrappers of the protocol have begun in the supervisor, and begin again here.
        added = item.user_properties
        del added[item.stash.get(properties, len(added)) :]
        if not is_first:
            return True
        spec = resolve_spec(item)
        if isinstance(spec, Spec):
            inherited.set_environment(spec)
        enter = item.ihook.pytest_nsisolate_enter
        if enter.get_hookimpls():
            enter(
                item=item,
                send=self._relay.send_payload,
                spec=spec,
                borrowed=self._surroundings.fixtures_within(item.session),
            )
        terminal.take_when_reading(self._relay.announce_terminal)
        try:
            limits.confine(item)
        except Unlimited as error:
            self.channel.send(LimitRefused.of(error))
            return False
        return True

    def _run_protocol(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        kept: pytest.Item | None,
    ) -> bool:
        """
        Run *item*, leave set up what *kept* needs, and say whether a test may follow.
        """
        session = item.session
        interrupted = False
        try:
            self.channel.unblock_signals()
            with setup_state.keeping(nextitem, kept):
                item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        except (KeyboardInterrupt, pytest.exit.Exception) as error:
            interrupted = True
            _end_session(session)
            self.channel.send(interruption_to_message(error))
        try:
            self._relay.send_payload()
            self._relay.send_end(session, before_teardown=False)
        except KeyboardInterrupt as error:
            interrupted = True
            self.channel.send(interruption_to_message(error))
        return not interrupted

    def _leave(self, item: pytest.Item) -> None:
        absent.allow_joins()
        is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if is_default:
            signal.signal(signal.SIGINT, self._interrupt)
        inherited.run_exit_handlers()
        if is_default:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        flush(item.config)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """
        Have Ctrl-C end the session: what an exit handler raises, Python only prints.
        """
        assert frame is not None
        self.channel.send(
            Interrupted(
                exit=False,
                text="",
                returncode=None,
                filename=frame.f_code.co_filename,
                lineno=frame.f_lineno,
            )
        )
        signal.default_int_handler(number, frame)


def _end_session(session: pytest.Session) -> None:
    try:
        setup_state.tear_down_rest(session)
    except BaseException as error:  # noqa: BLE001 - printed, since pytest ends either way
        frames.cut_callers(error)
        traceback.print_exc()
