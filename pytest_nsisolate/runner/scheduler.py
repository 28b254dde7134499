"""
The scheduler: every guest of a session, whether forked ahead, running, dying or kept.

It knows which guests there are and what state each is in; nothing else forks, releases
or buries one. The death of a guest overlaps with the fork of the next one, and that
fork overlaps with the test before it, where this is safe. A guest is released only when
nothing is left of the one before it in the same lane.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading

import pytest

from pytest_nsisolate.compat import fixtures
from pytest_nsisolate.compat.builtin_plugins import flush
from pytest_nsisolate.diagnosis.probe import ProbedPool
from pytest_nsisolate.guest.crash_output import CrashOutput
from pytest_nsisolate.guest.fork import fork_guest
from pytest_nsisolate.guest.handle import Guest
from pytest_nsisolate.model.ending import Ending, Finished
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.runner.relay import Relay, is_watched
from pytest_nsisolate.sandbox.sandbox import Sandbox
from pytest_nsisolate.settings import scopes
from pytest_nsisolate.settings.scopes import Share, number_of, share_of, turn


class Lane:
    """
    A place in which one guest runs at a time, while other lanes run theirs.

    Args:
        crash_output: What can still be read when a guest of this lane has crashed.
    """

    def __init__(self, crash_output: CrashOutput) -> None:
        self.crash_output = crash_output
        #: The guest that was released last: it runs, or it is dying.
        self._guest: Guest | None = None

    def start(self, guest: Guest, word: str, *, alone: bool = False) -> None:
        """
        Release *guest* with *word*, as soon as nothing is left of the one before.

        Args:
            guest: A guest at its gate.
            word: What it is told.
            alone: Whether the one before must have been reaped, too.
        """
        # From here on it is found and ended, whatever happens.
        before, self._guest = self._guest, guest
        if before is not None:
            before.settle()
            if alone:
                before.reap()
        guest.release(word)
        if before is not None:
            before.reap()

    def resume(self, guest: Guest, word: str) -> None:
        """
        Have *guest*, which waited between two tests, go on with *word*.
        """
        self.settle()
        self._guest = guest
        guest.go_on(word)

    def vacate(self) -> None:
        """
        Leave the guest, which waits for another test, to whoever keeps it.
        """
        self._guest = None

    def settle(self) -> None:
        """
        Wait until nothing is left of the guest that was released last.
        """
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.settle()
            guest.reap()

    def close_inherited(self) -> None:
        """
        In a guest: close what the supervisor has of another guest.
        """
        if self._guest is not None:
            self._guest.close_inherited()


@dataclasses.dataclass(slots=True, eq=False)
class Group:
    """
    Tests that share a guest or a sandbox, which is kept between two of them.
    """

    share: Share
    """What the tests have in common."""
    last: pytest.Item
    """The test that ran last."""
    kept: Guest | Sandbox
    """A guest between two tests; with ``fork=True``, the sandbox."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ahead:
    """
    A guest that was forked before its turn and waits at its gate.
    """

    item: pytest.Item
    """Its test."""
    failed: int
    """How many tests had failed when it was forked."""
    guest: Guest


@dataclasses.dataclass(frozen=True, slots=True)
class Fork:
    """
    A fork that is being made: in the guest, what it was made for.
    """

    item: pytest.Item
    """The test, or the first of those that share the guest."""
    sandbox: Sandbox
    """Where the guest is. Its descriptors are closed there."""
    lane: Lane
    """Where the guest is to run."""


class Scheduler:
    """
    The guests of one session.

    Args:
        config: The session's.
        relay: Gets ready for each fork.
    """

    def __init__(self, config: pytest.Config, relay: Relay) -> None:
        self.pool = ProbedPool()
        #: The fork that was begun last; None before the first.
        self.forking: Fork | None = None
        self._config = config
        self._relay = relay
        #: The first is made with the first fork: it takes what only Linux has.
        self._lanes: list[Lane] = []
        self._ahead: Ahead | None = None
        self._groups: list[Group] = []

    def has_guest(self, item: pytest.Item) -> bool:
        """
        Say whether the guest of *item* is there already, since other tests share it.
        """
        group = self._group_of(item)
        return group is not None and isinstance(group.kept, Guest)

    def take(
        self, item: pytest.Item, nextitem: pytest.Item | None, spec: Spec
    ) -> Guest:
        """
        Return the guest of *item*, released.

        Raises:
            Refused: It cannot be had.
            LauncherGone: Its sandbox was killed; another one may do.
            InGuest: In the guest.
        """
        for lane in self._lanes:
            lane.crash_output.clear()
        share = share_of(item)
        group = self._group_of(item)
        word = number_of(nextitem)
        if share is not None and not spec.fork:
            word = turn(item, nextitem, scopes.following(item, nextitem))
            if group is not None:
                return self.resume(group, word)
        guest = self._take_ahead(item) if share is None else None
        if guest is None and share is not None and spec.fork:
            guest = self._fork(item, self._shared_sandbox(group, share, item).lend())
            guest.lent = True
        elif guest is None:
            guest = self._fork(item, self.pool.take(spec))
            guest.may_pause = share is not None
        self._lane().start(guest, word, alone=spec.nproc is not None)
        return guest

    def prepare_next(
        self, item: pytest.Item, nextitem: pytest.Item, spec: Spec
    ) -> None:
        """
        Do for *nextitem*, which asks for *spec*, what can be done while *item* runs.
        """
        own, next_one = share_of(item), share_of(nextitem)
        if own is None and next_one is None:
            self.pool.prepare(spec)
            if is_fork_ahead_safe(item, nextitem):
                with contextlib.suppress(Refused):
                    failed = nextitem.session.testsfailed
                    guest = self._fork(nextitem, self.pool.take(spec))
                    self._ahead = Ahead(nextitem, failed, guest)
                    if spec.nproc is None:
                        # Tests in a row mostly ask for the same.
                        self.pool.prepare(spec)
        elif own != next_one and self._group_of(nextitem) is None:
            self.pool.prepare(spec)

    def keep(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        guest: Guest,
        ended: Ending,
        grace: float,
    ) -> bool:
        """
        Keep what *item* shares with the next test, if there is one; say if so.

        Otherwise what it shared ends here, and a sandbox that outlived its guests is
        audited for the last of them.

        Args:
            item: The test, which is over.
            nextitem: The one that pytest runs next.
            guest: Its guest.
            ended: How that ended.
            grace: Seconds that processes in the sandbox have to end.
        """
        share = share_of(item)
        if share is None:
            return False
        if guest.waits:
            for lane in self._lanes:
                lane.vacate()
            self._groups.append(Group(share, item, guest))
            return True
        group = self._group_of(item)
        if group is None or not isinstance(group.kept, Sandbox):
            return False
        group.last = item
        if ended == Finished():
            if scopes.following(item, nextitem) is not None:
                return True
            guest.audit(group.kept, grace)
        self.bury(group)
        return False

    def crash_output(self) -> dict[str, str]:
        """
        Return what can still be read of a guest that crashed, by stream.
        """
        return self._lanes[0].crash_output.read() if self._lanes else {}

    def left_behind(self, item: pytest.Item | None) -> list[Group]:
        """
        Return the groups that are over, since *item* comes next; without one, all.
        """
        chain = [] if item is None else item.listchain()
        return [group for group in self._groups if group.share.node not in chain]

    def resume(self, group: Group, word: str) -> Guest:
        """
        Have the kept guest of *group* go on with *word*, and return it.
        """
        assert isinstance(group.kept, Guest)
        self._groups.remove(group)
        self._lane().resume(group.kept, word)
        return group.kept

    def bury(self, group: Group) -> None:
        """
        End what *group* keeps, and wait until nothing of it is left.
        """
        self._groups.remove(group)
        if isinstance(group.kept, Guest):
            group.kept.settle()
            group.kept.reap()
        else:
            group.kept.close()

    def settle(self) -> None:
        """
        Wait until nothing is left of guests whose tests are over.
        """
        for lane in self._lanes:
            lane.settle()

    def quiesce(self) -> None:
        """
        End everything that a test on the host would see.
        """
        self.settle()
        self._drop_ahead()
        if not self._groups:
            self.pool.stop()

    def close(self) -> None:
        """
        End every process, and free what the lanes have.
        """
        self.quiesce()
        for lane in self._lanes:
            lane.crash_output.close()

    def close_inherited(self) -> None:
        """
        In a guest: close everything that was inherited from the supervisor.
        """
        self.pool.close_inherited()
        for lane in self._lanes:
            lane.close_inherited()
        if self._ahead is not None:
            self._ahead.guest.close_inherited()
        for group in self._groups:
            group.kept.close_inherited()

    def _lane(self) -> Lane:
        """
        Return the lane for the next test.

        Raises:
            Refused: It cannot have what it needs.
        """
        if not self._lanes:
            keep_output = self._config.getoption("capture", "no") in {"sys", "tee-sys"}
            try:
                self._lanes.append(Lane(CrashOutput(keep_output=keep_output)))
            except OSError as error:
                raise Refused.from_os_error(error, "memfd_create()") from None
        return self._lanes[0]

    def _fork(self, item: pytest.Item, sandbox: Sandbox) -> Guest:
        """
        Fork the guest of *item* into *sandbox*, where it waits at its gate.
        """
        lane = self._lane()
        flush(self._config)
        self._relay.prepare(item)
        self.forking = Fork(item, sandbox, lane)
        return fork_guest(sandbox)

    def _shared_sandbox(
        self, group: Group | None, share: Share, item: pytest.Item
    ) -> Sandbox:
        """
        Return the sandbox of *group*, or a new one that *item* is the first to share.
        """
        if group is None:
            group = Group(share, item, self.pool.take(share.spec))
            self._groups.append(group)
        assert isinstance(group.kept, Sandbox)
        return group.kept

    def _group_of(self, item: pytest.Item) -> Group | None:
        """
        Return the group that keeps something for *item*, if it is alive.
        """
        share = share_of(item)
        for group in self._groups:
            if share == group.share:
                if group.kept.is_alive():
                    return group
                self.bury(group)
                break
        return None

    def _take_ahead(self, item: pytest.Item) -> Guest | None:
        """
        Return the guest that was forked ahead for *item*, if it will still do.
        """
        ahead = self._ahead
        if ahead is None:
            return None
        # A dead one was killed from outside: its test has not begun.
        if (
            ahead.item is item
            and ahead.failed == item.session.testsfailed
            and ahead.guest.is_alive()
        ):
            self._ahead = None
            return ahead.guest
        self._drop_ahead()
        return None

    def _drop_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.guest.settle()
            ahead.guest.reap()


def is_fork_ahead_safe(item: pytest.Item, nextitem: pytest.Item) -> bool:
    """
    Say whether a fork for *nextitem* made while *item* runs is as good as one later.

    A fork is a copy of the supervisor as it is then. Made ahead, it lacks what the
    supervisor does between two tests; so this is done only where that is plainly
    nothing that the next test could notice. In doubt the answer is no, and all that is
    lost is time.
    """
    return (
        # A thread, as of a server in a session fixture, goes on changing things.
        threading.active_count() == 1
        and not is_skippable(nextitem)
        and fixtures.is_all_set_up(nextitem)
        and _filters(item) == _filters(nextitem)
        and not is_watched(item)
        and not is_watched(nextitem)
    )


def is_skippable(item: pytest.Item) -> bool:
    """
    Say whether a mark may have *item* skipped before it is forked.
    """
    return any(mark.name in {"skip", "skipif"} for mark in item.iter_markers())


def _filters(item: pytest.Item) -> list[tuple[object, ...]]:
    # pytest has those of a test in force all through its protocol, here too.
    return [mark.args for mark in item.iter_markers("filterwarnings")]
