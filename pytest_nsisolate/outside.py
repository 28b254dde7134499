"""
What is done of an isolated test outside, in the supervisor: before and after its guest.
"""

from __future__ import annotations

import pytest

from pytest_nsisolate import ahead, private
from pytest_nsisolate.borrow import Borrowing
from pytest_nsisolate.conversation import Conversation
from pytest_nsisolate.groups import Groups
from pytest_nsisolate.scopes import node_of, others
from pytest_nsisolate.succession import Succession


class Outside:
    """
    The part of tests that is done outside.

    Args:
        borrowing: Sets up what a guest borrows.
        succession: Of all guests.
        groups: Those that tests share.
    """

    def __init__(
        self, borrowing: Borrowing, succession: Succession, groups: Groups
    ) -> None:
        self._borrowing = borrowing
        self._succession = succession
        self._groups = groups

    def begin(
        self, talk: Conversation, nextitem: pytest.Item | None
    ) -> pytest.TestReport | None:
        """
        Set up what the test borrows, and return the report of that.

        Where nothing is to be set up nor torn down, this calls no hooks and returns
        None. A test that may be skipped has them called, to be skipped without a fork.
        """
        item = talk.item
        if self._groups.has_guest(item):
            if private.stays_set_up(item, nextitem):
                return None
            self._succession.settle()
            report = self._borrowing.set_up(item)
            # What fails or skips it here does so inside.
            return report if report.passed else None
        if (
            node_of(item) is item
            and not ahead.is_skippable(item)
            and private.is_all_set_up(item)
            and private.stays_set_up(item, nextitem)
        ):
            return None
        self._succession.settle()
        return self._borrowing.set_up(item, log=talk.log, others=others(item, nextitem))

    def complete(self, talk: Conversation, nextitem: pytest.Item | None) -> None:
        """
        Do all that comes after the guest.
        """
        item = talk.item
        if talk.borrowed is not None and not talk.borrowed.passed:
            talk.log(talk.borrowed)
        talk.raise_interruption()
        self._tear_down(talk, nextitem)
        talk.stop_session()
        private.refresh_request(item)

    def _tear_down(self, talk: Conversation, nextitem: pytest.Item | None) -> None:
        """
        Tear down what is borrowed and no longer needed; complete the teardown report.
        """
        item, session = talk.item, talk.item.session
        if private.tears_down_all(session):
            nextitem = None
        if talk.stays is not None and talk.stays():
            nextitem = item
        if talk.held is not None and private.stays_set_up(item, nextitem):
            private.end_current_test_variable()
            talk.release()
        else:
            self._succession.settle()
            if talk.borrowed is None:
                # A failure has just decided that this test is the last: -x.
                self._borrowing.set_up(item)
            with self._borrowing.telling(talk.complete_teardown):
                report = private.run_phase(item, "teardown", nextitem=nextitem)
            talk.complete_teardown(report)
