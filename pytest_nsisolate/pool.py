"""
Where the supervisor gets sandboxes: its launchers, and the probe that comes first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import sys

from pytest_nsisolate.deadline import Deadline
from pytest_nsisolate.ending import Exited, Killed, NeverStarted, TimedOut
from pytest_nsisolate.entry import Entered
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.fork import fork_guest
from pytest_nsisolate.interrupt import Interrupts
from pytest_nsisolate.launching import Launcher, user_namespace_for
from pytest_nsisolate.messages import TestMessage
from pytest_nsisolate.sandbox import ANSWER_TIMEOUT, LauncherGone, Sandbox
from pytest_nsisolate.spec import Spec
from pytest_nsisolate.user_namespace import UserNamespace

#: How often one is asked for: a dead sandbox may be followed by a dead launcher.
_TRIES = 3


class Pool:
    """
    Sandboxes for one session, from one launcher for each kind of user namespace.
    """

    def __init__(self) -> None:
        self._launchers: dict[UserNamespace, Launcher] = {}
        #: Those that are dead, or as good as that, and not waited for yet.
        self._lost: list[Launcher] = []
        #: By `Spec.calls`.
        self._probed: dict[tuple[object, ...], Refused | None] = {}

    def probe(self, spec: Spec) -> Refused | None:
        """
        Say whether a sandbox for *spec* can be had, by trying it once per session.

        A throw-away guest goes through every call that a test's guest goes through.
        It has no fresh directories: what stands in the way of one is a matter of that
        path, and of that moment. So it is told by `take`.

        Returns:
            None if it can be had, else what was refused.
        """
        key = spec.calls()
        if spec.tmpfs is not None:
            spec = dataclasses.replace(spec, tmpfs=None)
        if key not in self._probed:
            try:
                self._probed[key] = self._try(spec)
            except LauncherGone as gone:
                # Someone has killed it, which says nothing of the next.
                return gone
        return self._probed[key]

    def require(self, spec: Spec) -> None:
        """
        Make sure that a sandbox for *spec* can be had, as `probe` does.

        Raises:
            Refused: It cannot be had.
        """
        refused = self.probe(spec)
        if refused is not None:
            raise refused

    def take(self, spec: Spec) -> Sandbox:
        """
        Return a sandbox for *spec*.

        Raises:
            Refused: It cannot be had.
        """
        self.require(spec)
        return self._take(spec)

    def prepare(self, spec: Spec) -> None:
        """
        Have a sandbox for *spec* made while other things go on.
        """
        with contextlib.suppress(Refused):
            self._launcher(user_namespace_for(spec)).ask(spec)

    def stop(self) -> None:
        """
        End the launchers, which would show among pytest's children; `take` starts anew.
        """
        while self._launchers:
            self._launchers.popitem()[1].close()
        while self._lost:
            self._lost.pop().close()

    def close_inherited(self) -> None:
        """
        Let go of everything in a guest, whose business it is not.
        """
        while self._launchers:
            self._launchers.popitem()[1].close_inherited()
        while self._lost:
            self._lost.pop().close_inherited()

    def _try(self, spec: Spec) -> Refused | None:
        """
        Return what is refused to a guest in a sandbox for *spec*, if anything is.

        Raises:
            LauncherGone: It was killed again and again.
        """
        if sys.platform != "linux":
            return Refused(f"namespaces on {sys.platform}", errno.ENOSYS)
        for _ in range(_TRIES - 1):
            with contextlib.suppress(LauncherGone):
                return self._try_once(spec)
        return self._try_once(spec)

    def _try_once(self, spec: Spec) -> Refused | None:
        interrupts = Interrupts()
        try:
            with interrupts:
                process = fork_guest(self._take(spec))
                process.release()
                ended = process.talk(_ignore, interrupts, Deadline(ANSWER_TIMEOUT))
        except LauncherGone:
            raise
        except Refused as error:
            return error
        except Entered as entered:
            entered.live(lambda *_: None)
        finally:
            interrupts.close()
        process.settle()
        process.reap()
        match ended:
            case NeverStarted(LauncherGone() as gone):
                raise gone
            case NeverStarted(refused):
                return refused
            case TimedOut():
                return Refused(f"a first guest {ended}", errno.ETIMEDOUT)
            case Exited() | Killed():
                raise LauncherGone(f"a first guest {ended}", errno.ECHILD)
            case _:
                return None

    def _take(self, spec: Spec) -> Sandbox:
        # A launcher that someone has killed, and the sandbox that it had ready, are
        # found out here; then another one is tried.
        for _ in range(_TRIES - 1):
            with contextlib.suppress(LauncherGone):
                return self._take_once(spec)
        return self._take_once(spec)

    def _take_once(self, spec: Spec) -> Sandbox:
        kind = user_namespace_for(spec)
        try:
            sandbox = self._launcher(kind).take(spec)
        except LauncherGone:
            self._lose(kind)
            raise
        if sandbox.is_alive():
            return sandbox
        sandbox.close()
        raise LauncherGone("a sandbox's init", errno.ESRCH)

    def _lose(self, kind: UserNamespace) -> None:
        """
        Put a launcher aside, to be waited for when no guest of its sandboxes is left.

        It ends only then: the supervisor, who would wait here, has to reap them first.
        Source: pid_namespaces(7), "The namespace init process".
        """
        for launcher in [one for one in self._lost if one.has_ended()]:
            self._lost.remove(launcher)
            launcher.close()
        self._lost.append(self._launchers.pop(kind))

    def _launcher(self, kind: UserNamespace) -> Launcher:
        if kind not in self._launchers:
            self._launchers[kind] = Launcher(kind)
        return self._launchers[kind]


def _ignore(message: TestMessage, *, synchronous: bool) -> None:
    """
    Do nothing: the guest of a probe has no test.
    """
