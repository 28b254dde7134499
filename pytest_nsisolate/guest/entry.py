"""
The entry of a guest into its sandbox, from the fork to its body.

With CAP_SYS_ADMIN, the supervisor enters the PID namespace for its next child, forks
once and switches back. Without it, a process can enter a PID namespace only through the
user namespace that owns it, and cannot return. So a fork enters and forks the guest;
this process between then only waits, and reports how the guest ended. A supervisor that
has threads always does so: see `needs_two_forks`.

What libraries have registered to be called at a fork is called in the guest once it is
inside, for it may start threads: see `at_fork`.

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
from pytest_nsisolate.linux import (
    ancestry,
    at_fork,
    namespaces,
    process_group,
    syscalls,
)
from pytest_nsisolate.linux.bare_fork import bare_fork
from pytest_nsisolate.linux.credentials import Credentials, Directory
from pytest_nsisolate.linux.descriptors import Pipe
from pytest_nsisolate.linux.hot_pages import HotPages
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

#: Between a call that was refused and the names of the threads of its process.
WITH_THREADS = " in a process with the threads "

#: The work of a guest. It gets its end of the channel and the word of `Guest.release`.
Body: TypeAlias = Callable[[GuestChannel, str], None]


class InFork(BaseException):
    """
    Raised in a fork of the supervisor, and caught where tests run.

    This removes the supervisor's frames from the stack, so that a test can recurse as
    deep as without isolation. All signals are blocked.
    """

    def fail(self, _: BaseException) -> NoReturn:
        """
        End this process, which an error has kept from becoming what it is to be.

        It must not go on as pytest, which would finalise fixtures here.
        """
        os._exit(1)


class InGuest(InFork):
    """
    Raised in a guest once it is inside.
    """

    def __init__(self, channel: GuestChannel) -> None:
        super().__init__()
        self.channel = channel
        #: Where this guest notes what pages it has written to, if it is to do so.
        self.hot_pages: HotPages | None = None

    def live(self, body: Body) -> NoReturn:
        """
        Wait to be released, run *body*, and end this process.
        """
        code = 1
        try:
            word = self.channel.wait()
            try:
                body(self.channel, word)
                if self.hot_pages is not None:
                    self.hot_pages.note()
            except BaseException as error:  # noqa: BLE001 - reported, then the process ends
                frames.cut_callers(error)
                self.channel.send(Broken(traceback=traceback.format_exc()))
            self.channel.send(Done())
            code = 0
        finally:
            os._exit(code)

    def fail(self, error: BaseException) -> NoReturn:
        """
        Report *error* in the place of the test, and end this process.
        """

        def body(*_: object) -> NoReturn:
            raise error

        self.live(body)


@dataclasses.dataclass(slots=True)
class Entry:
    """
    What a guest needs to enter its sandbox.
    """

    sandbox: Sandbox
    channel: int
    """The writing end of the channel."""
    gate: int
    """The pipe on which the guest waits inside until it is released."""
    signals: Blocked
    """The signals, which are all blocked from before the fork."""
    taken: frozenset[int]
    """The process ids that the guest must not have: see `ancestry`."""
    confined: bool
    """Whether the guest may send signals only to itself and to what it starts."""
    directory: Directory | None = None
    """The working directory, if it is known."""
    inside: GuestChannel | None = None
    """In the guest, once it has entered: its end of the channel."""

    def fork(self) -> tuple[int, int | None]:
        """
        Fork the guest, through a process between if one is needed.

        Returns:
            The process id of the supervisor's own fork, and the pipe on which a process
            between reports on the guest, None without one.

        Raises:
            InGuest: In the guest.
        """
        # Where it is ignored, only a process between can wait.
        if needs_two_forks(self.sandbox) or _ignores_children():
            return self._fork_twice()
        return self._fork_once(), None

    def _fork_once(self) -> int:
        way = NextForkInside(self.sandbox)
        pid = 0
        try:
            with way, at_fork.innermost(in_child=lambda: self._begin(way)):
                pid = fork()
        except OSError:
            if pid:
                # Switching failed, so it has ended by itself or was killed. If SIGCHLD
                # is ignored, the kernel has reaped it. Source: wait(2).
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
            raise
        if not pid:
            raise self.guest()
        return pid

    def _begin(self, way: NextForkInside) -> None:
        """
        In the fork: enter the sandbox, unless the fork did not go there.
        """
        if way.error is not None:
            os._exit(1)
        self.enter(None)

    def _fork_twice(self) -> tuple[int, int]:
        with Pipe() as status:
            with at_fork.innermost(in_child=lambda: self._be_between(status.write)):
                pid = fork()
            status_fd = status.take_read() if pid else -1
        if not pid:
            raise self.guest()
        return pid, status_fd

    def _be_between(self, status: int) -> None:
        """
        Fork the guest and return in it; in this process, report how it ended.
        """
        try:
            syscalls.set_parent_death_signal(signal.SIGKILL)
            credentials = turn_to(self.sandbox)
            is_ignored = _ignores_children()
            if is_ignored:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            pid = bare_fork()
            if is_ignored and not pid:
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            if pid:
                os.write(status, NUMBER.pack(pid))
                _, ended, used = os.wait4(pid, 0)
                os.write(status, NUMBER.pack(ended) + Usage.of(used).pack())
                os._exit(0)
        except OSError as error:
            self.refuse(error, "fork()")
        self.enter(credentials)

    def enter(self, credentials: Credentials | None) -> None:
        """
        In the fork inside: enter the other namespaces, or end this process.

        Args:
            credentials: As for the function `enter`.
        """
        try:
            self._check_id()
            channel = GuestChannel(
                self.channel, self.gate, _pid_in_proc(), self.signals
            )
            enter(
                self.sandbox,
                credentials,
                confined=self.confined,
                directory=self.directory,
            )
            # With another group, kill(0, SIGTERM) inside reaches nothing outside.
            process_group.found()
            # What came to the supervisor's group until now was not for this process.
            self.signals.discard()
            syscalls.set_parent_death_signal(signal.SIGKILL)
        except OSError as error:
            self.refuse(error, "a system call")
        self.inside = channel

    def guest(self) -> InGuest:
        """
        In the fork inside: return what to raise, after all that is called at a fork.
        """
        if self.inside is None:
            # An error on the way in, which Python has printed and then ignored.
            os._exit(1)
        self.signals.keep()
        return InGuest(self.inside)

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

    def refuse(self, error: OSError, call: str) -> NoReturn:
        """
        End this process, and tell the supervisor that *error* kept it from entering.

        Args:
            error: What the kernel refused.
            call: The call, if *error* does not name it.
        """
        try:
            self.tell(error, call)
        finally:
            os._exit(1)

    def tell(self, error: OSError, call: str) -> None:
        """
        Tell the supervisor, in the place of the guest, that *error* keeps it out.
        """
        refused = Refused.from_os_error(error, call)
        send(self.channel, EntryRefused(call=refused.call, errno=refused.number))


class NextForkInside:
    """
    A context in which this thread forks into the PID namespace of *sandbox*.

    It is directed there only during the fork itself, for it can start no thread
    meanwhile. Source: clone(2), EINVAL for CLONE_THREAD.

    Raises:
        OSError: The kernel refused a call. If it refused to switch back, the sandbox
            was killed with what was forked, so that no other fork can land there.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._children = PidForChildren()
        self._functions = at_fork.innermost(before=self._go, in_parent=self._return)
        #: Why the fork did not go there, or this process did not return; None if all
        #: went well.
        self.error: OSError | None = None

    def __enter__(self) -> NextForkInside:
        self._functions.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._functions.__exit__(None, None, None)
        self._children.close()
        if self.error is not None and kind is None:
            raise self.error

    def _go(self) -> None:
        try:
            self._children.enter(self._sandbox.init)
        except OSError as error:
            self.error = error

    def _return(self) -> None:
        if self.error is not None:
            return
        try:
            # user_namespace_for() has checked that this is allowed.
            self._children.restore()
        except OSError as error:
            self.error = error
            self._sandbox.kill()


def needs_two_forks(sandbox: Sandbox) -> bool:
    """
    Say whether the way into *sandbox* leads through a process between.

    C code may start a thread in this process as soon as it has forked, and give up if
    it cannot, as gRPC does. Source: pthread_atfork(3). So a process that has threads
    is never directed elsewhere.
    """
    return sandbox.user_namespace is not UserNamespace.NONE or syscalls.has_threads()


def _ignores_children() -> bool:
    """
    Say whether this process cannot wait for others. Source: wait(2), SIGCHLD.
    """
    return signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN


def turn_to(sandbox: Sandbox) -> Credentials | None:
    """
    Direct the forks of this process into *sandbox*, for good.

    Returns:
        The credentials of this process before it joined a user namespace, None if it
        did not.

    Raises:
        OSError: The kernel refused; EINVAL if this process has threads.
    """
    kinds = syscalls.CLONE_NEWPID
    credentials = None
    try:
        if sandbox.user_namespace is not UserNamespace.NONE:
            credentials = Credentials.now()
            kinds |= syscalls.CLONE_NEWUSER
        elif syscalls.has_threads():
            # A fork would lose them, without a word. This call tells: EINVAL.
            syscalls.setns(sandbox.init, syscalls.CLONE_NEWNS)
        syscalls.setns(sandbox.init, kinds)
    except OSError as error:
        threads = at_fork.threads()
        text = f"{error.filename}{WITH_THREADS}{', '.join(threads)}"
        if not threads:
            raise
        raise OSError(error.errno, error.strerror, text) from None
    return credentials


def enter(
    sandbox: Sandbox,
    credentials: Credentials | None,
    *,
    confined: bool = False,
    directory: Directory | None = None,
) -> None:
    """
    Enter *sandbox* with the identity and directory that this process has outside.

    The process is already in its PID namespace, and in its user namespace if any.

    Args:
        sandbox: The sandbox to enter.
        credentials: The credentials of this process before it joined a user namespace,
            None if it did not.
        confined: Whether it may send signals only to itself and to what it starts, if
            the kernel can do that.
        directory: The working directory, if it is known.

    Raises:
        OSError: The kernel refused.
    """
    before = os.stat("/")
    directory = directory or Directory.now()
    syscalls.setns(sandbox.init, namespaces.joined(sandbox.namespaces))
    # setns() into a mount namespace changes to its root. Source: setns(2). The root of
    # a supervisor in a chroot is another directory.
    if not os.path.samestat(before, os.stat("/")):
        syscalls.named("fchdir()", os.fchdir, sandbox.root)
        syscalls.named("chroot()", os.chroot, ".")
    directory.enter()
    if confined:
        with contextlib.suppress(OSError):
            syscalls.confine_signals()
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
