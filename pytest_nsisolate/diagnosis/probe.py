"""
The probe: a guest without a test, which tries each way into a sandbox first.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from pytest_nsisolate.diagnosis import machine, oom_killer
from pytest_nsisolate.guest.deadline import Deadline
from pytest_nsisolate.guest.entry import InGuest
from pytest_nsisolate.guest.fork import fork_guest
from pytest_nsisolate.guest.interrupt import Interrupts
from pytest_nsisolate.guest.messages import TestMessage, Texts
from pytest_nsisolate.model.ending import Exited, Killed, NeverStarted, TimedOut
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.launcher_client import Paths
from pytest_nsisolate.sandbox.pool import Pool, persist
from pytest_nsisolate.sandbox.sandbox import ANSWER_TIMEOUT, LauncherGone, Sandbox


class ProbedPool(Pool):
    """
    A pool that gives out a sandbox only if a probe has entered one like it.

    The probe is a guest that runs no test, but makes every call that the guest of a
    test makes. All its directories are the host's: whether one can be mounted depends
    on its path and may change, so such a refusal comes with the sandbox itself.
    """

    def __init__(self, paths: Callable[[], Paths] = Paths) -> None:
        super().__init__(paths)
        #: The result of each probe, by `Spec.calls`.
        self._probed: dict[tuple[object, ...], Refused | None] = {}
        #: The same by spec, for tests mostly ask for what others have asked for.
        self._known: dict[Spec, Refused | None] = {}

    def probe(self, spec: Spec) -> Refused | None:
        """
        Return what a guest in a sandbox for *spec* is refused, None if nothing is.
        """
        try:
            return persist(lambda: self._probe(spec))
        except LauncherGone as gone:
            return gone

    def take(self, spec: Spec) -> Sandbox:
        """
        Return a sandbox for *spec*, as `Pool.take` does, unless the probe was refused.
        """
        refused = self._probe(spec)
        if refused is not None:
            raise refused
        return super().take(spec)

    def forget(self, spec: Spec) -> None:
        """
        Probe for *spec* anew if that was refused: other guests ran at that time.
        """
        if self._probed.get(spec.calls()) is not None:
            del self._probed[spec.calls()]
            self._known.clear()

    def _probe(self, spec: Spec) -> Refused | None:
        """
        Return what the probe for *spec* was refused; probe if this was not done yet.

        Raises:
            LauncherGone: The probe was killed, which says nothing about the next one.
        """
        if spec in self._known:
            return self._known[spec]
        key = spec.calls()
        if key not in self._probed:
            refused: Refused | None
            if sys.platform != "linux":
                refused = Refused(f"namespaces on {sys.platform}", errno.ENOSYS)
            elif not machine.has_gil():
                refused = Refused("fork() without the GIL", errno.ENOSYS)
            else:
                refused = self._try(spec.without_directories())
            self._probed[key] = refused
        self._known[spec] = self._probed[key]
        return self._known[spec]

    def _try(self, spec: Spec) -> Refused | None:
        # What it has killed before is none of the guests to come.
        oom_killer.watch()
        interrupts = Interrupts()
        try:
            with interrupts:
                guest = fork_guest(super().take(spec))
                guest.release()
                ended = guest.listen(_ignore, interrupts, Deadline(ANSWER_TIMEOUT))
        except LauncherGone:
            raise
        except Refused as error:
            return error
        except InGuest as entered:
            entered.live(lambda *_: None)
        finally:
            interrupts.close()
        guest.settle()
        guest.reap()
        match ended:
            case NeverStarted(LauncherGone() as gone):
                raise gone
            case NeverStarted(refused):
                return refused
            case TimedOut():
                return Refused(f"a probe {ended}", errno.ETIMEDOUT)
            case Exited() | Killed():
                raise LauncherGone(f"a probe {ended}", errno.ECHILD)
            case _:
                return None


def _ignore(message: TestMessage, *, synchronous: bool, texts: Texts) -> None:
    """
    Do nothing: the probe has no test.
    """
