"""
The kernel's OOM killer, and what it has been counted to do since the first guest.

Source: Documentation/admin-guide/cgroup-v2.rst in Linux, "memory.events", and
Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control".
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from typing import NamedTuple

from pytest_nsisolate.diagnosis import machine
from pytest_nsisolate.model.ending import Exited, Killed

#: Where cgroups are mounted, and the files that count and limit. In version 2 the root
#: of all has none.
_VERSION_1 = ("/sys/fs/cgroup/memory", "memory.oom_control", "memory.limit_in_bytes")
_VERSION_2 = ("/sys/fs/cgroup", "memory.events", "memory.max")

#: Counts those of the whole machine.
_MACHINE = "/proc/vmstat"

#: The line that has the number, in each of these files.
_COUNT = "oom_kill"


class Kill(NamedTuple):
    """
    Something that the OOM killer has done.
    """

    why: str
    """What shows it, to follow the signal of the process that has ended."""
    fix: str
    """What to do about it."""


@functools.cache
def watch() -> Watch:
    """
    Return the watch of this session, which begins with the first call.
    """
    return Watch()


class Watch:
    """
    A look at the counter now, and again when a guest has been killed.

    Nothing is read in between, so it is known how many were killed, not which. Each
    guest that was killed takes one of them: those side by side are not told apart.
    """

    def __init__(self) -> None:
        #: The counter, and what it was at first.
        self._path, self._before = next(_counters(), ("", 0))
        #: How many guests it has taken.
        self._taken = 0

    def explain(self, ended: Exited | Killed, taker: str) -> Kill | None:
        """
        Say that it was the OOM killer that has *ended* a process; None if it was not.

        Args:
            ended: How the process ended.
            taker: What takes ``memory=``, such as ``sandbox_factory``.
        """
        if ended != Killed(signal.SIGKILL):
            return None
        now = _number(self._path) or 0
        if now <= self._before + self._taken:
            return None
        self._taken += 1
        if self._path == _MACHINE:
            why = "perhaps by the OOM killer, which killed a process on this machine: "
        else:
            why = "and the OOM killer killed a process of its cgroup: "
        why += f"{_COUNT} in {self._path} rose from {self._before} to {now}"
        limit, where = min(_limits())
        # What pytest and others use counts too.
        half = max(1, limit >> 21)
        return Kill(
            why=f"{why} in this session, and the limit is {limit} bytes ({where})",
            fix=f'{taker}(memory="{half}M") makes it a MemoryError in the line that '
            "takes too much; or give the session more memory",
        )


def _counters() -> Iterator[tuple[str, int]]:
    """
    Yield each counter that can be read, the one closest to this process first.
    """
    for path in [*(f"{place}/{count}" for place, count, _ in _cgroups()), _MACHINE]:
        number = _number(path)
        if number is not None:
            yield path, number


def _number(path: str) -> int | None:
    """
    Return how many the OOM killer has killed, by the counter at *path*.
    """
    for line in (machine.read(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if name == _COUNT:
            return int(value)
    return None


def _limits() -> Iterator[tuple[int, str]]:
    """
    Yield each limit of the memory that this process may use, and where it stands.
    """
    for line in (machine.read("/proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            # Source: proc_meminfo(5).
            yield int(value.split()[0]) * 1024, "MemTotal in /proc/meminfo"
    for place, _, file in _cgroups():
        limit = machine.read(f"{place}/{file}") or ""
        if limit.isdigit():
            yield int(limit), f"{place}/{file}"


def _cgroups() -> Iterator[tuple[str, str, str]]:
    """
    Yield each cgroup of this process, the innermost first, and its two files.

    In a container, the path may be one outside, which is not there.
    """
    for line in (machine.read("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        place, count, limit = _VERSION_1 if controllers else _VERSION_2
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts), -1, -1):
            yield "/".join([place, *parts[:depth]]), count, limit
