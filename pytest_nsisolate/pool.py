"""
Where the supervisor gets sandboxes: its launchers, and the probe that comes first.
"""

from __future__ import annotations

import contextlib
import errno
import sys
from typing import TypeAlias

from pytest_nsisolate import guest
from pytest_nsisolate.ending import Exited, Killed, NeverStarted
from pytest_nsisolate.entry import Entered
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.interrupt import Interrupts
from pytest_nsisolate.sandbox import Launcher, LauncherGone, Sandbox, identity_for
from pytest_nsisolate.spec import Spec

#: What decides which calls a sandbox takes: user, hostname and domain name given.
_Sequence: TypeAlias = tuple[str | None, bool, bool]


class Pool:
    """
    Sandboxes for one session, from one launcher for each kind of user namespace.
    """

    def __init__(self) -> None:
        self._launchers: dict[str, Launcher] = {}
        self._probed: dict[_Sequence, Refused | None] = {}

    def probe(self, spec: Spec) -> Refused | None:
        """
        Say whether a sandbox for *spec* can be had, by trying it once per session.

        A throw-away guest goes through every call that a test's guest goes through.

        Returns:
            None if it can be had, else what was refused.
        """
        key = (spec.user, spec.hostname is not None, spec.domainname is not None)
        if key not in self._probed:
            self._probed[key] = self._try(spec)
        return self._probed[key]

    def take(self, spec: Spec, *, renew: bool = True) -> Sandbox:
        """
        Return a sandbox for *spec*.

        Args:
            spec: What is asked for.
            renew: Whether to end a launcher that does not answer, which ends all that
                is in its sandboxes, and to start another one.

        Raises:
            Refused: It cannot be had.
            LauncherGone: Neither now nor, unless *renew*, from this launcher.
        """
        refused = self.probe(spec)
        if refused is not None:
            raise refused
        return self._take(spec) if renew else self._take_once(spec)

    def prepare(self, spec: Spec) -> None:
        """
        Have a sandbox for *spec* made while other things go on.
        """
        with contextlib.suppress(Refused):
            self._launcher(spec).ask(spec)

    def rest(self) -> None:
        """
        End the launchers, which would show among pytest's children; `take` starts anew.
        """
        while self._launchers:
            self._launchers.popitem()[1].close()

    def forget(self) -> None:
        """
        Let go of everything in a guest, whose business it is not.
        """
        while self._launchers:
            self._launchers.popitem()[1].forget()

    def _try(self, spec: Spec) -> Refused | None:
        if sys.platform != "linux":
            return Refused(f"namespaces on {sys.platform}", errno.ENOSYS)
        interrupts = Interrupts()
        try:
            with interrupts:
                process = guest.fork(self._take(spec))
                process.let_go()
                ended = process.talk(lambda _: None, interrupts)
        except Refused as error:
            return error
        except Entered as entered:
            entered.live(lambda *_: None)
        finally:
            interrupts.close()
        process.settle()
        process.reap()
        match ended:
            case NeverStarted(refused):
                return refused
            case Exited() | Killed():
                return Refused(f"a first guest that {ended}", errno.ECHILD)
            case _:
                return None

    def _take(self, spec: Spec) -> Sandbox:
        # A launcher that someone has killed, or that died with the sandbox it had
        # ready, is found out here; one more is tried.
        try:
            return self._take_once(spec)
        except LauncherGone:
            self._launchers.pop(identity_for(spec)).close()
        try:
            return self._take_once(spec)
        except LauncherGone:
            self._launchers.pop(identity_for(spec)).close()
            raise

    def _take_once(self, spec: Spec) -> Sandbox:
        sandbox = self._launcher(spec).take(spec)
        if not sandbox.is_alive():
            sandbox.close()
            raise LauncherGone("a sandbox's init", errno.ESRCH)
        return sandbox

    def _launcher(self, spec: Spec) -> Launcher:
        identity = identity_for(spec)
        if identity not in self._launchers:
            self._launchers[identity] = Launcher(identity)
        return self._launchers[identity]
