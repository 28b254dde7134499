"""
Tests that share a sandbox: whose guest or sandbox waits for the next of them.

The supervisor knows before a test whether another one follows that shares with it, and
tells the guest, which then finishes what they share with the last of them. Where that
turns out otherwise, the group is ended when pytest leaves the scope.
"""

from __future__ import annotations

import dataclasses

import pytest

from pytest_nsisolate import crash, leak_policy, scopes
from pytest_nsisolate.account import Account
from pytest_nsisolate.conversation import Conversation
from pytest_nsisolate.deadline import Deadline
from pytest_nsisolate.ending import Ending, Finished
from pytest_nsisolate.errors import Explanation
from pytest_nsisolate.guest import Guest
from pytest_nsisolate.interrupt import Interrupts
from pytest_nsisolate.sandbox import Sandbox
from pytest_nsisolate.scopes import Share, share_of
from pytest_nsisolate.spec import Spec
from pytest_nsisolate.succession import Succession
from pytest_nsisolate.turns import END, number_of, turn
from pytest_nsisolate.wish import wish_of


@dataclasses.dataclass(slots=True, eq=False)
class Group:
    """
    What waits for the next test that shares it.
    """

    share: Share
    last: pytest.Item
    """The test that ran last."""
    kept: Guest | Sandbox
    """A guest between two tests; with ``fork=True``, the sandbox."""


class Groups:
    """
    Those of one session.

    Args:
        succession: Of all guests.
        interrupts: Where Ctrl-C is noted.
        account: What is told of guests that have ended.
        grace: Seconds for what runs in a sandbox to end.
    """

    def __init__(
        self,
        succession: Succession,
        interrupts: Interrupts,
        account: Account,
        grace: float,
    ) -> None:
        self._succession = succession
        self._interrupts = interrupts
        self._account = account
        self._grace = grace
        self._live: list[Group] = []

    def find(self, item: pytest.Item) -> Group | None:
        """
        Return what waits for *item*, if anything does and is alive.
        """
        share = share_of(item)
        for group in self._live:
            if share == group.share:
                if group.kept.is_alive():
                    return group
                self._bury(group)
                break
        return None

    def has_guest(self, item: pytest.Item) -> bool:
        """
        Say whether the guest of *item* is there already.
        """
        group = self.find(item)
        return group is not None and isinstance(group.kept, Guest)

    def begin(self, talk: Conversation, nextitem: pytest.Item | None) -> Guest:
        """
        Return the guest for the test of *talk*, let go.

        Raises:
            Refused: It cannot be had.
        """
        item = talk.item
        share, spec = share_of(item), wish_of(item)
        assert isinstance(spec, Spec)
        if share is None:
            return self._succession.begin(item, spec, number_of(nextitem))
        group = self.find(item)
        if spec.fork:
            sandbox = self._sandbox(group, item, spec)
            number = number_of(nextitem)
            return self._succession.begin(item, spec, number, sandbox.lend())
        word = turn(item, nextitem, scopes.following(item, nextitem))
        if group is None:
            return self._succession.begin(item, spec, word)
        assert isinstance(group.kept, Guest)
        talk.apart = True
        self._live.remove(group)
        self._succession.go_on(group.kept, word)
        return group.kept

    def begin_next(self, item: pytest.Item, nextitem: pytest.Item, spec: Spec) -> None:
        """
        Do for *nextitem* what can be done while the guest of *item* runs.
        """
        own, next_one = share_of(item), share_of(nextitem)
        if own is None and next_one is None:
            self._succession.begin_next(item, nextitem, spec)
        elif own != next_one and self.find(nextitem) is None:
            self._succession.pool.prepare(spec)

    def keep(
        self,
        talk: Conversation,
        nextitem: pytest.Item | None,
        process: Guest,
        ended: Ending,
    ) -> bool:
        """
        Keep what the next test shares, if there is one, and say whether that is so.

        Otherwise it is over, and of a sandbox that was lent the audit is made now.
        """
        item = talk.item
        share = share_of(item)
        if share is None:
            return False
        if process.waits:
            self._live.append(Group(share, item, process))
            self._succession.keep(process)
            return True
        group = self.find(item)
        if group is None or not isinstance(group.kept, Sandbox):
            return False
        group.last = item
        if ended == Finished() and scopes.following(item, nextitem) is not None:
            return True
        if ended == Finished():
            process.left = group.kept.audit(self._grace)
        self._bury(group)
        return False

    def leave(self, item: pytest.Item | None) -> None:
        """
        End what *item*, which comes next, shows to be over; without one, all.
        """
        chain = [] if item is None else item.listchain()
        for group in [one for one in self._live if one.share.node not in chain]:
            self._end(group)

    def _sandbox(self, group: Group | None, item: pytest.Item, spec: Spec) -> Sandbox:
        """
        Return the sandbox that *item* has lent to its guests.
        """
        if group is None:
            share = share_of(item)
            assert share is not None
            group = Group(share, item, self._succession.pool.take(spec))
            self._live.append(group)
            self._succession.kept.append(group.kept)
        assert isinstance(group.kept, Sandbox)
        return group.kept

    def _end(self, group: Group) -> None:
        """
        End *group* between two tests, and report what goes wrong as of its last one.
        """
        item, kept = group.last, group.kept
        spec = wish_of(item)
        assert isinstance(spec, Spec)
        talk = Conversation(item, None)
        ended: Ending = Finished()
        with self._interrupts:
            if isinstance(kept, Guest):
                self._live.remove(group)
                self._succession.go_on(kept, END)
                deadline = Deadline(spec.timeout or None)
                ended = kept.talk(talk.hear, self._interrupts, deadline, self._grace)
                left = kept.left
            else:
                left = kept.audit(self._grace)
                self._bury(group)
        if ended != Finished() or talk.broken:
            error = pytest.fail.Exception(_explain(group, ended, talk), pytrace=False)
            talk.log(crash.failed_report(item, "teardown", error))
        elif spec.leaks != "ignore":
            fails = spec.leaks == "fail"
            leak_policy.judge(talk, left, fails=fails, sharers=group.share.name)
        if isinstance(kept, Guest) and self._account.is_wanted(item):
            self._succession.settle()
            self._account.tell(talk, ended, kept)
        talk.release()

    def _bury(self, group: Group) -> None:
        """
        Let go of *group*, of which nothing is to be left.
        """
        self._live.remove(group)
        self._succession.kept.remove(group.kept)
        if isinstance(group.kept, Guest):
            group.kept.settle()
            group.kept.reap()
        else:
            group.kept.close()


def _explain(group: Group, ended: Ending, talk: Conversation) -> str:
    how = "an error, see below" if talk.broken else f"its guest {ended}"
    explanation = Explanation(
        what=f"cannot tear down what the tests of {group.share.name} share",
        why=f"{group.last.name} was the last that ran there; then came {how}",
        fix=f"python -m pytest --no-nsisolate {group.last.nodeid}"
        + (f"\n\n{talk.broken}" if talk.broken else ""),
    )
    return str(explanation)
