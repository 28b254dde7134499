"""
The scheduler of a session's guests: those forked ahead, running, dying or waiting.

It alone forks, releases and ends guests, and so knows what state each one is in. To
save time it forks the next guest while a test still runs, where that is safe, and while
the guest before it dies. But it releases a guest only when nothing is left of the one
before it in the same lane.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from pickle import dumps
from typing import NamedTuple, TypeAlias

import pytest

from pytest_nsisolate.compat import fixtures
from pytest_nsisolate.compat.builtin_plugins import flush
from pytest_nsisolate.diagnosis.probe import ProbedPool
from pytest_nsisolate.guest.crash_output import CrashOutput
from pytest_nsisolate.guest.fork import fork_guest
from pytest_nsisolate.guest.handle import Guest, Others, makes_way
from pytest_nsisolate.guest.interrupt import Interrupts
from pytest_nsisolate.guest.zygote import Zygote, can_serve
from pytest_nsisolate.linux.hot_pages import HotPages
from pytest_nsisolate.model.ending import Ending, Finished
from pytest_nsisolate.model.errors import Known, Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.reporting import memory
from pytest_nsisolate.reporting.shortage import Shortage
from pytest_nsisolate.reporting.witness import Witness
from pytest_nsisolate.runner.jobs import number_of_jobs
from pytest_nsisolate.runner.lanes import Lane
from pytest_nsisolate.runner.relay import Relay, is_watched, locate
from pytest_nsisolate.runner.side_lanes import SideLanes
from pytest_nsisolate.runner.window import is_skippable
from pytest_nsisolate.sandbox.sandbox import LauncherGone, Sandbox
from pytest_nsisolate.settings import directories, scopes
from pytest_nsisolate.settings.scopes import Share, number_of, share_of, turn


@dataclasses.dataclass(slots=True, eq=False)
class Group:
    """
    Tests that share a guest or a sandbox, and what is kept between two of them.
    """

    share: Share
    """The node and the spec that the tests have in common."""
    last: pytest.Item
    """The test that ran last."""
    kept: Guest | Sandbox
    """The guest, which waits between two tests; with ``fork=True``, the sandbox."""


class Ahead(NamedTuple):
    """
    A guest that was forked before its turn, and waits at its gate.
    """

    item: pytest.Item
    """The test of the guest."""
    state: tuple[int, int]
    """What `_state` was when it was forked."""
    guest: Guest


class Source(NamedTuple):
    """
    A zygote, and what the supervisor was like when it forked it.
    """

    zygote: Zygote
    spec: Spec
    """The spec of the first test."""
    state: tuple[int, int]
    """What `_state` was."""
    plugins: object
    """What `Relay.plugins` was."""


#: What a guest of the zygote is to do: the number of its test; whether this waits until
#: its reports have been logged; and its spec, pickled, if it is not that of the test
#: for which the zygote was forked; the number of its lane.
Errand: TypeAlias = "tuple[str, bool, bytes | None, int | None]"


class Fork(NamedTuple):
    """
    A fork in progress: tells the guest what it was forked for.
    """

    item: pytest.Item
    """The test, or the first of those that share the guest."""
    sandbox: Sandbox
    """The sandbox of the guest, in which its descriptors are closed."""
    lane: Lane
    """The lane in which the guest runs."""


class Scheduler:
    """
    Forks, releases, keeps and ends the guests of a session.

    Args:
        config: The configuration of the session.
        relay: Is prepared before each fork.
        interrupts: Ends the wait for a free lane.
        witness: Is told what guests do before their turns.
    """

    def __init__(
        self,
        config: pytest.Config,
        relay: Relay,
        interrupts: Interrupts,
        witness: Witness,
    ) -> None:
        self.pool = ProbedPool(lambda: directories.of_session(config))
        #: The latest fork; None before the first.
        self.forking: Fork | None = None
        self._config = config
        self._relay = relay
        self._interrupts = interrupts
        self._witness = witness
        #: It is made for the first fork: it needs memfd_create(2).
        self._lane: Lane | None = None
        #: The lanes beside it, from the first test on; None if tests run one after the
        #: other.
        self._side: SideLanes | None = None
        self._has_begun = False
        self._ahead: Ahead | None = None
        self._source: Source | None = None
        self._hot_pages = HotPages()
        #: Zygotes that fork no more, and were not waited for yet.
        self._dismissed: list[Zygote] = []
        #: Whether a zygote was killed, or could not serve. There will be no other.
        self._has_lost_zygote = False
        self._groups: list[Group] = []
        #: What `_state` was before the test that runs.
        self._state = (0, 0)

    def has_guest(self, item: pytest.Item) -> bool:
        """
        Say whether *item* runs in a guest that other tests have used before it.
        """
        group = self._group_of(item)
        return group is not None and isinstance(group.kept, Guest)

    def take(
        self, item: pytest.Item, nextitem: pytest.Item | None, spec: Spec
    ) -> Guest:
        """
        Return the guest of *item*, released: forked now or ahead, or a shared one.

        Args:
            item: The test.
            nextitem: The test that pytest runs next.
            spec: What *item* asks for.

        Raises:
            Refused: The sandbox or the fork was refused.
            LauncherGone: Something killed the sandbox; another one may work.
            InGuest: In the guest.
        """
        if not self._has_begun:
            self._has_begun = True
            jobs = number_of_jobs(self._config)
            self._witness.begin(jobs)
            if jobs > 1:
                self._side = SideLanes(
                    self._config, jobs, self._fork_beside, self._witness
                )
        if self._side is not None:
            guest = self._side.take(item)
            if guest is None:
                self._side.make_room(item, spec, self._interrupts.fd)
                guest = self._side.take(item)
            if guest is not None:
                return guest
        if self._lane is not None:
            self._lane.crash_output.clear()
        share = share_of(item)
        group = self._group_of(item)
        word = number_of(nextitem)
        if share is not None and not spec.fork:
            waits = self._relay.is_synchronous(item)
            kept = scopes.following(item, nextitem)
            word = turn(item, nextitem, kept, waits=waits)
            if group is not None:
                return self.resume(group, word)
        guest = self._take_ahead(item) if share is None else None
        if guest is None:
            # Only tests in a row are known to find what the first of them found.
            self._drop_source()
        if guest is None and share is not None and spec.fork:
            guest = self._fork(item, self._shared_sandbox(group, share, item).lend())
            guest.lent = True
        elif guest is None:
            guest = self._fork(item, self.pool.take(spec))
            guest.may_pause = share is not None
        self._own_lane().start(guest, word, alone=spec.nproc is not None)
        return guest

    def forgo(self, item: pytest.Item) -> None:
        """
        End the guest of *item*, which is not to run after all, if it has started.
        """
        if self._side is not None:
            self._side.forgo(item)

    def prepare_next(
        self, item: pytest.Item, nextitem: pytest.Item, spec: Spec
    ) -> None:
        """
        While *item* runs, prepare a sandbox for *nextitem*, and a guest where safe.

        Args:
            item: The test that runs.
            nextitem: The test that pytest runs next.
            spec: What *nextitem* asks for.
        """
        own, next_one = share_of(item), share_of(nextitem)
        if own is None and next_one is None:
            self.pool.prepare(spec)
            state = _state(nextitem)
            # If each test leaves something, a guest that is forked ahead is of no use.
            is_steady, self._state = state == self._state, state
            if is_steady and is_fork_ahead_safe(item, nextitem):
                with contextlib.suppress(Refused):
                    lane = self._own_lane()
                    guest = self._fork_ahead(nextitem, spec, state, lane)
                    self._ahead = Ahead(nextitem, state, guest)
                    if spec.nproc is None:
                        # The test after that will most likely ask for the same.
                        self.pool.prepare(spec)
        elif own != next_one and self._group_of(nextitem) is None:
            self.pool.prepare(spec)

    def beside(self, item: pytest.Item, spec: Spec, guest: Guest) -> Others | None:
        """
        Run others beside *item*, whose turn it is; None if none may.

        Args:
            item: The test.
            spec: What it asks for.
            guest: Its guest.

        Raises:
            InFork: In a fork.
        """
        if self._side is None:
            return None
        return self._side if self._side.begin_turn(item, spec, guest) else None

    def make_way(self, item: pytest.Item, spec: Spec, refused: Refused) -> bool:
        """
        Wait until no test runs beside *item*, and say if it is worth to try it again.

        Args:
            item: The test.
            spec: What it asks for.
            refused: What it was refused.
        """
        if (
            self._side is None
            or isinstance(refused, Known)
            or not self._side.make_way(item, refused, self._interrupts.fd)
        ):
            return False
        self.pool.forget(spec)
        self.give_way()
        if not self._side.is_used:
            # Each is a process more, until it has seen that it is dismissed. It would
            # leave this guest to the process above, which may take seconds to reap it.
            self._drop_ahead()
            self._close_dismissed()
        return True

    def confirm(self, item: pytest.Item) -> None:
        """
        Note that *item* has run.
        """
        if self._side is not None:
            self._side.confirm(item)

    @property
    def shortage(self) -> Shortage | None:
        """
        Why fewer tests run side by side than were asked for; None if as many do.
        """
        return None if self._side is None else self._side.shortage

    def keep(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        guest: Guest,
        ended: Ending,
        grace: float,
    ) -> bool:
        """
        Keep the guest or sandbox that *item* shares with a later test, if it does.

        If no later test needs a shared sandbox, it ends here; its audit is noted in
        *guest*, the last that ran there.

        Args:
            item: The test, which is over.
            nextitem: The test that pytest runs next.
            guest: The guest of *item*.
            ended: How the guest ended.
            grace: Seconds that processes in the sandbox have to end.

        Returns:
            Whether something is kept.
        """
        share = share_of(item)
        if share is None:
            return False
        if guest.waits:
            if self._lane is not None:
                self._lane.vacate()
            self._groups.append(Group(share, item, guest))
            return True
        group = self._group_of(item)
        if group is None or not isinstance(group.kept, Sandbox):
            return False
        group.last = item
        if makes_way(ended):
            return True
        if ended == Finished():
            if scopes.following(item, nextitem) is not None:
                return True
            guest.audit(group.kept, grace)
        # The sandbox waits for it.
        guest.settle()
        guest.reap()
        self.bury(group)
        return False

    def drain(self) -> None:
        """
        Wait until no test runs beside the one whose turn it is.
        """
        if self._side is not None:
            self._side.drain(self._interrupts.fd)

    def crash_output(self, guest: Guest | None) -> dict[str, str]:
        """
        Return what *guest*, which crashed, had printed, by stream.
        """
        if guest is not None and guest.early is not None:
            assert self._side is not None
            return guest.early.output or self._side.output_of(guest)
        return {} if self._lane is None else self._lane.crash_output.read()

    def groups_without(self, item: pytest.Item | None) -> list[Group]:
        """
        Return the groups that *item* is not in; without a test, all groups.
        """
        chain = [] if item is None else item.listchain()
        return [group for group in self._groups if group.share.node not in chain]

    def resume(self, group: Group, word: str) -> Guest:
        """
        Send *word* to the guest that *group* keeps, and return that guest.
        """
        assert isinstance(group.kept, Guest)
        self._groups.remove(group)
        self._own_lane().resume(group.kept, word)
        return group.kept

    def bury(self, group: Group) -> None:
        """
        End what *group* keeps, and wait until nothing is left of it.
        """
        self._groups.remove(group)
        if isinstance(group.kept, Guest):
            group.kept.settle()
            group.kept.reap()
        else:
            group.kept.close()

    def settle(self) -> None:
        """
        End the guests whose tests are over, and wait until nothing is left of them.
        """
        if self._lane is not None:
            self._lane.settle()
        if self._side is not None:
            self._side.settle()

    def abandon(self) -> None:
        """
        End the guests whose turn has not come: the session stops before that.
        """
        if self._side is not None:
            self._side.abandon()
        self._drop_ahead()

    def give_way(self) -> None:
        """
        Settle, and have the zygote fork no more: the supervisor is about to change.
        """
        self.settle()
        self._drop_source()

    def quiesce(self) -> None:
        """
        End every process that a test on the host would see, but those of groups.
        """
        self.give_way()
        self.abandon()
        self._close_dismissed()
        if not self._groups:
            self.pool.stop()

    def close(self) -> None:
        """
        End every process, and close the files of the lanes.
        """
        self.quiesce()
        if self._lane is not None:
            self._lane.crash_output.close()
        if self._side is not None:
            self._side.close()

    def lane(self, number: int) -> Lane:
        """
        Return the lane beside with this *number*.
        """
        assert self._side is not None
        return self._side.lane(number)

    def close_other_lanes(self, lane: Lane) -> None:
        """
        Close, in a guest that runs in *lane*, the files of the others.
        """
        if self._side is not None:
            self._side.close_others(lane)
        if self._lane not in {None, lane}:
            self._lane.crash_output.close()

    def close_inherited(self) -> None:
        """
        Close, in a guest, all descriptors inherited from the supervisor.
        """
        self.pool.close_inherited()
        if self._lane is not None:
            self._lane.close_inherited()
        if self._side is not None:
            self._side.close_inherited()
        if self._ahead is not None:
            self._ahead.guest.close_inherited()
        if self._source is not None:
            self._source.zygote.close_inherited()
        for zygote in self._dismissed:
            zygote.close_inherited()
        for group in self._groups:
            group.kept.close_inherited()

    def _own_lane(self) -> Lane:
        """
        Return the lane that uses pytest's own files.

        Raises:
            Refused: There is no memory for its crash output.
        """
        if self._lane is None:
            keep_output = self._config.getoption("capture", "no") in {"sys", "tee-sys"}
            try:
                self._lane = Lane(CrashOutput(keep_output=keep_output))
            except OSError as error:
                raise Refused.from_os_error(error) from None
        return self._lane

    def _fork(self, item: pytest.Item, sandbox: Sandbox) -> Guest:
        """
        Return a guest of *item* in *sandbox*, forked now: it waits at its gate.
        """
        self._relay.prepare(item)
        return self._fork_prepared(item, sandbox, self._own_lane())

    def _fork_prepared(self, item: pytest.Item, sandbox: Sandbox, lane: Lane) -> Guest:
        """
        Do so after the relay has been prepared.
        """
        self._begin_fork(item, sandbox, lane)
        return fork_guest(sandbox)

    def _begin_fork(self, item: pytest.Item, sandbox: Sandbox, lane: Lane) -> None:
        flush(self._config)
        self.forking = Fork(item, sandbox, lane)

    def _fork_beside(self, item: pytest.Item, spec: Spec, lane: Lane) -> Guest:
        """
        Return a guest of *item*, which is to run in *lane* beside others.

        Raises:
            As for `_fork_ahead`.
        """
        # What hooks keep is of no account, or tests would run one after the other.
        state = item.session.testsfailed, 0
        guest = self._fork_ahead(item, spec, state, lane)
        # The next one will most likely ask for the same.
        self.pool.prepare(spec)
        return guest

    def _fork_ahead(
        self, item: pytest.Item, spec: Spec, state: tuple[int, int], lane: Lane
    ) -> Guest:
        """
        Return a guest of *item*, forked while another test runs, by a zygote if safe.

        Raises:
            Refused: The sandbox or the fork was refused.
            InGuest: In the guest.
            InZygote: In the zygote.
        """
        try:
            sandbox = self.pool.take(spec)
        except LauncherGone:
            # With the user namespace in which the zygote is.
            self._drop_source()
            raise
        self._relay.prepare(item)
        source = self._source_for(item, spec, state, sandbox, lane)
        if source is None:
            return self._fork_prepared(item, sandbox, lane)
        own_spec = None if spec is source.spec else dumps(spec)
        waits = self._relay.synchronous and lane.number is None
        try:
            process = source.zygote.fork(
                sandbox, (number_of(item), waits, own_spec, lane.number)
            )
        except OSError:
            self._drop_source()
            return self._fork_prepared(item, sandbox, lane)
        return Guest(sandbox=sandbox, process=process)

    def _source_for(
        self,
        item: pytest.Item,
        spec: Spec,
        state: tuple[int, int],
        sandbox: Sandbox,
        lane: Lane,
    ) -> Source | None:
        """
        Return the zygote for a guest of *item*, None if none is to be.

        Raises:
            InZygote: In the zygote.
        """
        source = self._source
        # With nproc=, it is one process more of this user.
        is_good = spec.nproc is None and can_serve() and threading.active_count() == 1
        if source is not None and not (
            is_good
            and source.state == state
            and source.plugins is self._relay.plugins
            and source.zygote.user_namespace is sandbox.user_namespace
            and not source.zygote.has_ended()
        ):
            self._drop_source()
        if self._source is None and is_good and not self._has_lost_zygote:
            locate(scopes.onwards(item))
            self._begin_fork(item, sandbox, lane)
            with contextlib.suppress(Refused):
                zygote = Zygote(sandbox, self._hot_pages)
                self._source = Source(zygote, spec, state, self._relay.plugins)
        return self._source

    def _shared_sandbox(
        self, group: Group | None, share: Share, item: pytest.Item
    ) -> Sandbox:
        """
        Return the sandbox of *group*, or that of a new group, if there is none yet.
        """
        if group is None:
            group = Group(share, item, self.pool.take(share.spec))
            self._groups.append(group)
        assert isinstance(group.kept, Sandbox)
        return group.kept

    def _group_of(self, item: pytest.Item) -> Group | None:
        """
        Return the group of *item*, if what it keeps is still alive.
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
        Return the guest that was forked ahead for *item*, if it is still good.
        """
        ahead = self._ahead
        if ahead is None:
            return None
        # Only something outside can have killed it: its test has not begun.
        if (
            ahead.item is item
            and ahead.state == _state(item)
            and ahead.guest.is_alive()
        ):
            self._ahead = None
            return ahead.guest
        self._drop_ahead()
        return None

    def _drop_source(self) -> None:
        """
        Have no more guests forked by the zygote, which may still have one that runs.
        """
        source, self._source = self._source, None
        if source is not None:
            self._has_lost_zygote |= source.zygote.has_ended()
            source.zygote.dismiss()
            self._dismissed.append(source.zygote)
        for zygote in [one for one in self._dismissed if one.has_ended()]:
            self._dismissed.remove(zygote)
            zygote.close()

    def _close_dismissed(self) -> None:
        """
        End the zygotes that fork no more, and the guests that they have forked.
        """
        while self._dismissed:
            self._dismissed.pop().close()

    def _drop_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.guest.settle()
            ahead.guest.reap()


def is_fork_ahead_safe(item: pytest.Item, nextitem: pytest.Item) -> bool:
    """
    Say whether a fork for *nextitem* made while *item* runs is as good as a later one.

    A fork is a copy of the supervisor at that moment. One made ahead misses whatever
    the supervisor does between the two tests, so it is safe only where the next test
    clearly cannot notice that. If in doubt the answer is no, which costs only time.
    """
    return (
        # A thread, as of a server in a session fixture, changes things all the time.
        threading.active_count() == 1
        and not is_skippable(nextitem)
        and fixtures.is_all_set_up(nextitem)
        and _filters(item) == _filters(nextitem)
        and not is_watched(item)
        and not is_watched(nextitem)
    )


def _state(item: pytest.Item) -> tuple[int, int]:
    """
    Return what tells whether other tests have left something that *item* may see.
    """
    kept = item.config.stash.get(memory.key, None)
    return item.session.testsfailed, 0 if kept is None else kept.version


def _filters(item: pytest.Item) -> list[tuple[object, ...]]:
    # pytest applies them around the whole protocol of a test, in the supervisor too.
    return [mark.args for mark in item.iter_markers("filterwarnings")]
