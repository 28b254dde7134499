"""
The counters of the OOM killer, as machines have them that these tests do not run on.
"""

from __future__ import annotations

import pytest

from pytest_nsisolate.diagnosis.oom_killer import Watch
from pytest_nsisolate.model.ending import Exited, Killed

V2 = "/sys/fs/cgroup"


def events(number: int) -> str:
    """
    Return a ``memory.events``.
    """
    return f"low 0\nhigh 0\nmax 9\noom 2\noom_kill {number}\noom_group_kill 0"


@pytest.mark.parametrize(
    ("own", "counter", "limit"),
    [
        ("/user.slice/a.scope", f"{V2}/user.slice/a.scope", f"{V2}/user.slice"),
        # The controller is not enabled there, but further up.
        ("/user.slice/b.scope", f"{V2}/user.slice", f"{V2}/user.slice"),
        # In a container, the root is the cgroup of the container.
        ("/", V2, V2),
    ],
)
def test_version_2(files: dict[str, str], own: str, counter: str, limit: str) -> None:
    """
    The closest counter counts, and the lowest limit.
    """
    files["/proc/self/cgroup"] = f"1:name=systemd:/x\n0::{own}"
    files["/proc/meminfo"] = "MemTotal:    4096 kB\nMemFree:     1024 kB"
    files[f"{counter}/memory.events"] = events(3)
    files["/proc/vmstat"] = "oom_kill 7"
    files[f"{counter}/memory.max"] = "max"
    files[f"{limit}/memory.max"] = "2097152"
    watch = Watch()
    assert watch.explain(Killed(9), "x") is None
    files[f"{counter}/memory.events"] = events(5)
    assert watch.explain(Killed(15), "x") is None
    assert watch.explain(Exited(9), "x") is None
    for _ in range(2):
        found = watch.explain(Killed(9), "x")
        assert found is not None
        assert found.why == (
            "and the OOM killer killed a process of its cgroup: oom_kill in "
            f"{counter}/memory.events rose from 3 to 5 in this session, and the limit "
            f"is 2097152 bytes ({limit}/memory.max)"
        )
    # Two were killed, and two have been told.
    assert watch.explain(Killed(9), "x") is None


def test_no_counter(files: dict[str, str]) -> None:
    """
    Without any counter, nothing is said.
    """
    files["/proc/self/cgroup"] = ""
    assert Watch().explain(Killed(9), "x") is None
