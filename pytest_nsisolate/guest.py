"""
Guests: forks of the supervisor that entered a sandbox, as the supervisor holds them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import signal
import termios
from collections.abc import Callable

from pytest_nsisolate import ending, launcher
from pytest_nsisolate.channel import Garbled, Message, Reader
from pytest_nsisolate.ending import Ending, Exited, Killed
from pytest_nsisolate.entry import NUMBER, Entered, Entry
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.interrupt import Interrupts
from pytest_nsisolate.sandbox import LauncherGone, Sandbox, readable
from pytest_nsisolate.untouched import os, select


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
    interrupted: bool = False
    """Whether it has been sent SIGINT."""
    settled: bool = False
    """Whether nothing is left in the sandbox."""
    was_told: bool = False
    """Whether it has been let go."""
    was_heard: bool = False
    """Whether it has said anything of its test."""

    def is_alive(self) -> bool:
        """
        Say whether the supervisor's own fork still runs.
        """
        return not readable(self.pidfd, 0)

    def let_go(self, word: str = "-") -> None:
        """
        Open the gate: have the guest, which waits at it, go on with *word*.
        """
        data = word.encode("utf-8", "surrogateescape")
        with contextlib.suppress(BrokenPipeError):
            # A path at most: it fits into the pipe.
            os.write(self.gate, NUMBER.pack(len(data)) + data)
            self.was_told = True

    def talk(
        self, hear: Callable[[Message], str | None], interrupts: Interrupts
    ) -> Ending:
        """
        Hand each message to *hear* until the guest has ended.

        The first of *interrupts* goes to the guest, for the test to make of it what it
        would; a second one is for the supervisor.

        Everything in the sandbox has then been sent SIGKILL; `settle` waits for it.
        """
        try:
            said = self._listen(hear, interrupts)
        except BaseException:
            self.settle()
            self.reap()
            raise
        if isinstance(said, ending.NeverStarted):
            said = ending.NeverStarted(self.sandbox.judge(said.refused))
        self.sandbox.kill()
        if said is None:
            has_begun = self._has_begun()
            self.settle()
            said = self.reap()
            if said == Killed(signal.SIGKILL) and not has_begun:
                call = f"a guest {said} before its test"
                said = ending.NeverStarted(LauncherGone(call, errno.ECHILD))
        return said

    def _has_begun(self) -> bool:
        """
        Say whether a guest that is dead had gone on from the gate.
        """
        if self.was_heard:
            return True
        # What no one has read is still in the pipe. Source: FIONREAD(2const).
        unread = fcntl.ioctl(self.gate, termios.FIONREAD, bytes(NUMBER.size))
        return self.was_told and unread == bytes(NUMBER.size)

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

    def _interrupt_once(self) -> None:
        """
        Send SIGINT to the guest, as a terminal would; the second time, give it up.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        pid = self.pid if self.status is None else self._tell(0)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def _listen(
        self, hear: Callable[[Message], str | None], interrupts: Interrupts
    ) -> Ending | None:
        """
        Return what the guest itself said of its end; None if it said nothing.
        """
        poll = select.poll()
        poll.register(self.inlet.fd, select.POLLIN)
        poll.register(self.pidfd, select.POLLIN)
        poll.register(interrupts.fd, select.POLLIN)
        while True:
            # Looked at before the channel is read: what a guest wrote before it died
            # is still in the pipe, and a fork of it may hold the pipe open for ever.
            dead = any(fd == self.pidfd for fd, _ in poll.poll())
            if interrupts.take():
                self._interrupt_once()
            try:
                self.inlet.read()
            except (BlockingIOError, EOFError) as nothing:
                if dead:
                    return None
                if isinstance(nothing, EOFError):
                    poll.unregister(self.inlet.fd)
            except Garbled:
                return None
            if (said := self._hear_all(hear)) is not None:
                return said

    def _hear_all(self, hear: Callable[[Message], str | None]) -> Ending | None:
        """
        Hand over the messages that have come, and return the ending, if it was one.
        """
        while self.inlet.ready:
            message = self.inlet.ready.popleft()
            match message.get("kind"):
                case "done":
                    return ending.Finished()
                case "refused":
                    return ending.NeverStarted(_refused(message))
                case _:
                    self.was_heard = True
                    answer = hear(message)
                    if message.get("wait"):
                        self.let_go(answer or "-")
        return None

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


def fork(sandbox: Sandbox) -> Guest:
    """
    Fork a guest into *sandbox*, where it waits to be let go.

    Args:
        sandbox: Where to. It is the guest's from here on.

    Raises:
        Entered: In the guest.
        Refused: The supervisor could not fork.
        LauncherGone: The sandbox is dead.
    """
    # A handler that raises, as that of SIGINT, must not lead a guest astray.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        process = _fork(sandbox, mask)
    except Entered:
        raise
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return process


def _fork(sandbox: Sandbox, mask: set[int]) -> Guest:
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        # On any way out but the last line, both are closed, and the sandbox with them.
        ours.callback(sandbox.close)
        try:
            read, write = _pipe(ours, theirs)
            gate_read, gate_write = _pipe(theirs, ours)
            entry = Entry(sandbox, write, (gate_read, gate_write), mask)
            if sandbox.identity == launcher.PLAIN:
                pid, status = entry.fork_once(), None
            else:
                pid, status = entry.fork_twice()
            pidfd = os.pidfd_open(pid)
        except Entered:
            # What is the supervisor's to close or to end.
            ours.pop_all()
            theirs.pop_all()
            raise
        except OSError as error:
            raise sandbox.judge(Refused.from_os_error(error, "fork()")) from None
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
