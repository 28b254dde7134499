"""
A box: a sandbox that a test makes for itself, to have a second host.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, NoReturn, ParamSpec, TypeAlias, TypeVar, cast

from pytest_nsisolate.box import explanations
from pytest_nsisolate.box.call import Call, Unfinished
from pytest_nsisolate.box.explanations import DidNotFinish
from pytest_nsisolate.box.pickled import deliver
from pytest_nsisolate.box.popen import start
from pytest_nsisolate.diagnosis import explain
from pytest_nsisolate.guest.messages import Garbled
from pytest_nsisolate.launcher.audit import Facts
from pytest_nsisolate.model.errors import BoxError, Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.ipc import Ipc
from pytest_nsisolate.sandbox.leaks import unseen
from pytest_nsisolate.sandbox.pool import Pool, persist
from pytest_nsisolate.sandbox.sandbox import Sandbox

#: The types of commands that Popen takes.
Command: TypeAlias = (
    "str | bytes | os.PathLike[str] | Sequence[str | bytes | os.PathLike[str]]"
)

_Value = TypeVar("_Value")
_Given = ParamSpec("_Given")

#: Seconds that reaping a killed process may take.
_REAP_TIMEOUT = 30.0

#: Keywords of Popen that change the user or groups before the process is inside.
_WHO = ("user", "group", "extra_groups")


class Box:
    """
    A sandbox to call functions and start processes in.

    Args:
        pool: Makes the sandbox.
        spec: The spec of the sandbox.
        name: The name of the box in errors.
        on_close: Called when the box is closed, with what is left in it, or None if
            that is not known.
        grace: Seconds that processes in it may take to end by themselves.
        entered: Called inside, in each fork that runs a function.

    Raises:
        Refused: The sandbox cannot be made, or cannot have these limits.

    .. versionadded:: 1.0.0
    """

    def __init__(
        self,
        pool: Pool,
        spec: Spec,
        *,
        name: str,
        on_close: Callable[[Box, Facts | None], None] = lambda *_: None,
        grace: float = 0.0,
        entered: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._spec = spec
        self._on_close = on_close
        self._grace = grace
        self._entered = entered
        self._limits = spec.limits("sandbox_factory()")
        sandbox = persist(lambda: pool.take(spec))
        self._sandbox: Sandbox | None = sandbox
        self._home = pid_namespace()
        #: A set, since threads may change it at the same time.
        self._started: set[subprocess.Popen[Any]] = set()
        #: The name of the box in errors.
        self.name = name
        #: The hostname inside.
        self.hostname = os.uname().nodename if spec.hostname is None else spec.hostname
        #: The leak policy: what to do if something is left in the box.
        self.leaks = spec.leaks
        #: Its own namespaces, by their names in ``/proc/PID/ns``.
        self.namespaces = tuple(one.name for one in sandbox.namespaces)
        if self._limits:
            # Refuse limits that cannot hold now, and not when they are needed.
            try:
                self._call(sandbox, int).make()
            except BaseException:
                sandbox.close()
                raise

    def __repr__(self) -> str:
        state = " closed" if self._sandbox is None else ""
        return f"<Box {self.name}{state}, hostname {self.hostname!r}>"

    def __enter__(self) -> Box:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            # A leak that the error caused must not hide the error.
            self._on_close = lambda *_: None
        self.close()

    @property
    def is_open(self) -> bool:
        """
        Whether the box is still open.
        """
        return self._sandbox is not None

    def run(
        self,
        function: Callable[_Given, _Value],
        /,
        *args: _Given.args,
        **keywords: _Given.kwargs,
    ) -> _Value:
        """
        Call *function* in a fork inside, and return its value.

        As in any fork, the function sees everything that the caller sees, and cannot
        change any of it. Its value or exception comes back by `pickle`. Its output and
        warnings come back too.

        Raises:
            BaseException: The exception of the function; its cause is a
                `RemoteTraceback`.
            CannotCarry: The value or exception cannot be pickled.
            DidNotFinish: The function ended its process, or took too long.
            BoxError: The box is closed, or cannot be entered from here.
        """
        __tracebackhide__ = True
        if not callable(function):
            raise BoxError(explanations.no_function(f"in {self.name}", function))
        called = getattr(function, "__name__", type(function).__name__)
        action = f"{called} in {self.name}"
        call = self._call(
            self._inside(f"run {action}"),
            functools.partial(function, *args, **keywords),
        )
        try:
            said = persist(call.make)
        except Refused as refused:
            self._refuse(f"run {action}", refused)
        except Garbled as garbled:
            raise BoxError(explanations.garbled(action, garbled)) from None
        if isinstance(said, Unfinished):
            text = explanations.ended(action, said.ending, said.limited)
            raise DidNotFinish(text, said.ending)
        return cast("_Value", deliver(said, action, self.name))

    def popen(
        self,
        command: Command,
        **keywords: Any,  # noqa: ANN401 - those of Popen
    ) -> subprocess.Popen[Any]:
        """
        Return ``subprocess.Popen(command, **keywords)`` for a process inside.

        Wait for it as usual. A process that still runs when the box is closed is a leak
        and is killed.

        Raises:
            OSError: The command cannot be run, as with Popen.
            BoxError: The box is closed, or cannot be entered from here.
        """
        __tracebackhide__ = True
        action = f"start a process in {self.name}"
        sandbox = self._inside(action)
        command = _checked(action, command, keywords)
        who = [name for name in _WHO if keywords.get(name) is not None]
        if who:
            raise BoxError(explanations.other_user(action, who))
        if self._spec.env or self._spec.clear_env:
            keywords.setdefault("env", self._environment())
        self._started -= {
            one for one in (*self._started,) if one.returncode is not None
        }
        try:
            process = start(sandbox, command, keywords, self._limits)
        except Refused as refused:
            self._refuse(action, refused)
        self._started.add(process)
        return process

    def pids(self) -> list[int]:
        """
        Return the process ids, as seen inside, of the processes in the box.

        The init is left out. If there are more than 100, this returns the first 100.
        """
        __tracebackhide__ = True
        facts = self._look("list the processes")
        return [int(fact[0]) for fact in facts["process"][1]]

    def ipc(self) -> Ipc:
        """
        Return the IPC objects in the box.
        """
        __tracebackhide__ = True
        return Ipc.of(self._look("list the IPC objects"))

    def close(self) -> None:
        """
        Kill all processes inside and wait until they are gone.

        The leak policy decides whether leaks are reported. Closing a box again does
        nothing.
        """
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is None:
            return
        is_audited = self._spec.is_audited()
        facts = sandbox.audit(self._grace, has_guest=False) if is_audited else None
        sandbox.kill()
        for process in self._started:
            # An init does not end before all processes inside have been reaped.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_REAP_TIMEOUT)
        sandbox.close()
        if is_audited:
            self._on_close(self, facts)

    def _environment(self) -> dict[str, str]:
        given: dict[str, str | None] = {} if self._spec.clear_env else dict(os.environ)
        given |= dict(self._spec.env or ())
        return {name: one for name, one in given.items() if one is not None}

    def _call(self, sandbox: Sandbox, function: Callable[[], object]) -> Call:
        return Call(
            sandbox=sandbox,
            function=function,
            timeout=self._spec.timeout or None,
            limits=self._limits,
            begin=self._begin,
        )

    def _begin(self) -> None:
        """
        In a fork: release what belongs to the caller.
        """
        self._pool.close_inherited()
        self._entered()

    def _look(self, action: str) -> Facts:
        __tracebackhide__ = True
        facts = self._open(f"{action} of {self.name}").audit(has_guest=False)
        missed = [] if facts is None else unseen(facts)
        if facts is None or missed:
            raise BoxError(explanations.unseen(f"{action} of {self.name}", missed))
        return facts

    def _open(self, action: str) -> Sandbox:
        __tracebackhide__ = True
        if self._sandbox is None:
            raise BoxError(explanations.closed(action, "sandbox_factory()"))
        return self._sandbox

    def _inside(self, action: str) -> Sandbox:
        """
        Return the sandbox, if this process may enter it.
        """
        __tracebackhide__ = True
        sandbox = self._open(action)
        here = pid_namespace()
        if here != self._home:
            # A process may join descendants only. Source: setns(2), "PID namespaces".
            raise BoxError(explanations.outside(action, here, self._home))
        return sandbox

    def _refuse(self, action: str, refused: Refused) -> NoReturn:
        __tracebackhide__ = True
        if self._sandbox is not None and not self._sandbox.is_alive():
            raise BoxError(explanations.dead(action, refused)) from None
        raise BoxError(explain.explain(action, refused)) from None


def reach(box: Box, action: str) -> Sandbox:
    """
    Return the sandbox of *box*, in which *action* is to happen.

    Raises:
        BoxError: The box is closed, or cannot be entered from here.
    """
    __tracebackhide__ = True
    return box._inside(action)  # noqa: SLF001 - not for users of a box


def _checked(action: str, command: Command, keywords: dict[str, Any]) -> Command:
    """
    Return *command*; if Popen would not take it with *keywords*, explain that.
    """
    __tracebackhide__ = True
    if not isinstance(command, str | bytes | os.PathLike):
        if callable(command) or not isinstance(command, Iterable):
            raise BoxError(explanations.no_command(action, command))
        # An iterator gives its parts only once.
        command = list(command)
        for part in command:
            if not isinstance(part, str | bytes | os.PathLike):
                raise BoxError(explanations.bad_part(action, command, part))
    own, group = keywords.get("preexec_fn"), keywords.get("process_group")
    if own is not None and not callable(own):
        raise BoxError(explanations.bad_preexec(action, own))
    if group is not None and not isinstance(group, int):
        raise BoxError(explanations.bad_group(action, group))
    return command


def pid_namespace() -> str:
    """
    Return the PID namespace of this process, such as ``pid:[4026531836]``.

    Source: namespaces(7), "The /proc/pid/ns/ directory".
    """
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "an unknown one"
