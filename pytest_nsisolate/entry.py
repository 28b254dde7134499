"""
A guest's way from the fork to its body.

With CAP_SYS_ADMIN the supervisor points its next fork at the PID namespace, forks once
and points it back. Without, a process may enter a PID namespace only through the user
namespace that owns it, and no process may come back from there: a fork enters, and
forks the guest. That fork then only waits, to tell how the guest ended.

Source: setns(2), pid_namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import dataclasses
import signal
import struct
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from pytest_nsisolate import linux, namespaces
from pytest_nsisolate.channel import GuestChannel, send
from pytest_nsisolate.credentials import Credentials, Directory
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.interrupt import forget_key
from pytest_nsisolate.messages import Broken, Done, EntryRefused
from pytest_nsisolate.sandbox import Sandbox
from pytest_nsisolate.untouched import os
from pytest_nsisolate.usage import Usage
from pytest_nsisolate.user_namespace import UserNamespace

#: How the process between tells the guest's pid and wait status, behind which comes
#: its `Usage`.
NUMBER = struct.Struct("=i")


#: What a guest does: gets its end of the channel, and what `Guest.let_go` said.
Body: TypeAlias = Callable[[GuestChannel, str], None]


class Entered(BaseException):
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
    channel: int
    """The guest's end of the channel."""
    gate: tuple[int, int]
    """Both ends of the pipe on which the guest waits, inside, to be let go."""
    signal_mask: set[int]
    """Signals that were blocked before the fork, for which all are."""

    def fork_once(self) -> int:
        """
        Fork the guest and return its process id.

        Raises:
            Entered: In the guest.
        """
        here = linux.named("pidfd_open()", os.pidfd_open, os.getpid())
        try:
            linux.setns(self.sandbox.init, linux.CLONE_NEWPID)
            try:
                pid = fork()
            except OSError:
                linux.setns(here, linux.CLONE_NEWPID)
                raise
            if pid:
                self._return(here, pid)
        finally:
            os.close(here)
        if not pid:
            self._become_guest(None)
        return pid

    def _return(self, here: int, pid: int) -> None:
        """
        Have the next fork be of *here* again; end the guest *pid* if that cannot be.
        """
        try:
            # user_namespace_for() has made sure that this is allowed.
            linux.setns(here, linux.CLONE_NEWPID)
        except OSError:
            self.sandbox.kill()
            os.waitpid(pid, 0)
            raise

    def fork_twice(self) -> tuple[int, int]:
        """
        Fork the process between, which forks the guest.

        Returns:
            Its process id, and the pipe on which it tells those two numbers.

        Raises:
            Entered: In the guest.
        """
        read, write = linux.named("pipe2()", os.pipe)
        try:
            pid = fork()
            if not pid:
                credentials = self._be_between(write)
        except OSError:
            os.close(read)
            raise
        finally:
            os.close(write)
        if not pid:
            os.close(read)
            self._become_guest(credentials)
        return pid, read

    def _be_between(self, status: int) -> Credentials:
        """
        Fork the guest, and return in it; here, tell how it ended, and end.
        """
        try:
            linux.set_parent_death_signal(signal.SIGKILL)
            credentials = Credentials.now()
            linux.setns(self.sandbox.init, linux.CLONE_NEWUSER | linux.CLONE_NEWPID)
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
                self.channel, self.gate[0], _pid_in_proc(), self.signal_mask
            )
            os.close(self.gate[1])
            enter(self.sandbox, credentials)
            # Its own group: kill(0, SIGTERM) inside reaches nothing outside.
            linux.named("setpgid()", os.setpgid, 0, 0)
            forget_key()
            linux.set_parent_death_signal(signal.SIGKILL)
        except OSError as error:
            self._refuse(error, "a system call")
        raise Entered(channel)

    def _refuse(self, error: OSError, call: str) -> NoReturn:
        refused = Refused.from_os_error(error, call)
        try:
            send(self.channel, EntryRefused(call=refused.call, errno=refused.number))
        finally:
            os._exit(1)


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
    linux.setns(sandbox.init, namespaces.joined(sandbox.namespaces))
    # setns() into a mount namespace goes to its root. Source: setns(2). That of a
    # supervisor in a chroot is elsewhere.
    if not os.path.samestat(before, os.stat("/")):
        linux.named("fchdir()", os.fchdir, sandbox.root)
        linux.named("chroot()", os.chroot, ".")
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
    with warnings.catch_warnings():
        # Python 3.12 warns of forks of a process with threads; a guest is one on
        # purpose.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
