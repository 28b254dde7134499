"""
A call of a function inside a box, by a fork that leaves the box running.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from pytest_nsisolate.box.pickled import perform
from pytest_nsisolate.box.stdio import Streams
from pytest_nsisolate.guest import inherited, rlimits
from pytest_nsisolate.guest.deadline import Deadline
from pytest_nsisolate.guest.entry import InGuest
from pytest_nsisolate.guest.fork import fork_into
from pytest_nsisolate.guest.messages import (
    OF_CALL,
    CallMessage,
    EntryRefused,
    LimitRefused,
    Outcome,
)
from pytest_nsisolate.guest.process import GuestProcess
from pytest_nsisolate.guest.rlimits import Confinement
from pytest_nsisolate.linux.stdlib import os, select
from pytest_nsisolate.model.ending import Exited, Killed, TimedOut
from pytest_nsisolate.model.errors import Refused, Unlimited
from pytest_nsisolate.model.limits import Limit
from pytest_nsisolate.sandbox.sandbox import Sandbox


class Unfinished(NamedTuple):
    """
    The end of a process whose function did not finish.
    """

    ending: Exited | Killed | TimedOut
    """How it ended."""
    limited: str | None = None
    """Which of its limits has ended it; None if none did."""


class Call(NamedTuple):
    """
    A function, and the sandbox in which to call it.
    """

    sandbox: Sandbox
    function: Callable[[], object]
    timeout: float | None
    """Seconds that the call may take; None: no limit."""
    limits: tuple[Limit, ...]
    """What its process may use."""
    begin: Callable[[], None]
    """Called in the fork, before the function."""

    def make(self) -> Outcome | Unfinished:
        """
        Call the function in a fork inside, and return its outcome, or how it ended.

        Raises:
            Refused: The system refused the fork, its entry or a limit.
        """
        before = Streams()
        entered: InGuest | None = None
        try:
            process = fork_into(self.sandbox, OF_CALL)
        except InGuest as error:
            entered = error.with_traceback(None)
        if entered is not None:
            self._live(entered, before)
        try:
            said = self._listen(process)
        except BaseException:
            process.kill()
            raise
        finally:
            ended = process.reap()
        if said is None:
            limited = rlimits.why_killed(self.limits, ended, process.cpu, "its process")
            return Unfinished(ending=ended, limited=limited)
        return self._conclude(said, before)

    def _listen(
        self, process: GuestProcess[CallMessage]
    ) -> CallMessage | TimedOut | None:
        """
        Return the message of *process*; None if it ends without one.
        """
        reader = process.inlet
        deadline = Deadline(self.timeout)
        poll = select.poll()
        poll.register(reader.fd, select.POLLIN)
        poll.register(process.pidfd, select.POLLIN)
        while True:
            # Check this before reading the pipe, which a daemon may hold open.
            dead = any(fd == process.pidfd for fd, _ in poll.poll(deadline.timeout()))
            try:
                while not reader.ready:
                    reader.read()
            except BlockingIOError:
                pass
            except EOFError:
                # The function closed the pipe, and may still run.
                with contextlib.suppress(KeyError):
                    poll.unregister(reader.fd)
            if reader.ready:
                return reader.ready.popleft().message
            if dead:
                return None
            if deadline.limit is not None and deadline.is_over():
                process.kill()
                return TimedOut(deadline.limit)

    def _conclude(
        self, said: CallMessage | TimedOut, before: Streams
    ) -> Outcome | Unfinished:
        match said:
            case EntryRefused():
                raise self.sandbox.classify(Refused(said.call, said.errno))
            case LimitRefused():
                raise said.error()
            case TimedOut():
                return Unfinished(ending=said)
            case outcome:
                before.write(outcome.output)
                return outcome

    def _live(self, entered: InGuest, before: Streams) -> NoReturn:
        """
        In the fork: call the function, send its outcome, and end.
        """
        code = 1
        try:
            self.begin()
            inherited.forget_multiprocessing()
            inherited.forget_exit_handlers()
            entered.channel.unblock_signals()
            try:
                confinement = Confinement(self.limits)
            except Unlimited as error:
                entered.channel.conclude(LimitRefused.of(error))
            else:
                outcome = perform(self.function, confinement)
                inherited.run_exit_handlers()
                output = before.written()
                entered.channel.conclude(outcome._replace(output=output))
            code = 0
        finally:
            inherited.flush_streams()
            os._exit(code)
