"""
A call of a function in a fork that has entered a sandbox and leaves it running.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Callable
from typing import NoReturn

from pytest_nsisolate import inherited
from pytest_nsisolate.carriage import perform
from pytest_nsisolate.channel import Reader, send
from pytest_nsisolate.deadline import Deadline
from pytest_nsisolate.ending import Exited, Killed, TimedOut
from pytest_nsisolate.entry import Entered, Entry
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.messages import OF_CALL, CallMessage, EntryRefused, Outcome
from pytest_nsisolate.process import GuestProcess
from pytest_nsisolate.sandbox import Sandbox
from pytest_nsisolate.streams import Streams
from pytest_nsisolate.untouched import os, select
from pytest_nsisolate.user_namespace import UserNamespace


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """
    What is called, and where.
    """

    sandbox: Sandbox
    function: Callable[[], object]
    limit: float | None
    """Seconds that it may take; None: as long as it takes."""
    begin: Callable[[], None]
    """Called in the fork, before the function."""

    def make(self) -> Outcome | Exited | Killed | TimedOut:
        """
        Call the function in a fork inside, and return what it says, or how it ended.

        Raises:
            Refused: The fork, or its way in, was refused.
        """
        before = Streams()
        with contextlib.ExitStack() as stack:
            read, write = _pipe(stack)
            gate = _pipe(stack)
            os.set_blocking(read, False)
            # A handler that raises, as that of SIGINT, must not lead the fork astray.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            entered: Entered | None = None
            try:
                fork = self._fork(Entry(self.sandbox, write, gate, mask))
            except Entered as error:
                entered = error.with_traceback(None)
            except BaseException:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                raise
            if entered is not None:
                os.close(read)
                self._live(entered, write, before)
            try:
                # A Ctrl-C that came meanwhile is raised here.
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                said = self._listen(fork, Reader(read, OF_CALL))
            except BaseException:
                fork.kill()
                raise
            finally:
                ended = fork.reap()
        return self._conclude(said, ended, before)

    def _fork(self, entry: Entry) -> GuestProcess:
        try:
            if self.sandbox.user_namespace is UserNamespace.NONE:
                return GuestProcess.of(entry.fork_once(), None)
            return GuestProcess.of(*entry.fork_twice())
        except OSError as error:
            raise self.sandbox.judge(Refused.from_os_error(error, "fork()")) from None

    def _listen(
        self, fork: GuestProcess, reader: Reader[CallMessage]
    ) -> CallMessage | TimedOut | None:
        """
        Return what *fork* says; None if it ends before.
        """
        deadline = Deadline(self.limit)
        poll = select.poll()
        poll.register(reader.fd, select.POLLIN)
        poll.register(fork.pidfd, select.POLLIN)
        while True:
            # Looked at before the pipe is read, which a daemon may hold open.
            dead = any(fd == fork.pidfd for fd, _ in poll.poll(deadline.timeout()))
            with contextlib.suppress(BlockingIOError):
                while not reader.ready:
                    reader.read()
            if reader.ready:
                return reader.ready.popleft().message
            if dead:
                return None
            if deadline.limit is not None and deadline.is_over():
                fork.kill()
                return TimedOut(deadline.limit)

    def _conclude(
        self,
        said: CallMessage | TimedOut | None,
        ended: Exited | Killed,
        before: Streams,
    ) -> Outcome | Exited | Killed | TimedOut:
        if said is None:
            return ended
        if isinstance(said, EntryRefused):
            raise self.sandbox.judge(Refused(said.call, said.errno))
        if not isinstance(said, TimedOut):
            before.write(said.output)
        return said

    def _live(self, entered: Entered, channel: int, before: Streams) -> NoReturn:
        """
        In the fork: call the function, say what became of it, and end.
        """
        code = 1
        try:
            self.begin()
            inherited.forget_multiprocessing()
            inherited.forget_exit_handlers()
            entered.channel.unblock_signals()
            outcome = perform(self.function)
            inherited.run_exit_handlers()
            send(channel, dataclasses.replace(outcome, output=before.written()))
            code = 0
        finally:
            inherited.flush_streams()
            os._exit(code)


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    try:
        read, write = os.pipe()
    except OSError as error:
        raise Refused("pipe2()", error.errno or 0) from None
    stack.callback(os.close, read)
    stack.callback(os.close, write)
    return read, write
