"""
The supervisor's handle on a live sandbox.
"""

from __future__ import annotations

import contextlib
import errno
import signal
from marshal import loads
from pathlib import Path
from typing import NamedTuple, cast

from pytest_nsisolate.launcher.audit import Facts, mounts
from pytest_nsisolate.launcher.init import LOOK
from pytest_nsisolate.linux.descriptors import readable
from pytest_nsisolate.linux.namespaces import Namespace
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.user_namespace import UserNamespace

#: How long to wait for a sandbox to start or to end, in seconds. A few milliseconds are
#: usual, but not on a machine that swaps.
ANSWER_TIMEOUT = 30.0

#: How long to wait for an audit after the grace period, in seconds.
AUDIT_TIMEOUT = 10.0


class LauncherGone(Refused):
    """
    The launcher or an init is dead; the next one may work.
    """


class TakenId(LauncherGone):
    """
    A process has got an id that one above it has; the next one gets another.
    """


class Sandbox(NamedTuple):
    """
    A live set of namespaces, kept alive by its init.
    """

    init: int
    """Pidfd of the init."""
    root: int
    """O_PATH descriptor of the root directory inside."""
    asker: int
    """Socket that takes requests for audits to init."""
    user_namespace: UserNamespace
    """The one it is in: see `launcher_client.user_namespace_for`."""
    namespaces: tuple[Namespace, ...] = ()
    """Its own namespaces, the user namespace last."""
    lacking: tuple[str, ...] = ()
    """As in `Refused.lacking`."""
    lent: bool = False
    """Whether it is used by one guest after another."""

    def is_alive(self) -> bool:
        """
        Return whether the init still runs.
        """
        return not readable(self.init, 0)

    def init_pid(self) -> int:
        """
        Return the process id of the init outside; not above zero if it is gone.

        Source: proc_pid_fdinfo(5); the field Pid is there since Linux 5.3.
        """
        try:
            text = Path(f"/proc/self/fdinfo/{self.init}").read_text()
            return int(text.partition("\nPid:")[2].split("\n")[0])
        except (OSError, ValueError):
            return 0

    def audit(self, grace: float = 0.0, *, has_guest: bool = True) -> Facts | None:
        """
        Return what is inside, or None if init gives no answer.

        What the host has mounted in the meantime, which the kernel also mounts here, is
        left out.

        Args:
            grace: How long to wait for processes inside to end, in seconds.
            has_guest: Whether the first process inside is a guest.
        """
        facts = self._ask(grace, has_guest=has_guest)
        if facts is None or not facts.get("mount", (0,))[0]:
            return facts
        try:
            host = {mount[1:] for mount in mounts()}
        except OSError:
            return facts
        # What the host had unmounted before that look is not here any more either.
        still = (self._ask(0, has_guest=has_guest) or facts).get("mount", (0, []))[1]
        number, first = facts["mount"]
        left = [one for one in first if one in still and one not in host]
        return {**facts, "mount": (number - len(first) + len(left), left)}

    def _ask(self, grace: float, *, has_guest: bool) -> Facts | None:
        try:
            os.write(self.asker, LOOK.pack(grace, has_guest))
            if not readable(self.asker, grace + AUDIT_TIMEOUT):
                return None
            answer = os.read(self.asker, 1 << 18)
        except OSError:
            return None
        return cast("Facts", loads(answer)) if answer else None

    def classify(self, refused: Refused) -> Refused:
        """
        Return *refused* as a `LauncherGone` if a dead init may be the reason.

        EEXIST makes it a `TakenId`: see `Entry`. Otherwise tell it how this sandbox was
        made.

        An init that is dying stays until everything inside has been reaped. Until then
        entering fails: setns() with ESRCH, fork() with ENOMEM. Source: setns(2),
        fork(2), pid_namespaces(7), "The namespace init process".
        """
        if refused.number == errno.EEXIST:
            return TakenId(refused.call, refused.number)
        if refused.number in {errno.ESRCH, errno.ENOMEM} or not self.is_alive():
            return LauncherGone(refused.call, refused.number)
        refused.user_namespace = self.user_namespace
        refused.lacking = self.lacking
        return refused

    def kill(self) -> None:
        """
        Kill the init, and everything inside with it, but do not wait.

        Source: pid_namespaces(7), "The namespace init process".
        """
        try:
            signal.pidfd_send_signal(self.init, signal.SIGKILL)
        except ProcessLookupError:
            return
        except OSError:
            # A seccomp filter may allow only kill().
            pid = self.init_pid()
            if pid > 0:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """
        Kill everything inside and wait until it is gone.

        Reap the guest first: an init cannot end before that.
        """
        self.kill()
        readable(self.init, ANSWER_TIMEOUT)
        self.close_inherited()

    def lend(self) -> Sandbox:
        """
        Return the same sandbox with descriptors of its own.

        Raises:
            Refused: No descriptors are left.
        """
        fds: list[int] = []
        try:
            for fd in (self.init, self.root, self.asker):
                fds.append(os.dup(fd))  # noqa: PERF401 - an error closes those
        except OSError as error:
            for fd in fds:
                os.close(fd)
            raise Refused("dup()", error.errno or 0) from None
        init, root, asker = fds
        return self._replace(init=init, root=root, asker=asker, lent=True)

    def close_inherited(self) -> None:
        """
        Close the descriptors, but leave the sandbox alive for other processes.
        """
        for fd in (self.init, self.root, self.asker):
            os.close(fd)
