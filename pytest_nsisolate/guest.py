"""
Guests: forks of the supervisor that entered a sandbox.

With CAP_SYS_ADMIN the supervisor points its next fork at the PID namespace, forks once
and points it back. Without, a process may enter a PID namespace only through the user
namespace that owns it, and no process may come back from there: a fork enters, and
forks the guest. That fork then only waits, to tell how the guest ended.

Source: setns(2), pid_namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import struct
import traceback
import warnings
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import NoReturn, TypeAlias

from pytest_nsisolate import ending, launcher, linux
from pytest_nsisolate.channel import Garbled, Message, Reader, encode, write_all
from pytest_nsisolate.ending import Ending, Exited, Killed
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.sandbox import Sandbox, readable

_WITHIN = linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWNS
_NUMBER = struct.Struct("=i")

#: How long a guest that is done may take to exit, in seconds.
EXIT_TIMEOUT = 10.0


class Outlet:
    """
    The guest's end of the channel.
    """

    def __init__(self, fd: int, pid_on_host: int) -> None:
        self._fd = fd
        self._owner = os.getpid()
        #: The guest's process id outside.
        self.pid_on_host = pid_on_host

    def send(self, message: Message) -> None:
        """
        Send *message*; it has left when this returns.
        """
        if os.getpid() != self._owner:
            # A fork that the test made and that came back into pytest is no guest.
            os._exit(1)
        write_all(self._fd, encode(message))


Body: TypeAlias = Callable[[Outlet], None]


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
        Have the guest, which waits in its sandbox, run its body.
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
            raw = os.read(self.status, _NUMBER.size)
            if not raw:
                return None
            self.told.append(_NUMBER.unpack(raw)[0])
        return self.told[index]


def fork(sandbox: Sandbox, body: Body, *, own_group: bool) -> Guest:
    """
    Fork a guest into *sandbox* that waits there, runs *body* and then ends.

    Args:
        sandbox: Where to.
        body: What the guest does; it gets the guest's end of the channel.
        own_group: Whether the guest leads a process group of its own, so that
            ``kill(0, SIGTERM)`` inside reaches nothing outside.

    Raises:
        Refused: The supervisor could not fork.
    """
    read, write = os.pipe()
    os.set_blocking(read, False)
    gate_read, gate_write = os.pipe()
    start = _Start(sandbox, body, write, (gate_read, gate_write), own_group)
    try:
        if sandbox.identity == launcher.PLAIN:
            pid, status = start.fork_once(), None
        else:
            pid, status = start.fork_twice()
    except OSError as error:
        os.close(read)
        os.close(gate_write)
        raise Refused.from_os_error(error, "fork()") from None
    finally:
        os.close(write)
        os.close(gate_read)
    return Guest(
        sandbox=sandbox,
        pid=pid,
        pidfd=os.pidfd_open(pid),
        inlet=Reader(read),
        status=status,
        gate=gate_write,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Start:
    """
    A guest's way from the fork to its body.
    """

    sandbox: Sandbox
    body: Body
    channel: int
    gate: tuple[int, int]
    own_group: bool

    def fork_once(self) -> int:
        """
        Fork the guest and return its process id.
        """
        here = os.pidfd_open(os.getpid())
        try:
            linux.setns(self.sandbox.init, linux.CLONE_NEWPID)
            try:
                pid = _fork()
                if not pid:
                    self._be_guest(None)
            finally:
                # identity_for() has made sure that this is allowed.
                linux.setns(here, linux.CLONE_NEWPID)
        finally:
            os.close(here)
        return pid

    def fork_twice(self) -> tuple[int, int]:
        """
        Fork the process between, which forks the guest.

        Returns:
            Its process id, and the pipe on which it tells those two numbers.
        """
        read, write = os.pipe()
        try:
            pid = _fork()
            if not pid:
                self._be_between(write)
        except OSError:
            os.close(read)
            raise
        finally:
            os.close(write)
        return pid, read

    def _be_between(self, status: int) -> NoReturn:
        try:
            linux.set_parent_death_signal(signal.SIGKILL)
            identity = _Identity.now()
            linux.setns(self.sandbox.init, linux.CLONE_NEWUSER | linux.CLONE_NEWPID)
            pid = _fork()
            if not pid:
                self._be_guest(identity)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.write(status, _NUMBER.pack(pid))
            os.write(status, _NUMBER.pack(os.waitpid(pid, 0)[1]))
        except OSError as error:
            self._refuse(error, "fork()")
        finally:
            os._exit(0)

    def _be_guest(self, identity: _Identity | None) -> NoReturn:
        code = 1
        try:
            # Still the host's /proc.
            outlet = Outlet(self.channel, int(os.readlink("/proc/self")))
            try:
                self._enter(identity)
            except OSError as error:
                self._refuse(error, "a system call")
                os._exit(code)
            self._wait()
            try:
                self.body(outlet)
            except BaseException:  # noqa: BLE001 - told, and nothing comes after
                outlet.send({"kind": "broken", "traceback": traceback.format_exc()})
            outlet.send({"kind": "done"})
            code = 0
        finally:
            os._exit(code)

    def _enter(self, identity: _Identity | None) -> None:
        """
        Go into the sandbox and be there what the supervisor is outside.
        """
        before = os.stat("/")
        directory = _Directory.now()
        linux.setns(self.sandbox.init, _WITHIN)
        # setns() into a mount namespace goes to its root. Source: setns(2). That of a
        # supervisor in a chroot is elsewhere.
        if not os.path.samestat(before, os.stat("/")):
            os.fchdir(self.sandbox.root)
            os.chroot(".")
        directory.enter()
        if self.own_group:
            os.setpgid(0, 0)
        if identity is not None and self.sandbox.identity == launcher.KEEP:
            identity.resume()
        linux.set_parent_death_signal(signal.SIGKILL)

    def _wait(self) -> None:
        """
        Wait until the supervisor opens the gate.
        """
        read, write = self.gate
        os.close(write)
        if not os.read(read, 1):
            os._exit(1)
        os.close(read)

    def _refuse(self, error: OSError, call: str) -> None:
        refused = Refused.from_os_error(error, call)
        message: Message = {
            "kind": "refused",
            "call": refused.call,
            "errno": refused.number,
        }
        write_all(self.channel, encode(message))


@dataclasses.dataclass(frozen=True, slots=True)
class _Identity:
    """
    What a process may do, to be what it was when a user namespace has given it more.

    Source: user_namespaces(7), "Capabilities": who joins one has all capabilities in it.
    """

    capabilities: tuple[int, int, int]
    bounding_set: int

    @classmethod
    def now(cls) -> _Identity:
        return cls(linux.capabilities(), linux.bounding_set())

    def resume(self) -> None:
        linux.drop_from_bounding_set(linux.bounding_set() & ~self.bounding_set)
        linux.set_capabilities(*self.capabilities)


@dataclasses.dataclass(frozen=True, slots=True)
class _Directory:
    """
    The working directory, by path: a descriptor would lead back to the host's mounts.
    """

    path: str | None
    fd: int

    @classmethod
    def now(cls) -> _Directory:
        try:
            return cls(os.getcwd(), -1)
        except FileNotFoundError:
            # Removed: nothing but the descriptor is left of it.
            return cls(None, os.open(".", os.O_PATH))

    def enter(self) -> None:
        if self.path is None:
            os.fchdir(self.fd)
            os.close(self.fd)
            return
        try:
            os.chdir(self.path)
        except OSError as error:
            text = f"chdir({self.path})"
            raise OSError(error.errno, error.strerror, text) from None


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of forks of a process with threads; a guest is one on
        # purpose.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _refused(message: Message) -> Refused:
    number = message.get("errno")
    return Refused(str(message.get("call")), number if isinstance(number, int) else 0)
