"""
What a guest has used, as the kernel tells who waits for it.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING

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
