"""
Activity: what each process of a sandbox does, as psutil sees it from outside.

Init lists the processes, but it is a bare interpreter, which has no psutil.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.sandbox.sandbox import Sandbox


class Activity(NamedTuple):
    """
    What one process does, and what it has used so far.
    """

    status: str
    """``running``, ``sleeping``, ``disk-sleep``, ``stopped`` and so on."""
    cpu: float
    """Processor time, in seconds."""
    memory: int
    """Resident memory, in bytes."""

    def __str__(self) -> str:
        memory = f"{self.memory / 2**20:.0f} MiB"
        return f"{self.status}, {self.cpu:.2f} s of processor time, {memory}"


def activities(sandbox: Sandbox) -> dict[int, Activity]:
    """
    Return what the processes in *sandbox* do, by their process ids inside.

    Those that cannot be looked at are left out.
    """
    try:
        # It takes a quarter of pytest's own start: it is loaded where a test hangs.
        import psutil  # noqa: PLC0415 - see above
    except (ImportError, OSError):
        # No descriptors are left, perhaps.
        return {}

    found = {}
    for pid, pid_inside in _processes(sandbox):
        # One that has just ended, or may not be looked at, is left out.
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                found[pid_inside] = Activity(
                    status=str(process.status()),
                    cpu=times.user + times.system,
                    memory=process.memory_info().rss,
                )
    return found


def _processes(sandbox: Sandbox) -> Iterator[tuple[int, int]]:
    """
    Yield the process ids of what is in *sandbox*: outside, and inside.

    Source: namespaces(7); proc_pid_status(5), NSpid: the last number is that inside.
    """
    init = sandbox.init_pid()
    try:
        here = os.readlink(f"/proc/{init}/ns/pid")
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return
    for pid in pids:
        try:
            if os.readlink(f"/proc/{pid}/ns/pid") != here:
                continue
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            # Ended, or someone else's.
            continue
        numbers = status.partition("\nNSpid:")[2].split("\n")[0].split()
        if numbers:
            yield pid, int(numbers[-1])
