"""
The contents of a box, as its init reports them.
"""

from __future__ import annotations

import dataclasses

from pytest_nsisolate.launcher.audit import Facts


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ipc:
    """
    The IPC objects in a box, the first 20 of each kind.

    .. versionadded:: 1.0.0
    """

    shm: tuple[int, ...]
    """Keys of SysV shared memory segments, 0 for private ones."""
    sem: tuple[int, ...]
    """Keys of SysV semaphore sets."""
    msg: tuple[int, ...]
    """Keys of SysV message queues."""
    queues: tuple[str, ...]
    """Names of POSIX message queues, each with its slash."""
    files: tuple[str, ...]
    """Names of files in ``/dev/shm``: POSIX shared memory and semaphores."""

    @classmethod
    def of(cls, facts: Facts) -> Ipc:
        """
        Return the IPC objects in *facts*.
        """

        def keys(kind: str) -> tuple[int, ...]:
            return tuple(int(fact[0]) & 0xFFFFFFFF for fact in facts[kind][1])

        return cls(
            shm=keys("shm"),
            sem=keys("sem"),
            msg=keys("msg"),
            queues=tuple(f"/{fact[0]}" for fact in facts["queue"][1]),
            files=tuple(str(fact[0]) for fact in facts["file"][1]),
        )
