"""
The zygote: a fork of the supervisor that does nothing but fork guests.

After a fork, both processes copy each page of memory that they write to. The supervisor
writes to many of them between two tests, and the zygote to few. It has dropped already
what each guest would have to drop, and has joined the user namespace of the sandboxes,
if they have one. Each guest is a copy of the supervisor as it was when it forked the
zygote: `Scheduler` says how long that is good enough.

The zygote waits for its guests and reports how they ended, as a process between does
that has only one: see `entry`.
"""

from __future__ import annotations

import contextlib
import signal
from _socket import socket
from marshal import dumps, loads

from pytest_nsisolate.guest.channel import Reader
from pytest_nsisolate.guest.entry import NUMBER, Entry, InFork, InGuest, fork
from pytest_nsisolate.guest.fork import is_confined
from pytest_nsisolate.guest.messages import OF_GUEST, GuestMessage
from pytest_nsisolate.guest.process import GuestProcess
from pytest_nsisolate.linux import (
    ancestry,
    at_fork,
    descriptors,
    namespaces,
    syscalls,
)
from pytest_nsisolate.linux.credentials import Credentials, Directory
from pytest_nsisolate.linux.descriptors import Pipe
from pytest_nsisolate.linux.hot_pages import HotPages
from pytest_nsisolate.linux.namespaces import Namespace
from pytest_nsisolate.linux.signals import Blocked
from pytest_nsisolate.linux.stdlib import os, select
from pytest_nsisolate.model.ending import Usage
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.sandbox import Sandbox

#: How many descriptors come with an order: the guest's ends of the channel and of the
#: gate, the zygote's end of the pipe on which it reports, and init and root directory
#: of the sandbox.
_DESCRIPTORS = 5


class Zygote:
    """
    The supervisor's handle on a zygote.

    Args:
        sandbox: A sandbox of the kind that its guests will have.
        hot_pages: Those of all guests of this process.

    Raises:
        InZygote: In the zygote.
        Refused: The supervisor could not fork.
    """

    def __init__(self, sandbox: Sandbox, hot_pages: HotPages) -> None:
        #: The kind of user namespace of its guests.
        self.user_namespace = sandbox.user_namespace
        confined = is_confined(sandbox)
        with contextlib.ExitStack() as stack, Blocked() as signals:
            try:
                hot_pages.open()
                self._control, theirs = descriptors.socketpair()
                unused = stack.enter_context(contextlib.ExitStack())
                unused.callback(self._control.close)
                stack.callback(theirs.close)
                self._pid = syscalls.named("fork()", fork)
                if not self._pid:
                    stack.pop_all()
                    self._control.close()
                    signals.keep()
                    raise InZygote(
                        theirs, signals, sandbox.user_namespace, confined, hot_pages
                    )
                unused.callback(self._end)
                self._pidfd = syscalls.named("pidfd_open()", os.pidfd_open, self._pid)
            except OSError as error:
                raise Refused.from_os_error(error, "fork()") from None
            unused.pop_all()

    def fork(
        self, sandbox: Sandbox, errand: tuple[str | bytes | bool | int | None, ...]
    ) -> GuestProcess[GuestMessage]:
        """
        Have a guest forked into *sandbox*, and do not wait for it.

        Args:
            sandbox: The sandbox to enter.
            errand: What the guest is to do, for `marshal`: see `InZygote.serve`.

        Raises:
            OSError: No descriptors are left, or the zygote is gone.
        """
        with Pipe() as channel, Pipe() as gate, Pipe() as status:
            for fd in (channel.read, gate.write):
                os.set_blocking(fd, False)
            names = tuple([one.name for one in sandbox.namespaces])
            given = (channel.write, gate.read, status.write)
            descriptors.send(
                self._control,
                dumps((names, errand)),
                [*given, sandbox.init, sandbox.root],
            )
            return GuestProcess(
                pid=None,
                pidfd=-1,
                status=status.take_read(),
                inlet=Reader(channel.take_read(), OF_GUEST),
                gate=gate.take_write(),
                zygote=self._pid,
            )

    def has_ended(self) -> bool:
        """
        Say whether it has ended, for it was killed or unable to serve.
        """
        return descriptors.readable(self._pidfd, 0)

    def dismiss(self) -> None:
        """
        Have it end once its guests have ended.
        """
        self._control.close()

    def close(self) -> None:
        """
        End it, and with it the guests that it has forked.
        """
        self.close_inherited()
        self._end()

    def _end(self) -> None:
        # If SIGCHLD is ignored, its id may be someone else's once it has ended. But it
        # ends only here, unless something has killed it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        # A fixture that waits for any child may have reaped it.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def close_inherited(self) -> None:
        """
        In another fork: close the supervisor's descriptors of it.
        """
        self._control.close()
        os.close(self._pidfd)


class InZygote(InFork):
    """
    Raised in a zygote.

    Args:
        control: The socket on which it gets its orders.
        signals: The signals, which are all blocked from before the fork.
        user_namespace: The kind that the sandboxes have in common.
        confined: As for `entry.enter`.
        hot_pages: Those of all guests of the supervisor.
    """

    def __init__(
        self,
        control: socket,
        signals: Blocked,
        user_namespace: UserNamespace,
        confined: bool,  # noqa: FBT001 - one of five, none of which is optional
        hot_pages: HotPages,
    ) -> None:
        super().__init__()
        self._control = control
        self._signals = signals
        self._user_namespace = user_namespace
        self._confined = confined
        self._hot_pages = hot_pages
        self._joins = user_namespace is not UserNamespace.NONE
        self._credentials: Credentials | None = None
        self._directory = Directory.now()
        self._taken = ancestry.taken()
        #: What is being forked, and in a guest, what was.
        self._entry: Entry | None = None
        #: By pidfd, the guests that run: process ids, and where to report their ends.
        self._guests: dict[int, tuple[int, int]] = {}
        #: The pipes of these reports.
        self._reports: set[int] = set()
        #: By their names, the namespaces of sandboxes.
        self._namespaces: dict[tuple[str, ...], tuple[Namespace, ...]] = {}
        self._poll = select.poll()
        self._is_dismissed = False

    def serve(self) -> tuple[InGuest, Sandbox, tuple[object, ...]]:
        """
        Fork guests until the supervisor is gone, and return in each guest.

        Returns:
            What a guest is, its sandbox, without init's socket, and its errand.
        """
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if syscalls.has_threads():
            # C code has started them when this process was forked. None would be in a
            # guest, and setns(2) refuses a process that has any.
            os._exit(1)
        # If the tests ignore it, this process could not wait for guests.
        is_ignored = signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
        if is_ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._hot_pages.look()
        self._poll.register(self._control, select.POLLIN)
        try:
            with at_fork.innermost(in_child=self._enter):
                guest, errand = self._serve()
        except BaseException:  # noqa: BLE001 - this process must not go on as pytest
            os._exit(1)
        if is_ignored:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        assert self._entry is not None
        return guest, self._entry.sandbox, errand

    # In what follows each object that is touched costs a copy of its page of memory, in
    # this process and in each guest.

    def _serve(self) -> tuple[InGuest, tuple[object, ...]]:
        """
        Fork guests, and return in each of them.
        """
        control = self._control.fileno()
        while True:
            if self._is_dismissed and not self._guests:
                os._exit(0)
            for fd, _ in self._poll.poll():
                if fd != control:
                    self._reap(fd)
                    continue
                message, fds = descriptors.receive(self._control, _DESCRIPTORS)
                if not message:
                    self._poll.unregister(control)
                    self._is_dismissed = True
                    continue
                names, errand = loads(message)  # noqa: S302 - from the supervisor
                # If no more can be open here, the supervisor sees that they are closed.
                if len(fds) == _DESCRIPTORS and self._fork(names, fds):
                    assert self._entry is not None
                    guest = self._entry.guest()
                    guest.hot_pages = self._hot_pages
                    return guest, errand
                for one in fds:
                    if one not in self._reports:
                        os.close(one)

    def _fork(self, names: tuple[str, ...], fds: list[int]) -> bool:
        """
        Fork a guest, and say whether this is the guest.
        """
        channel, gate, status, init, root = fds
        if names not in self._namespaces:
            self._namespaces[names] = namespaces.named(names)
        sandbox = Sandbox(
            init=init,
            root=root,
            asker=-1,
            user_namespace=self._user_namespace,
            namespaces=self._namespaces[names],
        )
        self._entry = Entry(
            sandbox,
            channel,
            gate,
            self._signals,
            self._taken,
            self._confined,
            self._directory,
        )
        pid = -1
        try:
            self._turn_to(init)
            pid = os.fork()
            pidfd = os.pidfd_open(pid) if pid else -1
        except OSError as error:
            if pid > 0:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            self._entry.tell(error, "fork()")
            return False
        if pid:
            self._guests[pidfd] = (pid, status)
            self._reports.add(status)
            self._poll.register(pidfd, select.POLLIN)
            _report(status, NUMBER.pack(pid))
            return False
        self._control.close()
        for fd in (status, init, root, *self._guests, *self._reports):
            os.close(fd)
        return True

    def _turn_to(self, init: int) -> None:
        """
        Direct the next fork into the sandbox of *init*. This process never returns.

        Raises:
            OSError: The kernel refused.
        """
        kinds = syscalls.CLONE_NEWPID
        if self._joins:
            self._credentials = Credentials.now()
            kinds |= syscalls.CLONE_NEWUSER
        syscalls.setns(init, kinds)
        self._joins = False

    def _enter(self) -> None:
        """
        In a fork: enter the sandbox, or end this process.
        """
        self._hot_pages.copy()
        assert self._entry is not None
        self._entry.enter(self._credentials)

    def _reap(self, pidfd: int) -> None:
        """
        Report how the guest behind *pidfd* ended, and what it used.
        """
        pid, status = self._guests.pop(pidfd)
        self._reports.remove(status)
        self._poll.unregister(pidfd)
        _, ended, used = os.wait4(pid, 0)
        _report(status, NUMBER.pack(ended) + Usage.of(used).pack())
        os.close(pidfd)
        os.close(status)


def _report(status: int, data: bytes) -> None:
    # The supervisor may not want to know any more.
    with contextlib.suppress(BrokenPipeError):
        os.write(status, data)


def can_serve() -> bool:
    """
    Say whether a zygote would be as good as this process, which has one thread.

    What libraries have registered for forks is called in the zygote, too, and in each
    guest once more. It may start threads there, or count on being called once.
    """
    return at_fork.is_plain()
