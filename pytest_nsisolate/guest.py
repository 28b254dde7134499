"""
Guests: forks of the supervisor that entered a sandbox, as the supervisor holds them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
from collections.abc import Callable
from types import BuiltinFunctionType

from pytest_nsisolate import ending, launcher
from pytest_nsisolate.channel import Garbled, Message, Reader
from pytest_nsisolate.ending import Ending, Exited, Killed
from pytest_nsisolate.entry import NUMBER, Body, Entry
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.sandbox import LauncherGone, Sandbox, readable

#: How long a guest that is done may take to exit, in seconds.
EXIT_TIMEOUT = 10.0


@dataclasses.dataclass(slots=True, kw_only=True)
class Guest:
    """
    The supervisor's handle on a guest.
    """

    sandbox: Sandbox
    pid: int
    """Process id of the supervisor's own fork: the guest, or the one that waits."""
    pidfd: int
    """The same as a pidfd."""
    inlet: Reader
    """The supervisor's end of the channel."""
    status: int | None
    """Pipe that tells the guest's pid and wait status, where a process is between."""
    gate: int
    """Pipe on which the guest waits, inside, to be let go."""
    told: list[int] = dataclasses.field(default_factory=list)
    """What has been read from `status`."""
    ended: Exited | Killed | None = None
    """How it ended, once it has been reaped."""
    settled: bool = False
    """Whether nothing is left in the sandbox."""

    def let_go(self) -> None:
        """
        Open the gate: have the guest, which waits at it, go on.
        """
        with contextlib.suppress(BrokenPipeError):
            os.write(self.gate, b"1")

    def talk(self, hear: Callable[[Message], None]) -> Ending:
        """
        Hand each message to *hear* until the guest has ended.

        Everything in the sandbox has then been sent SIGKILL; `settle` waits for it.
        """
        try:
            try:
                said = self._listen(hear)
            except KeyboardInterrupt:
                # For the test to make of it what it would; a second one is for us.
                self.interrupt()
                said = self._listen(hear)
        except BaseException:
            self.settle()
            self.reap()
            raise
        if isinstance(said, ending.NeverStarted) and not self.sandbox.is_alive():
            gone = LauncherGone(said.refused.call, said.refused.number)
            said = ending.NeverStarted(gone)
        if said == ending.Finished() and not isinstance(os._exit, BuiltinFunctionType):
            # Someone, as coverage.py does, has put something before the exit.
            readable(self.pidfd, EXIT_TIMEOUT)
        self.sandbox.kill()
        if said is None:
            self.settle()
            said = self.reap()
        return said

    def settle(self) -> None:
        """
        Kill what is in the sandbox and wait until nothing of it is left.

        A process between the guest and the supervisor may be left: see `reap`.
        """
        if self.settled:
            return
        self.settled = True
        self.sandbox.kill()
        if self.status is None:
            # An init ends when all inside have been reaped, not before. Source:
            # pid_namespaces(7), "The namespace init process".
            self.reap()
        self.sandbox.close()

    def reap(self) -> Exited | Killed:
        """
        Wait for the supervisor's own fork and return how the guest ended.
        """
        if self.ended is None:
            self.ended = self._wait()
            os.close(self.inlet.fd)
            os.close(self.pidfd)
            os.close(self.gate)
        return self.ended

    def interrupt(self) -> None:
        """
        Send SIGINT to the guest, as a terminal would.
        """
        pid = self.pid if self.status is None else self._tell(0)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def _listen(self, hear: Callable[[Message], None]) -> Ending | None:
        """
        Return what the guest itself said of its end; None if it said nothing.
        """
        poll = select.poll()
        poll.register(self.inlet.fd, select.POLLIN)
        poll.register(self.pidfd, select.POLLIN)
        while True:
            # Looked at before the channel is read: what a guest wrote before it died
            # is still in the pipe, and a fork of it may hold the pipe open for ever.
            dead = any(fd == self.pidfd for fd, _ in poll.poll())
            try:
                self.inlet.read()
            except (BlockingIOError, EOFError) as nothing:
                if dead:
                    return None
                if isinstance(nothing, EOFError):
                    poll.unregister(self.inlet.fd)
            except Garbled:
                return None
            while self.inlet.ready:
                message = self.inlet.ready.popleft()
                match message.get("kind"):
                    case "done":
                        return ending.Finished()
                    case "refused":
                        return ending.NeverStarted(_refused(message))
                    case _:
                        hear(message)
                        if message.get("wait"):
                            self.let_go()

    def _wait(self) -> Exited | Killed:
        try:
            status = os.waitpid(self.pid, 0)[1]
        except ChildProcessError:
            # A fixture that waits for any child, or that ignores SIGCHLD, took it.
            status = 0
        if self.status is not None:
            told = self._tell(1)
            status = status if told is None else told
            os.close(self.status)
        return ending.from_wait_status(status)

    def _tell(self, index: int) -> int | None:
        """
        Return the guest's pid (0) or wait status (1), once it is known.
        """
        assert self.status is not None
        while len(self.told) <= index:
            raw = os.read(self.status, NUMBER.size)
            if not raw:
                return None
            self.told.append(NUMBER.unpack(raw)[0])
        return self.told[index]


def fork(sandbox: Sandbox, body: Body, *, own_group: bool) -> Guest:
    """
    Fork a guest into *sandbox* that waits there, runs *body* and then ends.

    Args:
        sandbox: Where to. It is the guest's from here on.
        body: What the guest does; it gets the guest's end of the channel.
        own_group: Whether the guest leads a process group of its own, so that
            ``kill(0, SIGTERM)`` inside reaches nothing outside.

    Raises:
        Refused: The supervisor could not fork.
        LauncherGone: The sandbox is dead.
    """
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        # On any way out but the last line, both are closed, and the sandbox with them.
        ours.callback(sandbox.close)
        try:
            read, write = _pipe(ours, theirs)
            gate_read, gate_write = _pipe(theirs, ours)
            entry = Entry(sandbox, body, write, (gate_read, gate_write), own_group)
            if sandbox.identity == launcher.PLAIN:
                pid, status = entry.fork_once(), None
            else:
                pid, status = entry.fork_twice()
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            if not sandbox.is_alive():
                raise LauncherGone("fork()", error.errno or 0) from None
            raise Refused.from_os_error(error, "fork()") from None
        os.set_blocking(read, False)
        ours.pop_all()
    return Guest(
        sandbox=sandbox,
        pid=pid,
        pidfd=pidfd,
        inlet=Reader(read),
        status=status,
        gate=gate_write,
    )


def _pipe(
    reader: contextlib.ExitStack, writer: contextlib.ExitStack
) -> tuple[int, int]:
    """
    Return a pipe, each end of which is closed by the stack of who has it.
    """
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write


def _refused(message: Message) -> Refused:
    number = message.get("errno")
    return Refused(str(message.get("call")), number if isinstance(number, int) else 0)
