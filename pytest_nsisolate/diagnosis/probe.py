"""
The probe: a first guest that tries, once per session, what a sandbox takes.
"""

from __future__ import annotations

import dataclasses
import errno
import sys

from pytest_nsisolate.guest.deadline import Deadline
from pytest_nsisolate.guest.entry import InGuest
from pytest_nsisolate.guest.fork import fork_guest
from pytest_nsisolate.guest.interrupt import Interrupts
from pytest_nsisolate.guest.messages import TestMessage
from pytest_nsisolate.model.ending import Exited, Killed, NeverStarted, TimedOut
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.pool import Pool, persist
from pytest_nsisolate.sandbox.sandbox import ANSWER_TIMEOUT, LauncherGone, Sandbox


class ProbedPool(Pool):
    """
    A pool that gives a sandbox only where a first guest has got into one like it.

    The first guest, which runs no test, goes through every call that a test's guest
    goes through. It has no fresh directories: what stands in the way of one depends on
    its path, and on the moment. That refusal comes with the sandbox itself.
    """

    def __init__(self) -> None:
        super().__init__()
        #: By `Spec.calls`.
        self._probed: dict[tuple[object, ...], Refused | None] = {}

    def probe(self, spec: Spec) -> Refused | None:
        """
        Return what is refused to a guest in a sandbox for *spec*; None if nothing is.
        """
        try:
            return persist(lambda: self._probe(spec))
        except LauncherGone as gone:
            return gone

    def take(self, spec: Spec) -> Sandbox:
        """
        Return a sandbox for *spec*, as `Pool.take`, if the probe was not refused.
        """
        refused = self._probe(spec)
        if refused is not None:
            raise refused
        return super().take(spec)

    def _probe(self, spec: Spec) -> Refused | None:
        """
        Return what the first guest was refused; send it, if that has not been done.

        Raises:
            LauncherGone: It was killed, which says nothing about the next.
        """
        key = spec.calls()
        if key not in self._probed:
            if sys.platform != "linux":
                refused = Refused(f"namespaces on {sys.platform}", errno.ENOSYS)
            else:
                if spec.tmpfs is not None:
                    spec = dataclasses.replace(spec, tmpfs=None)
                refused = self._try(spec)
            self._probed[key] = refused
        return self._probed[key]

    def _try(self, spec: Spec) -> Refused | None:
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
                return Refused(f"a first guest {ended}", errno.ETIMEDOUT)
            case Exited() | Killed():
                raise LauncherGone(f"a first guest {ended}", errno.ECHILD)
            case _:
                return None


def _ignore(message: TestMessage, *, synchronous: bool) -> None:
    """
    Do nothing: the guest of a probe has no test.
    """
