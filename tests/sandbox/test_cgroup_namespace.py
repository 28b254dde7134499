"""
``cgroup=True``: a cgroup namespace, whose root is the cgroup that the test is in.
"""

from __future__ import annotations

import sys

import pytest
from mounts import SPACE
from ways import RunPytest

from pytest_nsisolate.linux import namespaces
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.pool import Pool, persist

TESTS = """
import os
import subprocess
from pathlib import Path

import pytest

def paths():
    # A path may have colons in it. Source: cgroups(7), /proc/pid/cgroup.
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return [line.split(":", 2)[2] for line in lines]

HOST, OUTSIDE = paths(), os.readlink("/proc/self/ns/cgroup")

@pytest.mark.isolated(cgroup=True)
@pytest.mark.parametrize("again", range(2))
def test_own(again, isolation):
    assert os.readlink("/proc/self/ns/cgroup") != OUTSIDE
    assert paths() == ["/"] * len(HOST)
    shown = subprocess.check_output(["cat", "/proc/1/cgroup"], text=True)
    assert {line.split(":", 2)[2] for line in shown.splitlines()} <= {"/"}
    assert isolation.namespaces[:5] == ("ipc", "uts", "pid", "mnt", "cgroup")

@pytest.mark.isolated(cgroup=True, user="root")
def test_root():
    assert os.readlink("/proc/self/ns/cgroup") != OUTSIDE
    assert paths() == ["/"] * len(HOST)

@pytest.mark.isolated(cgroup=False)
def test_no(isolation):
    assert os.readlink("/proc/self/ns/cgroup") == OUTSIDE
    assert paths() == HOST
    assert "cgroup" not in isolation.namespaces

@pytest.mark.isolated
def test_without():
    assert os.readlink("/proc/self/ns/cgroup") == OUTSIDE
    assert paths() == HOST

def test_box(sandbox_factory):
    box = sandbox_factory(cgroup=True)
    assert "cgroup" in box.namespaces
    assert box.run(paths) == ["/"] * len(HOST)
    with box.popen(["cat", "/proc/self/cgroup"], stdout=subprocess.PIPE) as process:
        lines = process.stdout.read().decode().splitlines()
    assert {line.split(":", 2)[2] for line in lines} <= {"/"}

def test_host():
    assert os.readlink("/proc/self/ns/cgroup") == OUTSIDE
    assert paths() == HOST
"""


def test_inside(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    ``/proc/self/cgroup`` shows ``/`` with the keyword, and the host's path without.
    """
    pytester.makepyfile(test_inside=TESTS)
    run_both_ways().assert_outcomes(passed=7)


@pytest.mark.parametrize(("ahead", "wanted"), [(None, True), (True, None)])
def test_made_ahead(ahead: bool | None, wanted: bool | None) -> None:
    """
    A sandbox that was made ahead is taken only where it has the same namespaces.
    """
    pool = Pool()
    pool.prepare(Spec(cgroup=ahead))
    sandbox = persist(lambda: pool.take(Spec(cgroup=wanted)))
    own = namespaces.CGROUP in sandbox.namespaces
    sandbox.close()
    pool.stop()
    assert own is bool(wanted)


def test_limit_of_cgroups(pytester: pytest.Pytester) -> None:
    """
    Where there may be no cgroup namespaces, only a test that asks for one is refused.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated(cgroup=True)
        def test_cgroup(): pass

        @pytest.mark.isolated
        def test_other(): pass
        """
    )
    zero = 'echo 0 > /proc/sys/user/max_cgroup_namespaces; exec "$@"'
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]

    result = pytester.run(*SPACE, "sh", "-c", zero, "sh", *command, timeout=60)

    result.assert_outcomes(errors=1, passed=1)
    kinds = "CLONE_NEWIPC|CLONE_NEWUTS|CLONE_NEWNS|CLONE_NEWCGROUP"
    result.stdout.fnmatch_lines(
        [
            f"cannot isolate test_cgroup: unshare({kinds}) failed: ENOSPC",
            "why: * one kind of namespace (user.max_cgroup_namespaces is 0)",
            "fix: sudo sysctl -w user.max_cgroup_namespaces=10000",
        ]
    )
