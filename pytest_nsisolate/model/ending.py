"""
Endings: the closed set of ways in which a guest can end, and what it used.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import struct
from typing import TYPE_CHECKING, TypeAlias

from pytest_nsisolate.model.errors import Refused


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """The guest reported that it was done."""


@dataclasses.dataclass(frozen=True, slots=True)
class Exited:
    """The guest exited before it was done."""

    code: int
    """Exit code, 0 to 255."""

    def __str__(self) -> str:
        return f"exited with code {self.code}"


@dataclasses.dataclass(frozen=True, slots=True)
class Killed:
    """A signal ended the guest."""

    number: int
    """Number of the signal."""

    def __str__(self) -> str:
        return f"killed by {signal_name(self.number)}"


@dataclasses.dataclass(frozen=True, slots=True)
class TimedOut:
    """The guest was killed because its time was up."""

    after: float
    """Its time limit, in seconds."""
    processes: tuple[str, ...] = ()
    """The processes in the sandbox at that time, a line each."""
    silence: str = ""
    """Why it wrote no stack; empty if it did."""

    def __str__(self) -> str:
        return f"timed out after {self.after:g} s"


@dataclasses.dataclass(frozen=True, slots=True)
class NeverStarted:
    """The guest did not get as far as the test."""

    refused: Refused
    """The call that failed on the way into the sandbox."""


#: The signals of a crash, after which the place where it was tells most.
CRASHES = frozenset({"SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS", "SIGILL"})

#: What to type before a command to see who sends it a signal.
SEE_SENDER = "strace -f -e trace=kill,tkill,tgkill,pidfd_send_signal"


Ending: TypeAlias = Finished | Exited | Killed | TimedOut | NeverStarted


def from_wait_status(status: int) -> Exited | Killed:
    """
    Return the ending that *status* stands for.

    Args:
        status: A wait status. Source: wait(2).
    """
    code = os.waitstatus_to_exitcode(status)
    return Exited(code) if code >= 0 else Killed(-code)


def signal_name(number: int) -> str:
    """
    Return the symbol of signal *number*; real-time signals count from SIGRTMIN.
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


if TYPE_CHECKING:
    import resource

#: Format in which the intermediate process sends it: two times in seconds, and bytes.
_STRUCT = struct.Struct("=ddq")

#: Bytes of `Usage.pack`.
SIZE = _STRUCT.size


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """
    What the process of a test, and all processes it waited for, have used.

    Source: wait4(2), getrusage(2).

    .. versionadded:: 1.0.0
    """

    user: float
    """Processor time in its own code, in seconds."""
    system: float
    """Processor time in the kernel, in seconds."""
    peak_memory: int
    """Peak resident memory of the largest of them, in bytes."""

    @property
    def cpu(self) -> float:
        """Processor time, in seconds."""
        return self.user + self.system

    @classmethod
    def of(cls, used: resource.struct_rusage) -> Usage:
        """
        Return the usage in *used*.
        """
        # Linux counts it in KiB. Source: getrusage(2), ru_maxrss.
        peak = used.ru_maxrss * 1024
        return cls(user=used.ru_utime, system=used.ru_stime, peak_memory=peak)

    def pack(self) -> bytes:
        """
        Return the bytes that `unpack` reads.
        """
        return _STRUCT.pack(self.user, self.system, self.peak_memory)


def unpack(raw: bytes) -> Usage | None:
    """
    Return what the intermediate process sent; None if it ended first.
    """
    if len(raw) != SIZE:
        return None
    user, system, peak = _STRUCT.unpack(raw)
    return Usage(user=user, system=system, peak_memory=peak)
