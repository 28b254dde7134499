"""
The guest's side: run the test, or the tests that share a guest.

Runs in the fork. The guest calls the whole `pytest_runtest_protocol` hook anew, so that
whatever pytest and its plugins wrap around a test is inside with it.
"""

from __future__ import annotations

import traceback
import warnings

import pytest

from pytest_nsisolate import breach, helpers, private, relay, terminal, variables
from pytest_nsisolate.entry import Outlet
from pytest_nsisolate.errors import Unlimited
from pytest_nsisolate.notices import interruption_to_message
from pytest_nsisolate.output import flush
from pytest_nsisolate.turns import END, item_of
from pytest_nsisolate.wish import wish_of


class Inside:
    """
    Runs tests in a guest.

    Args:
        of: Sends what they report.
    """

    def __init__(self, of: relay.Relay) -> None:
        self._relay = of

    def run_test(self, outlet: Outlet, number: str) -> None:
        """
        In a guest: run its test and send all that it reports.

        Args:
            outlet: Where to.
            number: That of the test which comes next.
        """
        item = self._relay.item
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
        item = self._relay.item
        assert item is not None
        session, is_first = item.session, True
        self._settle_in(item)
        self._relay.waits = True
        while word != END:
            item, nextitem, kept = self._take_turn(session, word)
            # Those around the first were there before the fork.
            warnings.resetwarnings()
            warnings.filters[:] = self._relay.filters  # type: ignore[index]
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
        self._relay.item, self._relay.began = item, False
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
        del properties[item.stash.get(relay.properties, len(properties)) :]
        if not is_first:
            return True
        variables.set_for(item)
        item.ihook.pytest_nsisolate_enter(
            item=item, send=self._relay.send_payload, spec=wish_of(item)
        )
        terminal.take_when_reading(self._relay.tell_of_terminal)
        try:
            breach.confine(item)
        except Unlimited as error:
            outlet.send(breach.refusal(error))
            return False
        return True

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
        self._relay.send_payload()
        self._relay.send_end(session, "at the end")
        return not interrupted

    def _leave(self, item: pytest.Item) -> None:
        helpers.run_exit_handlers()
        flush(item.config)


def _end_session(session: pytest.Session) -> None:
    try:
        private.tear_down_rest(session)
    except BaseException:  # noqa: BLE001 - printed, as pytest ends with it either way
        traceback.print_exc()
