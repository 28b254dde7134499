"""
The processors that this process may use, by its affinity and the quota of its cgroup.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_nsisolate.linux.stdlib import os

#: Where cgroups are mounted. Source: cgroups(7).
_MOUNT = Path("/sys/fs/cgroup")


def usable() -> int:
    """
    Return how many processors this process can keep busy, at least 1.

    Source: sched_getaffinity(2); Documentation/admin-guide/cgroup-v2.rst of the kernel,
    "cpu.max"; Documentation/scheduler/sched-bwc.rst for version 1.
    """
    number = float(len(os.sched_getaffinity(0)))
    return max(1, math.floor(min([number, *_quotas()])))


def _quotas() -> Iterator[float]:
    """
    Yield the quota of each cgroup that this process is in, in processors.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _along(_MOUNT, path, _version_2)
            elif "cpu" in controllers.split(","):
                yield from _along(_MOUNT / "cpu", path, _version_1)


def _along(root: Path, path: str, read: Callable[[Path], float]) -> Iterator[float]:
    """
    Yield what *read* returns for *root* and each directory from there down *path*.
    """
    below = [part for part in path.split("/") if part]
    for depth in range(len(below) + 1):
        # In a container the path may be one outside, which is not there.
        with contextlib.suppress(OSError, ValueError):
            yield read(root.joinpath(*below[:depth]))


def _version_2(directory: Path) -> float:
    quota, period = (directory / "cpu.max").read_text().split()
    return _share(quota, period)


def _version_1(directory: Path) -> float:
    quota = (directory / "cpu.cfs_quota_us").read_text().strip()
    return _share(quota, (directory / "cpu.cfs_period_us").read_text())


def _share(quota: str, period: str) -> float:
    """
    Return *quota* in processors, or raise ValueError if there is none.
    """
    # Without a quota it is "max", or -1 in version 1.
    if int(quota) <= 0:
        raise ValueError(quota)
    return int(quota) / int(period)
