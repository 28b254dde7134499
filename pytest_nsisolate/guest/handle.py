"""
The handle of the supervisor on a guest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import signal
import threading
from collections.abc import Callable
from typing import Protocol

from pytest_nsisolate.guest.channel import WORD_LENGTH
from pytest_nsisolate.guest.deadline import Deadline, expire
from pytest_nsisolate.guest.deadlock import DEADLOCK_SIGNAL, Watch
from pytest_nsisolate.guest.entry import InFork
from pytest_nsisolate.guest.interrupt import Interrupts
from pytest_nsisolate.guest.messages import (
    BasetempRequest,
    Done,
    EntryRefused,
    Envelope,
    Garbled,
    GuestMessage,
    LimitRefused,
    Paused,
    TerminalTaken,
    TestMessage,
    Texts,
    TurnAwaited,
)
from pytest_nsisolate.guest.process import GuestProcess
from pytest_nsisolate.launcher.audit import Facts
from pytest_nsisolate.linux.stdlib import os, select, time
from pytest_nsisolate.model import ending
from pytest_nsisolate.model.ending import Ending, Exited, Killed
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.sandbox.sandbox import LauncherGone, Sandbox, TakenId

# Windows lacks these modules, and has no guests either.
with contextlib.suppress(ImportError):
    import fcntl
    import termios


#: How often to look whether a guest has passed its gate, in milliseconds.
_GLANCE = 2


#: How many bytes a guest may send before its turn. One that has more to say waits.
_EARLY = 1 << 20


class Others(Protocol):
    """
    The guests that run beside the one whose turn it is.
    """

    @property
    def fd(self) -> int:
        """A descriptor that is readable when one of them has something to say."""

    def patience(self) -> float | None:
        """
        Return how many milliseconds they can be left alone; None for no end.
        """

    def attend(self) -> None:
        """
        Take in what they say, and start others in the place of those that have ended.
        """


class Hear(Protocol):
    """
    A function that acts on a message of a test and returns the answer, if any.
    """

    def __call__(
        self, message: TestMessage, *, synchronous: bool, texts: Texts
    ) -> str | None:
        """
        Act on *message*. If it is *synchronous*, the guest waits for the answer.

        What *texts* names is text in place of what the guest could not send.
        """


@dataclasses.dataclass(slots=True, kw_only=True)
class Early:
    """
    What happens to a guest that runs beside others before its turn comes.
    """

    deadline: Deadline
    """Its time limit, which begins when it does."""
    grace: float | None
    """As for `Guest.listen`."""
    number: int = 0
    """How many of its messages have been seen."""
    is_silent: bool = False
    """Whether nothing more can come over the channel."""
    is_held: bool = False
    """Whether it waits for its turn, for now it would write past pytest, read from the
    terminal, or say more than may be kept."""
    ending: Ending | None = None
    """How it ended, if it has."""
    output: dict[str, str] | None = None
    """What it printed in the phase in which it ended, if it did not finish."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Guest:
    """
    The supervisor's handle on a guest.
    """

    sandbox: Sandbox
    process: GuestProcess[GuestMessage]
    """The process, with the supervisor's ends of channel and gate."""
    absent: tuple[threading.Thread, ...] = ()
    """The threads that pytest had besides when it forked the guest."""
    interrupted: bool = False
    """Whether it was interrupted: SIGINT has been sent, or is about to be."""
    is_interrupt_due: bool = False
    """Whether SIGINT is still to be sent, when the guest has passed its gate."""
    left: Facts | None = None
    """What the audit found in the sandbox after the guest ended, None without one."""
    settled: bool = False
    """Whether the sandbox is empty, or no longer the guest's."""
    is_released: bool = False
    """Whether the supervisor has released it."""
    since: float | None = None
    """When it was released, on the monotonic clock."""
    has_spoken: bool = False
    """Whether it has sent a message of its test."""
    lent: bool = False
    """Whether its sandbox is lent to it, and outlives it if it finishes."""
    may_pause: bool = False
    """Whether it runs one test after another, and so may wait between two of them."""
    waits: bool = False
    """Whether it waits at its gate between two of its tests."""
    is_reused: bool = False
    """Whether it has run a test before this one."""
    garbled: str = ""
    """What arrived over the channel and is not a message, if anything did."""
    is_over: bool = False
    """Whether it has ended, and its sandbox with it."""
    early: Early | None = None
    """What has happened before its turn, if it ran beside others."""

    @property
    def is_held(self) -> bool:
        """Whether it waits for its turn."""
        return self.early is not None and self.early.is_held

    def is_alive(self) -> bool:
        """
        Say whether the direct fork of the supervisor still runs.
        """
        return not self.process.has_ended()

    def release(self, word: str = "-") -> None:
        """
        Open the gate, so that the guest, which waits there, continues with *word*.

        Raises:
            Garbled: The guest sends requests and does not read the answers.
        """
        data = word.encode("utf-8", "surrogateescape")
        if not self.is_released:
            self.since = time.monotonic()
        try:
            # A word is at most a path, which fits into the pipe.
            os.write(self.process.gate, WORD_LENGTH.pack(len(data)) + data)
            self.is_released = True
        except BrokenPipeError:
            return
        except BlockingIOError:
            raise Garbled("many requests whose answers nobody reads") from None

    def go_on(self, word: str) -> None:
        """
        Let the guest, which waits between two tests, continue with *word*.
        """
        self.waits = self.has_spoken = self.is_released = False
        self.interrupted = self.is_interrupt_due
        self.is_reused = True
        self.release(word)

    def listen(
        self,
        hear: Hear,
        interrupts: Interrupts,
        deadline: Deadline | None = None,
        grace: float | None = None,
        others: Others | None = None,
    ) -> Ending:
        """
        Pass each message to *hear* until the guest has ended.

        What it has said before its turn comes first.

        Args:
            hear: Acts on a message and returns the answer, if any.
            interrupts: The first one goes to the guest, where the test can handle it as
                it would without isolation. A second one interrupts the supervisor.
            deadline: When to end the guest; None for never.
            grace: How many seconds the processes in the sandbox have to end before the
                audit; None for no audit.
            others: The guests that run beside this one.

        After that everything in the sandbox has been sent SIGKILL, and `settle` waits
        for its end. But a guest that waits for another test lives on, and so does a
        sandbox that was lent, if the guest finished or makes way for another.
        """
        try:
            ended = self._hear_until_end(
                hear, interrupts, deadline or Deadline(None), others
            )
        except InFork:
            # In the guest of another test.
            raise
        except BaseException:
            self.settle()
            self.reap()
            raise
        if self.is_over:
            return self.reap() if ended is None else ended
        return self._conclude(ended, grace)

    def _conclude(self, ended: Ending | None, grace: float | None) -> Ending:
        """
        End the sandbox of a guest that is done or dead, and return how the guest ended.

        Args:
            ended: What the guest or its deadline gave; None if neither did.
            grace: As for `listen`.
        """
        if self.waits:
            return ending.Finished()
        if self.is_interrupt_due:
            # The guest ended before it could have it.
            self.settle()
            self.reap()
            raise KeyboardInterrupt
        if isinstance(ended, ending.NeverStarted):
            ended = ending.NeverStarted(self.sandbox.classify(ended.refused))
        if (
            self.lent
            and ended is not None
            and (ended == ending.Finished() or makes_way(ended))
        ):
            self._end_alone()
            return ended
        if grace is not None and not isinstance(ended, ending.NeverStarted):
            self.left = self.sandbox.audit(grace)
        self.sandbox.kill()
        self.is_over = True
        return self._see_end() if ended is None else ended

    def overhear(self, basetemp: Callable[[], str | None]) -> bool:
        """
        Before its turn: take in what the guest says, and say whether it is over.

        What it says is kept for `listen`. If it waits for an answer, it gets one,
        unless what it wants has to wait until its turn.

        Args:
            basetemp: Returns the base temporary directory of the session.
        """
        early = self.early
        assert early is not None
        dead = self.process.has_ended()
        if dead or not early.is_held:
            self._read_early(early)
        for envelope in list(self.process.inlet.ready)[early.number :]:
            if early.ending is not None:
                # What comes after that is of no account.
                break
            early.number += 1
            match envelope.message:
                case Done() | Paused():
                    early.ending = ending.Finished()
                case EntryRefused() as message:
                    refused = Refused(message.call, message.errno)
                    early.ending = ending.NeverStarted(refused)
                case LimitRefused() as message:
                    early.ending = ending.NeverStarted(message.error())
                case message:
                    self.has_spoken = True
                    if isinstance(message, TerminalTaken | TurnAwaited):
                        self._hold()
                    elif envelope.synchronous:
                        asks = isinstance(message, BasetempRequest)
                        self._answer_early(envelope, (asks and basetemp()) or "-")
        if early.ending is None and not dead and not self.garbled:
            limit = early.deadline.limit
            if limit is None or not early.deadline.is_over():
                return False
            early.ending = expire(self.process, self.sandbox, limit)
        return True

    def _read_early(self, early: Early) -> None:
        inlet = self.process.inlet
        try:
            inlet.read()
        except BlockingIOError:
            return
        except EOFError:
            early.is_silent = True
        except Garbled as garbled:
            self.garbled = str(garbled)
        if inlet.received > _EARLY:
            self._hold()

    def _hold(self) -> None:
        """
        Let the guest wait until its turn. Its clock stands still meanwhile.
        """
        assert self.early is not None
        self.early.is_held = True
        self.early.deadline.suspend()

    def _answer_early(self, envelope: Envelope[GuestMessage], answer: str) -> None:
        try:
            self.release(answer)
            envelope.answered = True
        except Garbled as garbled:
            self.garbled = str(garbled)

    def conclude_early(self) -> None:
        """
        Before its turn: end the sandbox of the guest, which is done or dead.
        """
        assert self.early is not None
        self.early.ending = self._conclude(self.early.ending, self.early.grace)

    def patience_early(self) -> float | None:
        """
        Before its turn: return how many milliseconds are left; None for no end.
        """
        return None if self.early is None else self.early.deadline.timeout()

    def catch_up(self) -> None:
        """
        Let the guest, whose turn has come, go on if it had to wait for that.
        """
        if self.early is not None and self.early.is_held:
            self.early.deadline.resume()

    def _see_end(self) -> Ending:
        """
        Return how a guest ended that did not report its end.
        """
        has_begun = self._has_begun()
        self.settle()
        ended = self.reap()
        if ended != Killed(signal.SIGKILL) or has_begun:
            return ended
        call = f"a guest {ended} before its test"
        return ending.NeverStarted(LauncherGone(call, errno.ECHILD))

    def _has_begun(self) -> bool:
        """
        Say whether the guest has passed the gate, also if it is dead.
        """
        if self.has_spoken:
            return True
        # A word that was not read is still in the pipe. Source: FIONREAD(2const).
        unread = fcntl.ioctl(
            self.process.gate, termios.FIONREAD, bytes(WORD_LENGTH.size)
        )
        return self.is_released and unread == bytes(WORD_LENGTH.size)

    def audit(self, sandbox: Sandbox, grace: float) -> None:
        """
        Record in `left` what is in *sandbox*, which outlives this guest.

        Args:
            sandbox: The sandbox that was lent to it.
            grace: How many seconds the processes in it have to end.
        """
        self.left = sandbox.audit(grace)

    def settle(self) -> None:
        """
        Kill everything in the sandbox and wait until it is gone.

        A process between the guest and the supervisor may remain: see `reap`.
        """
        if self.settled:
            return
        self.settled = self.is_over = True
        self.sandbox.kill()
        if self.process.status is None or self.process.has_ended():
            # An init ends only after all inside have been reaped. Source:
            # pid_namespaces(7), "The namespace init process". If what was between is
            # dead, perhaps by this process.
            self.reap()
        self.sandbox.close()

    def _end_alone(self) -> None:
        """
        End the guest, which is done, and leave the sandbox to its lender.
        """
        self.settled = True
        self.process.send(signal.SIGKILL)
        self.reap()
        self.sandbox.close_inherited()

    def reap(self) -> Exited | Killed:
        """
        Wait for the direct fork of the supervisor and return how the guest ended.
        """
        return self.process.reap()

    def close_inherited(self) -> None:
        """
        In another guest: close the supervisor's descriptors of this one.
        """
        self.process.close_inherited()
        if not self.settled:
            self.sandbox.close_inherited()

    def _interrupt_once(self) -> None:
        """
        Interrupt the guest, as a terminal would; the second time, interrupt here.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = self.is_interrupt_due = True

    def _send_interrupt(self) -> None:
        """
        Send the SIGINT that is due, unless the guest is still on its way to the gate.

        There it discards the signals that were sent to the group of the supervisor.
        """
        if self._has_begun():
            self.is_interrupt_due = False
            self.process.send(signal.SIGINT)

    def _hear_until_end(
        self,
        hear: Hear,
        interrupts: Interrupts,
        deadline: Deadline,
        others: Others | None,
    ) -> Ending | None:
        """
        Return the ending that the guest or its deadline gave, None if neither did.
        """
        if self.early is not None:
            try:
                ended = self._hear_all(hear)
            except Garbled as garbled:
                self.garbled = str(garbled)
                return None
            if self.is_over:
                return None if self.garbled else self.early.ending
            if ended is not None:
                return ended
        poll = select.poll()
        if others is not None:
            poll.register(others.fd, select.POLLIN)
        poll.register(self.process.inlet.fd, select.POLLIN)
        death = self.process.death()
        poll.register(death, select.POLLIN)
        poll.register(interrupts.fd, select.POLLIN)
        watch = Watch(self.absent)
        while True:
            # The check for death comes before the read: what a guest wrote before it
            # died is still in the pipe, which a fork of it may hold open for ever.
            events = poll.poll(self._patience(deadline, watch, others))
            dead = any(fd == death for fd, _ in events)
            try:
                ended = self._take_in(hear)
            except EOFError:
                ended = None
                with contextlib.suppress(KeyError):
                    poll.unregister(self.process.inlet.fd)
            except Garbled as garbled:
                self.garbled = str(garbled)
                return None
            # One read takes everything that was in the pipe, so a fork that continues
            # to write after the guest's death is ignored.
            if ended is not None or dead:
                return ended
            # Only now: a guest that is done would do nothing with it, and `interrupts`
            # raises on exit what was not taken.
            if (interrupts.fd, select.POLLIN) in events and interrupts.take():
                self._interrupt_once()
            if self.is_interrupt_due:
                self._send_interrupt()
            if deadline.limit is not None and deadline.is_over():
                return expire(self.process, self.sandbox, deadline.limit)
            if watch.is_due() and not dead and watch.sees(self.process.pid_inside()):
                self.process.send(DEADLOCK_SIGNAL)
            if others is not None:
                others.attend()

    def _patience(
        self, deadline: Deadline, watch: Watch, others: Others | None
    ) -> float | None:
        """
        Return how many milliseconds to wait for an event; None for no end.
        """
        # No event tells that a pipe has been read.
        glance = _GLANCE if self.is_interrupt_due else None
        patience = None if others is None else others.patience()
        times = (deadline.timeout(), watch.timeout(), glance, patience)
        return min((one for one in times if one is not None), default=None)

    def _take_in(self, hear: Hear) -> Ending | None:
        """
        Read once, and pass on the messages that are complete, as `_hear_all`.
        """
        try:
            self.process.inlet.read()
        except BlockingIOError:
            return None
        except Garbled:
            # The messages before it are still valid.
            ended = self._hear_all(hear)
            if ended is None:
                raise
            return ended
        return self._hear_all(hear)

    def _hear_all(self, hear: Hear) -> Ending | None:
        """
        Pass on the messages that have arrived, and return the ending, if one is given.
        """
        while self.process.inlet.ready:
            envelope = self.process.inlet.ready.popleft()
            match envelope.message:
                case Done():
                    return ending.Finished()
                case Paused():
                    if not self.may_pause:
                        raise Garbled("a pause, and no other test shares its guest")
                    self.waits = True
                    return ending.Finished()
                case EntryRefused() as message:
                    return self._never_started(Refused(message.call, message.errno))
                case LimitRefused() as message:
                    return self._never_started(message.error())
                case message:
                    self.has_spoken = True
                    answer = hear(
                        message,
                        synchronous=envelope.synchronous,
                        texts=envelope.texts,
                    )
                    if envelope.synchronous and not envelope.answered:
                        self.release(answer or "-")
        return None

    def _never_started(self, refused: Refused) -> Ending:
        if self.has_spoken:
            raise Garbled("a refusal after other messages")
        return ending.NeverStarted(refused)


def makes_way(ended: Ending) -> bool:
    """
    Say whether a guest with this ending is to be followed by another in its sandbox.
    """
    return isinstance(ended, ending.NeverStarted) and isinstance(ended.refused, TakenId)
