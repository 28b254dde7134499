"""
How a guest ended: a closed set.
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
    """It said that it was done."""


@dataclasses.dataclass(frozen=True, slots=True)
class Exited:
    """It left by itself before it was done."""

    code: int
    """Exit code, 0 to 255."""

    def __str__(self) -> str:
        return f"exited with code {self.code}"


@dataclasses.dataclass(frozen=True, slots=True)
class Killed:
    """A signal ended it."""

    number: int
    """Number of the signal."""

    def __str__(self) -> str:
        return f"killed by {signal_name(self.number)}"


@dataclasses.dataclass(frozen=True, slots=True)
class TimedOut:
    """It was ended because its time was over."""

    after: float
    """Its time limit, in seconds."""
    processes: tuple[str, ...] = ()
    """What ran in the sandbox then, a line each."""
    silence: str = ""
    """Why it has not written its stack; empty if it has."""

    def __str__(self) -> str:
        return f"timed out after {self.after:g} s"


@dataclasses.dataclass(frozen=True, slots=True)
class NeverStarted:
    """It did not get as far as the test."""

    refused: Refused
    """The call that failed on the way into the sandbox."""


Ending: TypeAlias = "Finished | Exited | Killed | TimedOut | NeverStarted"


def from_wait_status(status: int) -> Exited | Killed:
    """
    Return the ending that *status* tells of.

    Args:
        status: A wait status. Source: wait(2).
    """
    code = os.waitstatus_to_exitcode(status)
    return Exited(code) if code >= 0 else Killed(-code)


def signal_name(number: int) -> str:
    """
    Return the symbol of signal *number*; real-time signals are counted from SIGRTMIN.
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


if TYPE_CHECKING:
    import resource

#: How the process between tells it: two times in seconds, and memory in bytes.
_STRUCT = struct.Struct("=ddq")

#: Bytes of `Usage.pack`.
SIZE = _STRUCT.size


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """
    What the process of a test, and all that it has waited for, has used.

    Source: wait4(2), getrusage(2).

    .. versionadded:: 0.1.0
    """

    user: float
    """Processor time in its own code, in seconds."""
    system: float
    """Processor time in the kernel, in seconds."""
    peak_memory: int
    """Most resident memory that one of them had at a time, in bytes."""

    @property
    def cpu(self) -> float:
        """Processor time, in seconds."""
        return self.user + self.system

    @classmethod
    def of(cls, used: resource.struct_rusage) -> Usage:
        """
        Return what *used* tells.
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
    Return what the process between has told; None if it ended before.
    """
    if len(raw) != SIZE:
        return None
    user, system, peak = _STRUCT.unpack(raw)
    return Usage(user=user, system=system, peak_memory=peak)
