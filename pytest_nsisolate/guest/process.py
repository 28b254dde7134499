"""
A process that was forked into a sandbox, as the process that forked it holds it.
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
    A handle on a fork, or on the process between and by that on the one inside.
    """

    pid: int
    """Process id of the own fork: the process inside, or the one that waits for it."""
    pidfd: int
    """The same as a pidfd."""
    status: int | None
    """Pipe that tells the pid inside and its wait status, where one is between."""
    inlet: Reader[_M]
    """This end of the channel."""
    gate: int
    """Pipe on which the process waits, inside, to be released."""
    told: list[int] = dataclasses.field(default_factory=list)
    """What has been read from `status`."""
    ended: Exited | Killed | None = None
    """How the process inside ended, once it has been reaped."""
    usage: Usage | None = None
    """What it has used, once it has been reaped; None also if no one could tell."""

    @classmethod
    def of(
        cls, pid: int, status: int | None, inlet: Reader[_M], gate: int
    ) -> GuestProcess[_M]:
        """
        Return the handle on *pid*; end it where there can be none.

        The descriptors are the handle's from here on.

        Raises:
            OSError: There can be no more descriptors.
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
        """Processor time of it, in seconds; 0 where that is not known."""
        return 0.0 if self.usage is None else self.usage.cpu

    def is_alive(self) -> bool:
        """
        Say whether the own fork still runs.
        """
        return not readable(self.pidfd, 0)

    def kill(self) -> None:
        """
        Kill it. With a process between dies the one inside: its parent-death signal.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def send(self, *numbers: int) -> int | None:
        """
        Send signals to the process inside and return its process id, if it is known.
        """
        pid = self.pid if self.status is None else self._tell(0)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                for number in numbers:
                    os.kill(pid, number)
        return pid

    def reap(self) -> Exited | Killed:
        """
        Wait for the own fork and return how the process inside ended.
        """
        if self.ended is None:
            self.ended = self._wait()
            self._close()
        return self.ended

    def close_inherited(self) -> None:
        """
        In another process that was forked: close the descriptors.
        """
        if self.ended is None:
            self._close()

    def _close(self) -> None:
        for fd in (self.pidfd, self.status, self.inlet.fd, self.gate):
            if fd is not None and fd >= 0:
                os.close(fd)

    def _wait(self) -> Exited | Killed:
        try:
            _, status, used = os.wait4(self.pid, 0)
            self.usage = Usage.of(used)
        except ChildProcessError:
            # A fixture that waits for any child, or that ignores SIGCHLD, took it.
            status = 0
        if self.status is not None:
            told = self._tell(1)
            status = status if told is None else told
            # That of the process between is not of the one inside.
            self.usage = ending.unpack(os.read(self.status, ending.SIZE))
        return ending.from_wait_status(status)

    def _tell(self, index: int) -> int | None:
        """
        Return the pid (0) or wait status (1) of the process inside, once it is known.
        """
        assert self.status is not None
        while len(self.told) <= index:
            raw = os.read(self.status, NUMBER.size)
            if not raw:
                return None
            self.told.append(NUMBER.unpack(raw)[0])
        return self.told[index]
