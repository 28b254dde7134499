"""
The handle on a process that was forked into a sandbox.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from typing import Generic, TypeVar

from pytest_nsisolate.guest.channel import Reader
from pytest_nsisolate.guest.entry import NUMBER
from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.descriptors import readable
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model import ending
from pytest_nsisolate.model.ending import Exited, Killed, Usage

_M = TypeVar("_M")


@dataclasses.dataclass(slots=True, kw_only=True)
class GuestProcess(Generic[_M]):
    """
    A handle on the process inside, through the process between if there is one.

    What is between is a process of its own, or the zygote, which has many guests.
    """

    pid: int | None
    """Process id of the direct fork: the process inside, or the one between that is its
    own; None if the zygote is between."""
    pidfd: int
    """The pidfd of the same process, -1 without one."""
    status: int | None
    """The pipe on which a process between reports, None without one."""
    inlet: Reader[_M]
    """The reading end of the channel."""
    gate: int
    """The pipe on which the process waits inside until it is released."""
    zygote: int | None = None
    """Process id of the zygote, if that is between."""
    numbers: list[int] = dataclasses.field(default_factory=list)
    """What was read from `status`: the pid, then the wait status of the one inside."""
    ended: Exited | Killed | None = None
    """How the process inside ended, once it has been reaped."""
    usage: Usage | None = None
    """What it used, once it has been reaped; None if that is unknown."""

    @classmethod
    def of(
        cls, pid: int, status: int | None, inlet: Reader[_M], gate: int
    ) -> GuestProcess[_M]:
        """
        Return the handle on *pid*, or kill the process if there can be none.

        The handle owns the descriptors from here on.

        Raises:
            OSError: No pidfd could be opened.
        """
        one = cls(pid=pid, pidfd=-1, status=status, inlet=inlet, gate=gate)
        try:
            one.pidfd = syscalls.named("pidfd_open()", os.pidfd_open, pid)
        except OSError:
            one.kill()
            one.reap()
            raise
        return one

    @property
    def cpu(self) -> float:
        """The processor time that it used, in seconds; 0 if that is unknown."""
        return 0.0 if self.usage is None else self.usage.cpu

    def death(self) -> int:
        """
        Return a descriptor that is readable once the direct fork has ended.

        With a zygote between, it is the process inside that has ended, or the zygote,
        and then the process inside is about to end.
        """
        if self.status is None or self.pid is not None:
            return self.pidfd
        # After its id, nothing is to be read before its end.
        self._number(0)
        return self.status

    def watched(self) -> tuple[int, int]:
        """
        Return descriptors of which one is readable if it speaks or has ended.
        """
        pipe = self.pidfd if self.pid is not None else self.status
        assert pipe is not None
        return self.inlet.fd, pipe

    def has_ended(self, timeout: float = 0) -> bool:
        """
        Say whether `death` comes within *timeout* seconds.
        """
        return readable(self.death(), timeout)

    def kill(self) -> None:
        """
        Kill the direct fork, and by its parent-death signal the one inside.
        """
        if self.pid is None:
            self.send(signal.SIGKILL)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def pid_inside(self) -> int | None:
        """
        Return the process id of the process inside, if that is known.
        """
        return self.pid if self.status is None else self._number(0)

    def send(self, *numbers: int) -> int | None:
        """
        Send signals to the process inside and return its process id, if that is known.
        """
        pid = self.pid_inside()
        # What is between reaps it, and then its id may be someone else's.
        if pid is not None and (self.status is None or not self.has_ended()):
            with contextlib.suppress(ProcessLookupError):
                for number in numbers:
                    os.kill(pid, number)
        return pid

    def reap(self) -> Exited | Killed:
        """
        Wait for the direct fork and return how the process inside ended.
        """
        if self.ended is None:
            self.ended = self._wait()
            self._close()
        return self.ended

    def close_inherited(self) -> None:
        """
        In another fork: close the descriptors of this handle.
        """
        if self.ended is None:
            self._close()

    def _close(self) -> None:
        for fd in (self.pidfd, self.status, self.inlet.fd, self.gate):
            if fd is not None and fd >= 0:
                os.close(fd)

    def _wait(self) -> Exited | Killed:
        if self.pid is None:
            return self._wait_for_zygote()
        try:
            _, status, used = os.wait4(self.pid, 0)
            self.usage = Usage.of(used)
        except ChildProcessError:
            # A fixture that waits for any child, or ignores SIGCHLD, has reaped it.
            status = 0
        if self.status is not None:
            inside = self._number(1)
            if inside is None:
                self._reap_orphan()
            status = status if inside is None else inside
            # `used` is that of the process between.
            self.usage = ending.unpack(os.read(self.status, ending.SIZE))
        return ending.from_wait_status(status)

    def _wait_for_zygote(self) -> Exited | Killed:
        """
        Wait until the zygote has reaped the process, and return how it ended.
        """
        assert self.status is not None
        inside = self._number(1)
        if inside is None:
            if self.numbers and self.zygote is not None:
                # The zygote was killed, and with it the process inside.
                with contextlib.suppress(ChildProcessError):
                    os.waitid(os.P_PID, self.zygote, os.WEXITED | os.WNOWAIT)
                self._reap_orphan()
            return Killed(signal.SIGKILL)
        self.usage = ending.unpack(os.read(self.status, ending.SIZE))
        return ending.from_wait_status(inside)

    def _reap_orphan(self) -> None:
        """
        Wait for the process inside, if this process has inherited it.

        So it is with what is process 1 of a container. Source: prctl(2),
        PR_SET_CHILD_SUBREAPER.
        """
        if self.numbers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.numbers[0], 0)

    def _number(self, index: int) -> int | None:
        """
        Return the pid (0) or wait status (1) of the process inside, once it is known.
        """
        assert self.status is not None
        while len(self.numbers) <= index:
            raw = os.read(self.status, NUMBER.size)
            if not raw:
                return None
            self.numbers.append(NUMBER.unpack(raw)[0])
        return self.numbers[index]
