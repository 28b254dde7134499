"""
A `subprocess.Popen` whose process is in a sandbox.

The fork of Popen itself enters the sandbox, first of all. So the rest of Popen works as
usual: pipes, errors of execve(2), waiting.

With CAP_SYS_ADMIN this fork is the process inside. Without it, or if the caller has
threads, the fork has to fork again to be inside, see `entry`. Popen then has the
process in the middle, which passes on the signals that it gets, and ends in the way the
process inside ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
from collections.abc import Callable
from marshal import dumps, loads
from typing import Any, NoReturn

from pytest_nsisolate.guest.entry import (
    NextForkInside,
    enter,
    needs_two_forks,
    no_warning_of_threads,
    turn_to,
)
from pytest_nsisolate.guest.rlimits import Confinement
from pytest_nsisolate.linux import at_fork, process_group, syscalls
from pytest_nsisolate.linux.bare_fork import bare_fork
from pytest_nsisolate.linux.descriptors import Pipe, close_all_but
from pytest_nsisolate.linux.signals import Blocked
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model.errors import Refused, Unlimited
from pytest_nsisolate.model.limits import Limit
from pytest_nsisolate.sandbox.sandbox import Sandbox

# Windows does not have it, nor boxes.
with contextlib.suppress(ImportError):
    import resource


def start(
    sandbox: Sandbox,
    command: object,
    keywords: dict[str, Any],
    limits: tuple[Limit, ...] = (),
) -> subprocess.Popen[Any]:
    """
    Return ``subprocess.Popen(command, **keywords)`` in *sandbox*, with *limits*.

    Raises:
        Refused: The system refused the entry or a limit.
        OSError: The command cannot be run, as with Popen.
    """
    with contextlib.ExitStack() as stack:
        try:
            told = stack.enter_context(Pipe())
        except OSError as error:
            raise Refused.from_os_error(error) from None
        os.set_blocking(told.read, False)
        # No signal handler may raise while the next fork goes elsewhere.
        signals = stack.enter_context(Blocked())
        way = _Way(
            sandbox=sandbox,
            signals=signals,
            tell=told.write,
            new_session=bool(keywords.pop("start_new_session", False)),
            group=keywords.pop("process_group", None),
            own=keywords.pop("preexec_fn", None),
            limits=limits,
        )
        if not needs_two_forks(sandbox):
            try:
                way.inside = stack.enter_context(NextForkInside(sandbox))
            except OSError as error:
                raise sandbox.classify(Refused.from_os_error(error)) from None
        stack.enter_context(at_fork.innermost(in_child=way.enter))
        popen: Any = subprocess.Popen
        try:
            with no_warning_of_threads():
                return popen(command, preexec_fn=way.go, **keywords)  # type: ignore[no-any-return]
        except subprocess.SubprocessError:
            _raise_told(sandbox, told.read)
            raise


def _raise_told(sandbox: Sandbox, fd: int) -> None:
    """
    Raise the refusal that the fork has written to *fd*, if any.
    """
    try:
        told = os.read(fd, 4096)
    except BlockingIOError:
        return
    refused = loads(told)  # noqa: S302 - from our own fork
    if isinstance(refused[1], str):
        raise Unlimited(*refused) from None
    raise sandbox.classify(Refused(*refused)) from None


@dataclasses.dataclass(slots=True, kw_only=True)
class _Way:
    """
    The steps of a fork into a sandbox, up to the call of execve(2).
    """

    sandbox: Sandbox
    signals: Blocked
    tell: int
    """Pipe on which to report what was refused."""
    new_session: bool
    group: int | None
    """The caller's ``process_group``."""
    own: Callable[[], object] | None
    """The caller's own ``preexec_fn``, called inside."""
    limits: tuple[Limit, ...]
    """What the process may use."""
    inside: NextForkInside | None = None
    """What has forked it into the PID namespace, None if it has to fork again."""
    refused: OSError | None = None
    """Why the fork is not inside."""

    def enter(self) -> None:
        """
        Enter the sandbox, and return inside.

        This comes before anything that a library does in a fork: it may start threads.
        """
        try:
            self._enter()
        except OSError as error:
            self.refused = error

    def go(self) -> None:
        """
        Get ready for execve(2).
        """
        try:
            self._check()
        except OSError as error:
            told = (str(error.filename or "fork()"), error.errno or 0)
            os.write(self.tell, dumps(told))
            raise
        self.signals.restore()
        try:
            Confinement(self.limits, executes=True).hold()
        except Unlimited as error:
            os.write(self.tell, dumps((str(error), error.why, error.fix)))
            raise
        if self.own is not None:
            self.own()

    def _check(self) -> None:
        if self.refused is not None:
            raise self.refused

    def _enter(self) -> None:
        credentials = None
        if self.inside is None:
            credentials = turn_to(self.sandbox)
            pid = syscalls.named("fork()", bare_fork)
            if pid:
                self._leave_group(0)
                _stand_between(pid)
        elif self.inside.error is not None:
            raise self.inside.error
        enter(self.sandbox, credentials)
        self._leave_group(self.group)
        if self.inside is None:
            syscalls.set_parent_death_signal(signal.SIGKILL)

    def _leave_group(self, group: int | None) -> None:
        """
        Leave the process group of the caller, whose signals are not for the box.

        Nor are those from inside, as of kill(0, SIGTERM), for the caller.

        Args:
            group: The one to join; 0 to lead one. None, or less than 0, to be in one
                that has no leader.
        """
        if self.new_session:
            syscalls.named("setsid()", os.setsid)
        elif group is None or group < 0:
            process_group.found()
        else:
            syscalls.named("setpgid()", os.setpgid, 0, group)
        self.signals.discard()


def _stand_between(pid: int) -> NoReturn:
    """
    Pass on signals to the process *pid* until it ends; then end in the same way.

    Its parent-death signal stands in for SIGKILL. SIGSTOP cannot be passed on.
    """
    code = 1
    try:
        # A pipe must close when the process inside closes it.
        close_all_but(())
        # If SIGCHLD is ignored, waitpid() finds nothing. Source: wait(2).
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        code = os.waitstatus_to_exitcode(_pass_on(pid))
        if code < 0:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if -code not in {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(-code, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [-code])
            os.kill(os.getpid(), -code)
    finally:
        os._exit(code & 0xFF)


def _pass_on(pid: int) -> int:
    """
    Pass on signals to *pid* until it ends, and return its wait status.
    """
    # All are blocked, so that even ignored ones are pending. Source: signal(7).
    every = signal.valid_signals()
    while True:
        waited, status = os.waitpid(pid, os.WNOHANG)
        if waited:
            return status
        number = signal.sigwait(every)
        if number != signal.SIGCHLD:
            os.kill(pid, number)
