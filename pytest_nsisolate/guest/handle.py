"""
Guests: forks of the supervisor that entered a sandbox, as the supervisor holds them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import signal
from typing import Protocol

from pytest_nsisolate.guest.channel import WORD_LENGTH
from pytest_nsisolate.guest.deadline import Deadline, expire
from pytest_nsisolate.guest.interrupt import Interrupts
from pytest_nsisolate.guest.messages import (
    Done,
    EntryRefused,
    Garbled,
    GuestMessage,
    LimitRefused,
    Paused,
    TestMessage,
)
from pytest_nsisolate.guest.process import GuestProcess
from pytest_nsisolate.launcher.audit import Facts
from pytest_nsisolate.linux.stdlib import os, select, time
from pytest_nsisolate.model import ending
from pytest_nsisolate.model.ending import Ending, Exited, Killed
from pytest_nsisolate.model.errors import Refused, Unlimited
from pytest_nsisolate.sandbox.sandbox import LauncherGone, Sandbox

# There are none on Windows, where there are no guests either.
with contextlib.suppress(ImportError):
    import fcntl
    import termios


class Hear(Protocol):
    """
    Acts on what a guest says of its test, and returns the answer, if it wants one.
    """

    def __call__(self, message: TestMessage, *, synchronous: bool) -> str | None:
        """
        Act on *message*, whose sender waits for that if it is *synchronous*.
        """


@dataclasses.dataclass(slots=True, kw_only=True)
class Guest:
    """
    The supervisor's handle on a guest.
    """

    sandbox: Sandbox
    process: GuestProcess[GuestMessage]
    """The process itself, and the supervisor's end of the channel to it."""
    interrupted: bool = False
    """Whether it has been sent SIGINT."""
    left: Facts | None = None
    """What was in the sandbox when the guest had ended, if that was looked for."""
    settled: bool = False
    """Whether nothing is left in the sandbox."""
    was_told: bool = False
    """Whether it has been released."""
    since: float | None = None
    """When that was, by the monotonic clock."""
    was_heard: bool = False
    """Whether it has said anything of its test."""
    lent: bool = False
    """Whether its sandbox outlives it, if it finishes."""
    may_pause: bool = False
    """Whether it runs one test after another, and so may wait between two of them."""
    waits: bool = False
    """Whether it stands at its gate between two of its tests."""
    is_reused: bool = False
    """Whether it has run a test before this one."""
    garbled: str = ""
    """What came over the channel and is not a message, if anything did."""

    def is_alive(self) -> bool:
        """
        Say whether the supervisor's own fork still runs.
        """
        return self.process.is_alive()

    def release(self, word: str = "-") -> None:
        """
        Open the gate: have the guest, which waits at it, go on with *word*.

        Raises:
            Garbled: It asks and does not wait for the answers.
        """
        data = word.encode("utf-8", "surrogateescape")
        if not self.was_told:
            self.since = time.monotonic()
        try:
            # A path at most: it fits into the pipe.
            os.write(self.process.gate, WORD_LENGTH.pack(len(data)) + data)
            self.was_told = True
        except BrokenPipeError:
            return
        except BlockingIOError:
            raise Garbled("many questions whose answers no one reads") from None

    def go_on(self, word: str) -> None:
        """
        Have the guest, which waits between two tests, go on with *word*.
        """
        self.waits = self.was_heard = self.was_told = self.interrupted = False
        self.is_reused = True
        self.release(word)

    def listen(
        self,
        hear: Hear,
        interrupts: Interrupts,
        deadline: Deadline | None = None,
        grace: float | None = None,
    ) -> Ending:
        """
        Hand each message to *hear* until the guest has ended.

        Args:
            hear: Acts on a message and returns the answer, if it wants one.
            interrupts: As below.
            deadline: When the guest is to be ended; None: never.
            grace: Seconds for what runs in the sandbox to end, if `left` is wanted.

        The first of *interrupts* goes to the guest, for the test to make of it what it
        would; a second one is for the supervisor.

        Everything in the sandbox has then been sent SIGKILL; `settle` waits for it. But
        a guest that waits for another test lives on, and so does a sandbox that is
        lent, if the guest has finished.
        """
        try:
            said = self._hear_until_end(hear, interrupts, deadline or Deadline(None))
        except BaseException:
            self.settle()
            self.reap()
            raise
        if self.waits:
            return ending.Finished()
        if self.lent and said == ending.Finished():
            self._end_alone()
            return said
        if isinstance(said, ending.NeverStarted):
            said = ending.NeverStarted(self.sandbox.classify(said.refused))
        elif grace is not None:
            self.left = self.sandbox.audit(grace)
        self.sandbox.kill()
        return self._see_end() if said is None else said

    def _see_end(self) -> Ending:
        """
        Return how the guest ended, which has not said so.
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
        Say whether a guest that is dead had gone on from the gate.
        """
        if self.was_heard:
            return True
        # What no one has read is still in the pipe. Source: FIONREAD(2const).
        unread = fcntl.ioctl(
            self.process.gate, termios.FIONREAD, bytes(WORD_LENGTH.size)
        )
        return self.was_told and unread == bytes(WORD_LENGTH.size)

    def audit(self, sandbox: Sandbox, grace: float) -> None:
        """
        Note in `left` what is in *sandbox*, which outlives this guest.

        Args:
            sandbox: The sandbox that was lent to it.
            grace: Seconds that processes in it have to end.
        """
        self.left = sandbox.audit(grace)

    def settle(self) -> None:
        """
        Kill what is in the sandbox and wait until nothing of it is left.

        A process between the guest and the supervisor may be left: see `reap`.
        """
        if self.settled:
            return
        self.settled = True
        self.sandbox.kill()
        if self.process.status is None:
            # An init ends when all inside have been reaped, not before. Source:
            # pid_namespaces(7), "The namespace init process".
            self.reap()
        self.sandbox.close()

    def _end_alone(self) -> None:
        """
        End the guest, which is done, and leave the sandbox to who has lent it.
        """
        self.settled = True
        self.process.send(signal.SIGKILL)
        self.reap()
        self.sandbox.close_inherited()

    def reap(self) -> Exited | Killed:
        """
        Wait for the supervisor's own fork and return how the guest ended.
        """
        return self.process.reap()

    def close_inherited(self) -> None:
        """
        In another guest: close what the supervisor has of this one.
        """
        self.process.close_inherited()
        if not self.settled:
            self.sandbox.close_inherited()

    def _interrupt_once(self) -> None:
        """
        Send SIGINT to the guest, as a terminal would; the second time, give it up.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self.process.send(signal.SIGINT)

    def _hear_until_end(
        self,
        hear: Hear,
        interrupts: Interrupts,
        deadline: Deadline,
    ) -> Ending | None:
        """
        Return what the guest itself said of its end; None if it said nothing.
        """
        poll = select.poll()
        poll.register(self.process.inlet.fd, select.POLLIN)
        poll.register(self.process.pidfd, select.POLLIN)
        poll.register(interrupts.fd, select.POLLIN)
        while True:
            # Looked at before the channel is read: what a guest wrote before it died
            # is still in the pipe, and a fork of it may hold the pipe open for ever.
            events = poll.poll(deadline.timeout())
            dead = any(fd == self.process.pidfd for fd, _ in events)
            if interrupts.take():
                self._interrupt_once()
            try:
                said = self._take_in(hear)
            except EOFError:
                said = None
                with contextlib.suppress(KeyError):
                    poll.unregister(self.process.inlet.fd)
            except Garbled as garbled:
                self.garbled = str(garbled)
                return None
            # One read takes all that was in the pipe: a fork that goes on writing after
            # the guest's death is not listened to.
            if said is not None or dead:
                return said
            if deadline.limit is not None and deadline.is_over():
                return expire(self.process, self.sandbox, deadline.limit)

    def _take_in(self, hear: Hear) -> Ending | None:
        """
        Read once, and hand over what is whole then; as `_hear_all`.
        """
        try:
            self.process.inlet.read()
        except BlockingIOError:
            return None
        except Garbled:
            # What came before it are messages still.
            said = self._hear_all(hear)
            if said is None:
                raise
            return said
        return self._hear_all(hear)

    def _hear_all(self, hear: Hear) -> Ending | None:
        """
        Hand over the messages that have come, and return the ending, if it was one.
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
                case EntryRefused() as said:
                    return self._never_started(Refused(said.call, said.errno))
                case LimitRefused() as said:
                    refused = Unlimited(said.what, said.why, said.fix)
                    return self._never_started(refused)
                case said:
                    self.was_heard = True
                    answer = hear(said, synchronous=envelope.synchronous)
                    if envelope.synchronous:
                        self.release(answer or "-")
        return None

    def _never_started(self, refused: Refused) -> Ending:
        if self.was_heard:
            raise Garbled("a refusal after other messages")
        return ending.NeverStarted(refused)
