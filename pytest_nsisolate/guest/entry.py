"""
The entry of a guest into its sandbox, from the fork to its body.

With CAP_SYS_ADMIN, the supervisor enters the PID namespace for its next child, forks
once and switches back. Without it, a process can enter a PID namespace only through the
user namespace that owns it, and cannot return. So a fork enters and forks the guest;
this process between then only waits, and reports how the guest ended.

Source: setns(2), pid_namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import signal
import struct
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeAlias

from pytest_nsisolate.guest.channel import GuestChannel, send
from pytest_nsisolate.guest.messages import Broken, Done, EntryRefused
from pytest_nsisolate.linux import ancestry, namespaces, syscalls
from pytest_nsisolate.linux.credentials import Credentials, Directory
from pytest_nsisolate.linux.descriptors import Pipe
from pytest_nsisolate.linux.pid_for_children import PidForChildren
from pytest_nsisolate.linux.signals import Blocked
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model import frames
from pytest_nsisolate.model.ending import Usage
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.sandbox import Sandbox

#: The format in which the process between reports the pid and the wait status of the
#: guest. The `Usage` of the guest follows them.
NUMBER = struct.Struct("=i")

#: The work of a guest. It gets its end of the channel and the word of `Guest.release`.
Body: TypeAlias = Callable[[GuestChannel, str], None]


class InGuest(BaseException):
    """
    Raised in a guest once it is inside, and caught where its test will run.

    This removes the supervisor's frames from the stack, so that a test can recurse as
    deep as without isolation. All signals are blocked.
    """

    def __init__(self, channel: GuestChannel) -> None:
        super().__init__()
        self.channel = channel

    def live(self, body: Body) -> NoReturn:
        """
        Wait to be released, run *body*, and end this process.
        """
        code = 1
        try:
            word = self.channel.wait()
            try:
                body(self.channel, word)
            except BaseException as error:  # noqa: BLE001 - reported, then the process ends
                frames.cut_callers(error)
                self.channel.send(Broken(traceback=traceback.format_exc()))
            self.channel.send(Done())
            code = 0
        finally:
            os._exit(code)


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """
    What a guest needs to enter its sandbox.
    """

    sandbox: Sandbox
    channel: Pipe
    """The channel, from the guest to the supervisor."""
    gate: Pipe
    """The pipe on which the guest waits inside until it is released."""
    signals: Blocked
    """The signals, which are all blocked from before the fork."""
    taken: frozenset[int]
    """The process ids that the guest must not have: see `ancestry`."""

    def fork(self) -> tuple[int, int | None]:
        """
        Fork the guest, through a process between if one is needed.

        Returns:
            The process id of the supervisor's own fork, and the pipe on which a process
            between reports on the guest, None without one.

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
                # Switching back failed, which has killed the guest.
                os.waitpid(pid, 0)
            raise
        if not pid:
            self._become_guest(None)
        return pid

    def _fork_twice(self) -> tuple[int, int]:
        with Pipe() as status:
            pid = fork()
            credentials = None if pid else self._be_between(status.write)
            status_fd = status.take_read() if pid else -1
        if credentials is not None:
            self._become_guest(credentials)
        return pid, status_fd

    def _be_between(self, status: int) -> Credentials:
        """
        Fork the guest and return in it; in this process, report how it ended.
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
            self._check_id()
            channel = GuestChannel(
                self.channel.write, self.gate.read, _pid_in_proc(), self.signals
            )
            self.gate.close_write()
            enter(self.sandbox, credentials)
            # With a group of its own, kill(0, SIGTERM) inside reaches nothing outside.
            syscalls.named("setpgid()", os.setpgid, 0, 0)
            # What came to the supervisor's group until now was not for this process.
            self.signals.discard()
            syscalls.set_parent_death_signal(signal.SIGKILL)
        except OSError as error:
            self._refuse(error, "a system call")
        self.channel.take_write()
        self.gate.take_read()
        self.signals.keep()
        raise InGuest(channel)

    def _check_id(self) -> None:
        """
        Make sure that this process has an id of its own.

        Init has seen to that for the first one. After that, in a sandbox in which there
        have been many processes, a number that is taken may come up.

        Raises:
            OSError: EEXIST. The next fork gets one that is free.
        """
        pid = os.getpid()
        if pid in self.taken:
            ancestry.use_up(pid, ancestry.pass_over(pid, self.taken))
            text = f"fork() as process {pid}"
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), text)

    def _refuse(self, error: OSError, call: str) -> NoReturn:
        refused = Refused.from_os_error(error, call)
        try:
            message = EntryRefused(call=refused.call, errno=refused.number)
            send(self.channel.write, message)
        finally:
            os._exit(1)


class NextForkInside:
    """
    A context in which this thread forks into the PID namespace of *sandbox*.

    Raises:
        OSError: The kernel refused a call. If it refused to switch back, the sandbox
            was killed with what was forked, so that no other fork can land there.
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
                # user_namespace_for() has checked that this is allowed.
                self._children.restore()
        except OSError:
            self._sandbox.kill()
            raise
        finally:
            self._children.close()

    def stay(self) -> None:
        """
        In the fork: do not switch back, which is impossible from there.
        """
        self._stays = True


def enter(sandbox: Sandbox, credentials: Credentials | None) -> None:
    """
    Enter *sandbox* with the identity and directory that this process has outside.

    The process is already in its PID namespace, and in its user namespace if any.

    Args:
        sandbox: The sandbox to enter.
        credentials: The credentials of this process before it joined a user namespace,
            None if it did not.

    Raises:
        OSError: The kernel refused.
    """
    before = os.stat("/")
    directory = Directory.now()
    syscalls.setns(sandbox.init, namespaces.joined(sandbox.namespaces))
    # setns() into a mount namespace changes to its root. Source: setns(2). The root of
    # a supervisor in a chroot is another directory.
    if not os.path.samestat(before, os.stat("/")):
        syscalls.named("fchdir()", os.fchdir, sandbox.root)
        syscalls.named("chroot()", os.chroot, ".")
    directory.enter()
    if credentials is not None and sandbox.user_namespace is UserNamespace.KEPT:
        credentials.resume()


def _pid_in_proc() -> int:
    """
    Return the process id from /proc, the one outside as long as /proc is the host's.
    """
    try:
        return int(os.readlink("/proc/self"))
    except OSError:
        return os.getpid()


def fork() -> int:
    """
    Fork, without a warning about threads.
    """
    with no_warning_of_threads():
        return os.fork()


@contextlib.contextmanager
def no_warning_of_threads() -> Iterator[None]:
    """
    Suppress the warning about a fork in a process that has threads.
    """
    with warnings.catch_warnings():
        # Python 3.12 gives it; these forks are intended.
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
        yield
