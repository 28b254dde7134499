"""
Sandboxes as the supervisor holds them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import marshal
import signal
from pathlib import Path
from typing import cast

from pytest_nsisolate.launcher.audit import Facts
from pytest_nsisolate.launcher.init import GRACE
from pytest_nsisolate.linux.descriptors import readable
from pytest_nsisolate.linux.namespaces import Namespace
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.user_namespace import UserNamespace

#: How long to wait for a sandbox to come or to go, in seconds. It takes a few
#: milliseconds; this is for a machine that swaps.
ANSWER_TIMEOUT = 30.0

#: How long to wait for an audit, beyond the grace period, in seconds.
AUDIT_TIMEOUT = 10.0


class LauncherGone(Refused):
    """
    The launcher or an init is dead; another one may do.
    """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """
    A live set of namespaces, kept alive by its init.
    """

    init: int
    """Pidfd of the init."""
    root: int
    """O_PATH descriptor of the root directory inside."""
    asker: int
    """Socket on which init is asked for an audit."""
    user_namespace: UserNamespace
    """Which one it is in: see `launching.user_namespace_for`."""
    namespaces: tuple[Namespace, ...] = ()
    """What it is made of, the user namespace last."""

    def is_alive(self) -> bool:
        """
        Say whether the init still runs.
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

    def audit(self, grace: float = 0.0) -> Facts | None:
        """
        Return what is inside; None if init does not say.

        Args:
            grace: How long processes inside may take to end, in seconds.
        """
        try:
            os.write(self.asker, GRACE.pack(grace))
            if not readable(self.asker, grace + AUDIT_TIMEOUT):
                return None
            answer = os.read(self.asker, 1 << 18)
        except OSError:
            return None
        return cast("Facts", marshal.loads(answer)) if answer else None

    def classify(self, refused: Refused) -> Refused:
        """
        Return *refused*, on the way in, as a `LauncherGone` where that may be why.

        An init that is dying is not dead before all inside have been reaped. Until then
        setns() tells of it by ESRCH and fork() by ENOMEM. Source: setns(2), fork(2) and
        pid_namespaces(7), "The namespace init process".
        """
        if refused.number in {errno.ESRCH, errno.ENOMEM} or not self.is_alive():
            return LauncherGone(refused.call, refused.number)
        return refused

    def kill(self) -> None:
        """
        Kill the init, and with it everything inside; do not wait.

        Source: pid_namespaces(7), "The namespace init process".
        """
        try:
            signal.pidfd_send_signal(self.init, signal.SIGKILL)
        except ProcessLookupError:
            return
        except OSError:
            # A seccomp filter may know kill() alone.
            pid = self.init_pid()
            if pid > 0:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """
        Kill everything inside and wait until it is gone.

        A guest must have been reaped before: the end of an init waits for that.
        """
        self.kill()
        readable(self.init, ANSWER_TIMEOUT)
        self.close_inherited()

    def lend(self) -> Sandbox:
        """
        Return the same sandbox with descriptors of its own.

        Raises:
            Refused: There can be no more descriptors.
        """
        fds: list[int] = []
        try:
            for fd in (self.init, self.root, self.asker):
                fds.append(os.dup(fd))  # noqa: PERF401 - those are closed on an error
        except OSError as error:
            for fd in fds:
                os.close(fd)
            raise Refused("dup()", error.errno or 0) from None
        init, root, asker = fds
        return dataclasses.replace(self, init=init, root=root, asker=asker)

    def close_inherited(self) -> None:
        """
        Close the descriptors, and leave the sandbox to whoever else has them.
        """
        for fd in (self.init, self.root, self.asker):
            os.close(fd)
