"""
Guests: forks of the supervisor that entered a sandbox, as the supervisor holds them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Callable

from pytest_nsisolate import ending, launcher, linux
from pytest_nsisolate.channel import Garbled, Message, Reader
from pytest_nsisolate.ending import Ending, Exited, Killed
from pytest_nsisolate.entry import NUMBER, Entered, Entry
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.interrupt import Interrupts
from pytest_nsisolate.sandbox import LauncherGone, Sandbox
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
    spoke: bool = False
    """Whether it has come as far as to say something of its test."""
    garbled: str = ""
    """What came over the channel and is not a message, if anything did."""

    def let_go(self, word: str = "-") -> None:
        """
        Open the gate: have the guest, which waits at it, go on with *word*.

        Raises:
            Garbled: It asks and does not wait for the answers.
        """
        data = word.encode("utf-8", "surrogateescape")
        try:
            # A path at most: it fits into the pipe.
            os.write(self.gate, NUMBER.pack(len(data)) + data)
        except BrokenPipeError:
            return
        except BlockingIOError:
            raise Garbled("many questions whose answers no one reads") from None

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
        if isinstance(said, ending.NeverStarted) and not self.sandbox.is_alive():
            gone = LauncherGone(said.refused.call, said.refused.number)
            said = ending.NeverStarted(gone)
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

    def forget(self) -> None:
        """
        In another guest: close what the supervisor has of this one.
        """
        if self.ended is None:
            status = [] if self.status is None else [self.status]
            for fd in (self.inlet.fd, self.pidfd, self.gate, *status):
                os.close(fd)
        if not self.settled:
            self.sandbox.forget()

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
                said = self._take_in(hear)
            except EOFError:
                said = None
                with contextlib.suppress(KeyError):
                    poll.unregister(self.inlet.fd)
            except Garbled as garbled:
                self.garbled = str(garbled)
                return None
            # One read takes all that was in the pipe: a fork that goes on writing after
            # the guest's death is not listened to.
            if said is not None or dead:
                return said

    def _take_in(self, hear: Callable[[Message], str | None]) -> Ending | None:
        """
        Read once, and hand over what is whole then; as `_hear_all`.
        """
        try:
            self.inlet.read()
        except BlockingIOError:
            return None
        except Garbled:
            # What came before it are messages still.
            said = self._hear_all(hear)
            if said is None:
                raise
            return said
        return self._hear_all(hear)

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
                    if self.spoke:
                        raise Garbled("a refusal after other messages")
                    return ending.NeverStarted(_refused(message))
                case _:
                    self.spoke = True
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
            if status is not None:
                ours.callback(os.close, status)
            ours.callback(_bury, sandbox, pid)
            pidfd = linux.named("pidfd_open()", os.pidfd_open, pid)
        except Entered:
            # What is the supervisor's to end; only its descriptors are to be closed.
            ours.pop_all()
            theirs.pop_all()
            os.close(read)
            sandbox.forget()
            raise
        except OSError as error:
            if not sandbox.is_alive():
                raise LauncherGone("fork()", error.errno or 0) from None
            raise Refused.from_os_error(error, "fork()") from None
        for fd in (read, gate_write):
            os.set_blocking(fd, False)
        ours.pop_all()
    return Guest(
        sandbox=sandbox,
        pid=pid,
        pidfd=pidfd,
        inlet=Reader(read),
        status=status,
        gate=gate_write,
    )


def _bury(sandbox: Sandbox, pid: int) -> None:
    """
    End the fork *pid*, without which *sandbox* does not end.
    """
    sandbox.kill()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _pipe(
    reader: contextlib.ExitStack, writer: contextlib.ExitStack
) -> tuple[int, int]:
    """
    Return a pipe, each end of which is closed by the stack of who has it.
    """
    read, write = linux.named("pipe2()", os.pipe)
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write


def _refused(message: Message) -> Refused:
    call, number = message.get("call"), message.get("errno")
    if isinstance(call, str) and isinstance(number, int) and call.isprintable():
        return Refused(call, number)
    raise Garbled("a refusal without a call and its errno")
