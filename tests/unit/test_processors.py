"""
The number of processors that this process may use.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_nsisolate.linux import processors


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    Return a directory that stands for the one in which cgroups are mounted.
    """
    monkeypatch.setattr(processors, "_MOUNT", tmp_path)
    return tmp_path


def test_affinity(mount: Path) -> None:
    """
    Without a quota, it is as many as the affinity allows.
    """
    allowed = os.sched_getaffinity(0)
    assert not [*mount.iterdir()]
    assert processors.usable() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert processors.usable() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("files", "quotas"),
    [
        ({"cpu.max": "150000 100000\n"}, [1.5]),
        ({"a/cpu.max": "max 100000\n", "a/b/cpu.max": "50000 100000\n"}, [0.5]),
        ({"a/b/c/cpu.max": "50000 100000\n"}, []),
        ({}, []),
    ],
)
def test_quota(mount: Path, files: dict[str, str], quotas: list[float]) -> None:
    """
    Each cgroup on the way down may have a quota; a missing one is none.
    """
    for name, text in files.items():
        path = mount / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = processors._along(mount, "/a/b", processors._version_2)
    assert [*found] == quotas


@pytest.mark.parametrize(
    ("quota", "quotas"), [("-1", []), ("250000", [2.5]), ("0", [])]
)
def test_quota_of_version_1(mount: Path, quota: str, quotas: list[float]) -> None:
    """
    Version 1 has the two numbers in two files, and -1 for no quota.
    """
    (mount / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (mount / "cpu.cfs_period_us").write_text("100000\n")
    assert [*processors._along(mount, "/", processors._version_1)] == quotas
