"""
A call of a function in a fork that has entered a sandbox and leaves it running.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Callable
from typing import NoReturn

from pytest_nsisolate import ending, helpers, launcher, linux, streams
from pytest_nsisolate.carriage import perform
from pytest_nsisolate.channel import Message, Reader, encode, write_all
from pytest_nsisolate.deadline import Deadline
from pytest_nsisolate.ending import Exited, Killed, TimedOut
from pytest_nsisolate.entry import NUMBER, Entered, Entry
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.sandbox import Sandbox
from pytest_nsisolate.streams import Streams
from pytest_nsisolate.untouched import os, select


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

    def make(self) -> Message | Exited | Killed | TimedOut:
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
                fork = self._fork(Entry(self.sandbox, write, gate, mask), stack)
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
                said = fork.listen(Reader(read), Deadline(self.limit))
            except BaseException:
                fork.kill()
                raise
            finally:
                ended = fork.reap()
        return self._conclude(said, ended, before)

    def _fork(self, entry: Entry, stack: contextlib.ExitStack) -> _Fork:
        try:
            if self.sandbox.identity == launcher.PLAIN:
                pid, status = entry.fork_once(), None
            else:
                pid, status = entry.fork_twice()
        except OSError as error:
            raise self.sandbox.judge(Refused.from_os_error(error, "fork()")) from None
        if status is not None:
            stack.callback(os.close, status)
        try:
            pidfd = linux.named("pidfd_open()", os.pidfd_open, pid)
        except OSError as error:
            _Fork(pid, -1, status).kill()
            os.waitpid(pid, 0)
            raise Refused.from_os_error(error) from None
        stack.callback(os.close, pidfd)
        return _Fork(pid, pidfd, status)

    def _conclude(
        self,
        said: Message | TimedOut | None,
        ended: Exited | Killed,
        before: Streams,
    ) -> Message | Exited | Killed | TimedOut:
        if said is None:
            return ended
        if isinstance(said, TimedOut):
            return said
        if said["kind"] == "refused":
            number = said["errno"]
            assert isinstance(number, int)
            raise self.sandbox.judge(Refused(str(said["call"]), number))
        before.write(said.get("output"))
        return said

    def _live(self, entered: Entered, channel: int, before: Streams) -> NoReturn:
        """
        In the fork: call the function, say what became of it, and end.
        """
        code = 1
        try:
            self.begin()
            helpers.forget_multiprocessing()
            helpers.forget_exit_handlers()
            entered.outlet.unblock_signals()
            message = perform(self.function)
            helpers.run_exit_handlers()
            message["output"] = before.written()
            write_all(channel, encode(message))
            code = 0
        finally:
            streams.flush()
            os._exit(code)


@dataclasses.dataclass(frozen=True, slots=True)
class _Fork:
    """
    The fork, or the process between, as who called it holds it.
    """

    pid: int
    pidfd: int
    status: int | None
    """Pipe that tells the fork's pid and wait status, where a process is between."""

    def kill(self) -> None:
        """
        Kill it. With the process between dies the fork, by its parent-death signal.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def listen(self, reader: Reader, deadline: Deadline) -> Message | TimedOut | None:
        """
        Return what it says; None if it ends before.
        """
        poll = select.poll()
        poll.register(reader.fd, select.POLLIN)
        poll.register(self.pidfd, select.POLLIN)
        while True:
            # Looked at before the pipe is read, which a daemon may hold open.
            dead = any(fd == self.pidfd for fd, _ in poll.poll(deadline.timeout()))
            with contextlib.suppress(BlockingIOError):
                while not reader.ready:
                    reader.read()
            if reader.ready:
                return reader.ready.popleft()
            if dead:
                return None
            if deadline.limit is not None and deadline.is_over():
                self.kill()
                return TimedOut(deadline.limit)

    def reap(self) -> Exited | Killed:
        """
        Wait for its end, and return how it ended.
        """
        try:
            status = os.waitpid(self.pid, 0)[1]
        except ChildProcessError:
            # Someone waits for any process, or ignores SIGCHLD, and took it.
            status = 0
        if self.status is not None:
            told = os.read(self.status, 2 * NUMBER.size)
            if len(told) == 2 * NUMBER.size:
                status = NUMBER.unpack(told[NUMBER.size :])[0]
        return ending.from_wait_status(status)


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    try:
        read, write = os.pipe()
    except OSError as error:
        raise Refused("pipe2()", error.errno or 0) from None
    stack.callback(os.close, read)
    stack.callback(os.close, write)
    return read, write
