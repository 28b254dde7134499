"""
A guest's way from the fork to its body.

With CAP_SYS_ADMIN the supervisor points its next fork at the PID namespace, forks once
and points it back. Without, a process may enter a PID namespace only through the user
namespace that owns it, and no process may come back from there: a fork enters, and
forks the guest. That fork then only waits, to tell how the guest ended.

Source: setns(2), pid_namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import struct
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeAlias

from pytest_nsisolate.guest.channel import GuestChannel, send
from pytest_nsisolate.guest.interrupt import forget_key
from pytest_nsisolate.guest.messages import Broken, Done, EntryRefused
from pytest_nsisolate.linux import namespaces, syscalls
from pytest_nsisolate.linux.credentials import Credentials, Directory
from pytest_nsisolate.linux.descriptors import Pipe
from pytest_nsisolate.linux.pid_for_children import PidForChildren
from pytest_nsisolate.linux.signals import Blocked
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model.ending import Usage
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.sandbox import Sandbox

#: How the process between tells the guest's pid and wait status, behind which comes
#: its `Usage`.
NUMBER = struct.Struct("=i")

#: What a guest does: gets its end of the channel, and what `Guest.release` said.
Body: TypeAlias = Callable[[GuestChannel, str], None]


class InGuest(BaseException):
    """
    Raised in a guest when it is inside, and caught where its test is to run from.

    By that the supervisor's frames are gone from its stack, and a test can recurse as
    deep as ever. All signals are blocked.
    """

    def __init__(self, channel: GuestChannel) -> None:
        super().__init__()
        self.channel = channel

    def live(self, body: Body) -> NoReturn:
        """
        Do what a guest is there for, and end.
        """
        code = 1
        try:
            word = self.channel.wait()
            try:
                body(self.channel, word)
            except BaseException:  # noqa: BLE001 - told, and nothing comes after
                self.channel.send(Broken(traceback=traceback.format_exc()))
            self.channel.send(Done())
            code = 0
        finally:
            os._exit(code)


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """
    All that a guest needs on its way in.
    """

    sandbox: Sandbox
    channel: Pipe
    """From the guest to the supervisor."""
    gate: Pipe
    """The pipe on which the guest waits, inside, to be released."""
    signals: Blocked
    """All of them, from before the fork."""

    def fork(self) -> tuple[int, int | None]:
        """
        Fork the guest, by way of a process between if it takes one.

        Returns:
            The process id of the own fork, and the pipe on which a process between
            tells those two numbers.

        Raises:
            InGuest: In the guest.
        """
        if self.sandbox.user_namespace is UserNamespace.NONE:
            return self._fork_once(), None
        return self._fork_twice()

    def _fork_once(self) -> int:
        pid = 0
        try:
            with NextForkInside(self.sandbox) as way:
                pid = fork()
                if not pid:
                    way.stay()
        except OSError:
            if pid:
                # There is no way back, and the guest has been killed.
                os.waitpid(pid, 0)
            raise
        if not pid:
            self._become_guest(None)
        return pid

    def _fork_twice(self) -> tuple[int, int]:
        with Pipe() as status:
            pid = fork()
            credentials = None if pid else self._be_between(status.write)
            told = status.take_read() if pid else -1
        if credentials is not None:
            self._become_guest(credentials)
        return pid, told

    def _be_between(self, status: int) -> Credentials:
        """
        Fork the guest, and return in it; here, tell how it ended, and end.
        """
        try:
            syscalls.set_parent_death_signal(signal.SIGKILL)
            credentials = Credentials.now()
            syscalls.setns(
                self.sandbox.init, syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWPID
            )
            pid = fork()
            if pid:
                os.write(status, NUMBER.pack(pid))
                _, ended, used = os.wait4(pid, 0)
                os.write(status, NUMBER.pack(ended) + Usage.of(used).pack())
                os._exit(0)
        except OSError as error:
            self._refuse(error, "fork()")
        return credentials

    def _become_guest(self, credentials: Credentials | None) -> NoReturn:
        try:
            channel = GuestChannel(
                self.channel.write, self.gate.read, _pid_in_proc(), self.signals
            )
            self.gate.close_write()
            enter(self.sandbox, credentials)
            # Its own group: kill(0, SIGTERM) inside reaches nothing outside.
            syscalls.named("setpgid()", os.setpgid, 0, 0)
            forget_key()
            syscalls.set_parent_death_signal(signal.SIGKILL)
        except OSError as error:
            self._refuse(error, "a system call")
        self.channel.take_write()
        self.gate.take_read()
        self.signals.keep()
        raise InGuest(channel)

    def _refuse(self, error: OSError, call: str) -> NoReturn:
        refused = Refused.from_os_error(error, call)
        try:
            said = EntryRefused(call=refused.call, errno=refused.number)
            send(self.channel.write, said)
        finally:
            os._exit(1)


class NextForkInside:
    """
    A context in which this thread's next fork is in the PID namespace of *sandbox*.

    Raises:
        OSError: The kernel refused. If it was the way back, the sandbox is dead, and
            what was forked with it: no other fork is to go there.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._children = PidForChildren()
        self._stays = False

    def __enter__(self) -> NextForkInside:
        try:
            self._children.enter(self._sandbox.init)
        except OSError:
            self._children.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if not self._stays:
                # user_namespace_for() has made sure that this is allowed.
                self._children.restore()
        except OSError:
            self._sandbox.kill()
            raise
        finally:
            self._children.close()

    def stay(self) -> None:
        """
        In the fork, from where nothing leads back: do not go there.
        """
        self._stays = True


def enter(sandbox: Sandbox, credentials: Credentials | None) -> None:
    """
    Go into *sandbox* and be there what this process is outside.

    Its PID namespace is this process's already, and its user namespace if it has one.

    Args:
        sandbox: Where to.
        credentials: What this process was before it joined a user namespace, if it has.

    Raises:
        OSError: The kernel refused.
    """
    before = os.stat("/")
    directory = Directory.now()
    syscalls.setns(sandbox.init, namespaces.joined(sandbox.namespaces))
    # setns() into a mount namespace goes to its root. Source: setns(2). That of a
    # supervisor in a chroot is elsewhere.
    if not os.path.samestat(before, os.stat("/")):
        syscalls.named("fchdir()", os.fchdir, sandbox.root)
        syscalls.named("chroot()", os.chroot, ".")
    directory.enter()
    if credentials is not None and sandbox.user_namespace is UserNamespace.KEPT:
        credentials.resume()


def _pid_in_proc() -> int:
    """
    Return the process id that /proc gives: outside, as long as it is the host's.
    """
    try:
        return int(os.readlink("/proc/self"))
    except OSError:
        return os.getpid()


def fork() -> int:
    """
    Fork, without a warning of threads.
    """
    with no_warning_of_threads():
        return os.fork()


@contextlib.contextmanager
def no_warning_of_threads() -> Iterator[None]:
    """
    Have no one warned that this process has threads and forks.
    """
    with warnings.catch_warnings():
        # Python 3.12 warns of it; these forks are to be had.
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
        yield
