"""
Lanes beside the supervisor's own, with ``--nsisolate-jobs``.

There the supervisor starts tests whose turns have not come, as long as they are in the
same window. It keeps what they say, and acts on it when their turns come. So whatever
anyone sees of the tests comes in the order in which they were collected.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NamedTuple

import pytest

from pytest_nsisolate.guest.crash_output import CrashOutput
from pytest_nsisolate.guest.handle import Guest
from pytest_nsisolate.linux.stdlib import os, select
from pytest_nsisolate.model.errors import Known, Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.reporting.shortage import Shortage, too_few_descriptors
from pytest_nsisolate.reporting.witness import Witness
from pytest_nsisolate.runner.durations import Durations
from pytest_nsisolate.runner.early_guests import EarlyGuests
from pytest_nsisolate.runner.lanes import Lane
from pytest_nsisolate.runner.order import order_of
from pytest_nsisolate.runner.window import Candidate, Groups, Window, groups_of
from pytest_nsisolate.sandbox.pool import persist
from pytest_nsisolate.settings import directories
from pytest_nsisolate.settings.scopes import number_of

#: How many bytes the guests that run beside may have said together before their turns.
#: While it is more, no other guest starts.
_KEPT = 1 << 26

#: How many descriptors a lane takes: its three files, and the seven of a guest.
_EACH = 10

#: How many descriptors are left to the rest of pytest: its fixtures and plugins, and
#: the guest whose turn it is.
_SPARE = 64


class Next(NamedTuple):
    """
    A guest that waits at its gate for the next lane in which nothing runs.
    """

    test: Candidate
    guest: Guest
    lane: Lane
    """The lane that it will run in: there is one more than guests that may run."""
    word: str
    """What to send it through the gate."""


#: Forks a guest for a test, with its spec, in a lane.
ForkIn = Callable[[pytest.Item, Spec, Lane], Guest]


class SideLanes:
    """
    The lanes beside the supervisor's own, and the guests that run there.

    Args:
        config: The configuration of the session.
        jobs: How many guests may run at the same time.
        fork: Forks a guest, which then waits at its gate.
        witness: Is told what guests do before their turns.
    """

    def __init__(
        self, config: pytest.Config, jobs: int, fork: ForkIn, witness: Witness
    ) -> None:
        self._config = config
        self._fork = fork
        self._jobs = jobs
        self._witness = witness
        durations = Durations(config)
        config.pluginmanager.register(durations, "nsisolate-durations")
        self._window = Window(order_of(config), durations)
        self._lanes: list[Lane] = []
        self._early = EarlyGuests(config, witness)
        #: The guest that is to start next, if one has been forked.
        self._next: Next | None = None
        #: Whether guests are forked before there is a lane for them.
        self._looks_ahead = True
        #: The test that could not be forked before there was one.
        self._too_early: pytest.Item | None = None
        #: The test that was refused when a guest waited to start.
        self._crowded: pytest.Item | None = None
        #: What the guest in a lane shares with others, which must not run beside it.
        self._groups: dict[Lane | None, Groups] = {}
        #: The guest that runs in the supervisor's own lane, if one does.
        self._own: Guest | None = None
        #: Whether no guest is to start for the time being.
        self._is_paused = False
        #: Whether the lanes have been made, or as many of them as there is room for.
        self._are_made = False
        #: By test, what kept it from running beside others, until its turn tells
        #: whether it can run at all.
        self._refused: dict[pytest.Item, Shortage] = {}
        #: Why fewer guests run than were asked for; None if as many do.
        self.shortage: Shortage | None = None

    @property
    def fd(self) -> int:
        """As for `Others`."""
        return self._early.fd

    @property
    def is_used(self) -> bool:
        """Whether a guest runs, or waits, whose turn has not come."""
        return bool(self._early.running) or self._next is not None

    def patience(self) -> float | None:
        """
        As for `Others`.
        """
        return self._early.patience()

    def attend(self) -> None:
        """
        As for `Others`.

        Raises:
            InFork: In a fork.
        """
        self._overhear()
        self._fill()

    def take(self, item: pytest.Item) -> Guest | None:
        """
        Return the guest of *item*, whose turn has come; None if it has not started.
        """
        return self._early.take(item)

    def forgo(self, item: pytest.Item) -> None:
        """
        End the guest of *item*, whose turn has come, but which is not to run.
        """
        self._refused.pop(item, None)
        if self._next is not None and self._next.test.item is item:
            self._drop_next()
        guest = self.take(item)
        if guest is not None:
            guest.settle()
            guest.reap()
            self._witness.over(guest)

    def make_room(self, item: pytest.Item, spec: Spec, interrupts: int) -> None:
        """
        Wait until *item*, which has not started before its turn, may run.

        If a guest waits for that, it starts then: `take` returns it.

        Args:
            item: The test.
            spec: What it asks for.
            interrupts: A descriptor that is readable when this is to end early.
        """
        self._own = None
        groups = groups_of(item, spec)

        def is_room() -> bool:
            lanes = self._early.lanes_in_motion()
            is_apart = not any(groups & self._groups[lane] for lane in lanes)
            return len(lanes) < self._jobs and is_apart

        self._wait_until(is_room, interrupts)
        if self._next is not None and self._next.test.item is item:
            self._start_next(len(self._early.lanes_in_motion()))

    def drain(self, interrupts: int) -> None:
        """
        Wait until no guest goes on whose turn has not come, and start none.

        Args:
            interrupts: As for `make_room`.
        """
        self._is_paused = True
        self._wait_until(lambda: not self._early.lanes_in_motion(), interrupts)

    def make_way(self, item: pytest.Item, refused: Refused, interrupts: int) -> bool:
        """
        Wait until no test runs beside *item*, which was refused when it was its turn.

        Args:
            item: The test.
            refused: What it was refused.
            interrupts: As for `make_room`.

        Returns:
            Whether it may have been for lack of room, so that it is worth a new try.
        """
        others, has_next = self._early.running, self._next is not None
        # Lanes have descriptors also if nothing runs there.
        is_full = refused.number == errno.EMFILE and bool(self._lanes)
        if not (others or has_next or is_full or item in self._refused):
            return False
        if has_next:
            # It takes room, too, and goes first.
            self._crowded = item
            self._drop_next()
        if item not in self._refused and (is_full or not has_next):
            self._refused[item] = Shortage.of(item, refused, others)
        self.drain(interrupts)
        if is_full:
            self._reduce(self._refused[item])
        return True

    def confirm(self, item: pytest.Item) -> None:
        """
        Note that *item* has run, at its turn.

        What kept it from running before, if anything did, was the lack of room.
        """
        if item is self._crowded:
            self._stop_looking_ahead()
        shortage = self._refused.pop(item, None)
        if shortage is not None and shortage.jobs < self._jobs:
            self._reduce(shortage)

    def _reduce(self, shortage: Shortage) -> None:
        """
        From here on, have no more tests run at the same time than *shortage* allows.
        """
        self._jobs, self.shortage = shortage.jobs, shortage
        self._stop_looking_ahead()

    def _close_surplus(self) -> None:
        """
        Close the files of lanes that are not to be used any more.
        """
        wanted = self._jobs + self._looks_ahead if self._jobs > 1 else 0
        while len(self._lanes) > wanted:
            lane = self._lanes[-1]
            if self._next is not None and self._next.lane is lane:
                self._drop_next()
            if lane.guest is not None and not lane.guest.is_over:
                return
            lane.settle()
            lane.crash_output.close()
            self._lanes.pop()
        if not self._lanes:
            self._early.close()

    def _wait_until(self, condition: Callable[[], bool], interrupts: int) -> None:
        if condition():
            return
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        poll.register(interrupts, select.POLLIN)
        while not condition():
            if any(fd == interrupts for fd, _ in poll.poll(self.patience())):
                return
            self._overhear()

    def begin_turn(self, item: pytest.Item, spec: Spec, guest: Guest) -> bool:
        """
        Note that it is the turn of *item*, and run others beside it.

        Args:
            item: The test.
            spec: What it asks for.
            guest: Its guest, which runs in the supervisor's own lane, or beside.

        Returns:
            Whether others can run; not if there is no room for even one.

        Raises:
            InFork: In a fork.
        """
        # One that is tried again must find the room that was made for it.
        self._is_paused = item is self._crowded or item in self._refused
        self._window.move(item, spec)
        if not self._are_made:
            self._make_lanes(item)
        self._close_surplus()
        if not self._lanes:
            return False
        is_own = all(lane.guest is not guest for lane in self._lanes)
        self._own = guest if is_own else None
        self._groups[None] = groups_of(item, spec)
        self.attend()
        return True

    def settle(self) -> None:
        """
        Wait until nothing is left of the guests that are over.
        """
        for lane in self._lanes:
            if lane.guest is not None and lane.guest.is_over:
                lane.settle()

    def abandon(self) -> None:
        """
        End the guests whose turn has not come, and forget what they said.
        """
        self._early.abandon()
        self._drop_next()
        self.settle()

    def output_of(self, guest: Guest) -> dict[str, str]:
        """
        Return what *guest* has printed in the phase in which it ended, by stream.
        """
        for lane in self._lanes:
            if lane.guest is guest:
                return lane.crash_output.read()
        return {}

    def lane(self, number: int) -> Lane:
        """
        Return the lane with this *number*.
        """
        return self._lanes[number]

    def close(self) -> None:
        """
        End all guests, and close the files of the lanes.
        """
        self.abandon()
        for lane in self._lanes:
            lane.settle()
            lane.crash_output.close()
        self._early.close()

    def close_inherited(self) -> None:
        """
        Close, in a fork, the supervisor's descriptors for other guests.
        """
        for lane in self._lanes:
            lane.close_inherited()
        if self._next is not None:
            self._next.guest.close_inherited()
        self._early.close()

    def close_others(self, lane: Lane) -> None:
        """
        Close, in a guest that runs in *lane*, the files of the other lanes.
        """
        for one in self._lanes:
            if one is not lane:
                one.crash_output.close()

    def _busy(self) -> list[Lane | None]:
        """
        Return the lanes in which a guest runs; None stands for the supervisor's own.
        """
        busy: list[Lane | None] = [
            lane
            for lane in self._lanes
            if lane.guest is not None and not lane.guest.is_over
        ]
        if self._own is not None and not self._own.is_over:
            busy.append(None)
        return busy

    def _fill(self) -> None:
        """
        Start tests of the window, as long as there are free lanes.

        Raises:
            InFork: In a fork.
        """
        if self._is_paused:
            return
        while self._early.kept <= _KEPT:
            busy = self._busy()
            is_full = len(busy) >= self._jobs
            taken = frozenset[str]().union(*(self._groups[lane] for lane in busy))
            if self._next is not None:
                shared = taken & self._next.test.groups
                if not (is_full or shared):
                    self._start_next(len(busy))
                    continue
                if not is_full:
                    self._witness.none_starts(self._next.test.item, shared)
                return
            if is_full and not self._looks_ahead:
                return
            one = self._window.first(taken.isdisjoint)
            if one is None or (is_full and one.item is self._too_early):
                if not is_full:
                    self._witness.none_starts(*self._window.hindrance(taken))
                return
            free = next(lane for lane in self._lanes if lane not in busy)
            try:
                self._next = self._fork_next(one, free)
            except Refused as refused:
                if is_full:
                    # There may be room once another has ended.
                    self._too_early = one.item
                else:
                    self._note(one.item, refused, len(busy))
                return

    def _overhear(self) -> None:
        for item, refused, others in self._early.overhear():
            self._note(item, refused, others)

    def _note(self, item: pytest.Item, refused: Refused, others: int) -> None:
        """
        Note that *item* was refused when *others* ran, and start none until its turn.

        Then it is tried again, and the error is shown, if there is one.
        """
        if not isinstance(refused, Known):
            self._refused[item] = Shortage.of(item, refused, others)
        self._window.shut(item)

    def _make_lanes(self, item: pytest.Item) -> None:
        """
        Make the lanes, before the first guest inherits their files.

        Args:
            item: The test whose turn it is.
        """
        self._are_made = True
        refused: Refused | None = None
        try:
            self._early.open()
            limit, used = os.sysconf("SC_OPEN_MAX"), self._early.fd
            room = (
                max(0, limit - used - _SPARE) // _EACH if limit >= 0 else self._jobs + 1
            )
            if room < self._jobs:
                refused = too_few_descriptors(limit, used, _SPARE, _EACH, self._jobs)
            for one in range(min(room, self._jobs + 1)):
                output = CrashOutput(keep_output=False, captures=True)
                self._lanes.append(Lane(output, one))
        except OSError as error:
            refused = Refused.from_os_error(error)
        self._looks_ahead = len(self._lanes) > self._jobs
        if refused is not None and len(self._lanes) < self._jobs:
            self._reduce(Shortage.of(item, refused, len(self._lanes)))

    def _fork_next(self, test: Candidate, lane: Lane) -> Next:
        """
        Return the guest of *test*, which is to run in *lane*, forked.

        Raises:
            Refused: It has no sandbox, or could not be forked.
            InFork: In a fork.
        """
        if test.spec.has_directories():
            directories.check(test.spec, test.item)
        guest = persist(lambda: self._fork(test.item, test.spec, lane))
        word = number_of(self._window.start(test.item))
        return Next(test, guest, lane, word)

    def _start_next(self, others: int) -> None:
        """
        Start the guest that waits for that, while *others* run.
        """
        assert self._next is not None
        (test, guest, lane, word), self._next = self._next, None
        lane.settle()
        lane.crash_output.begin()
        lane.start(guest, word)
        self._groups[lane] = test.groups
        self._early.add(test.item, test.spec, guest, lane, others)

    def _drop_next(self) -> None:
        """
        End the guest that waits to start; its test gets another at its turn.
        """
        if self._next is not None:
            guest, self._next = self._next.guest, None
            guest.settle()
            guest.reap()

    def _stop_looking_ahead(self) -> None:
        """
        From here on, fork a guest only when there is a lane for it.
        """
        self._looks_ahead = False
        self._close_surplus()
