"""
Guests that the kernel's OOM killer kills, in a cgroup with little memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import machine
import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes cgroups")

LIMIT = 100 << 20


class Version(NamedTuple):
    """
    A version of cgroups: where they are, and their files.
    """

    place: str
    limit: str
    counter: str
    swap: tuple[str, int]


VERSIONS = [
    Version(
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.oom_control",
        ("memory.memsw.limit_in_bytes", LIMIT),
    ),
    Version("/sys/fs/cgroup", "memory.max", "memory.events", ("memory.swap.max", 0)),
]


class Cgroup(NamedTuple):
    """
    A cgroup with little memory and no swap.
    """

    path: Path
    version: Version

    def run(
        self, pytester: pytest.Pytester, *options: str, script: str = 'exec "$@"'
    ) -> pytest.RunResult:
        """
        Run pytest in it with *options*, which *script* starts.
        """
        script = f"echo $$ > {self.path}/cgroup.procs\n{script}"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
        return pytester.run("sh", "-ec", script, "sh", *command, timeout=60)


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    """
    Provide a cgroup with little memory.
    """
    for version in VERSIONS:
        with contextlib.suppress(OSError):
            path = Path(tempfile.mkdtemp(prefix="nsisolate-", dir=version.place))
            break
    else:
        pytest.skip("no cgroup can be made here")
    try:
        if not (path / version.limit).exists():
            pytest.skip("no cgroup can be made here that limits memory")
        (path / version.limit).write_text(str(LIMIT))
        name, swap = version.swap
        if (path / name).exists():
            (path / name).write_text(str(swap))
        yield Cgroup(path, version)
    finally:
        inside = path / "cgroup.procs"
        machine.wait_until(lambda: not inside.read_text(), "the end of its processes")
        path.rmdir()


HUNGRY = """
import os
import signal

import pytest

def hungry():
    taken = []
    while True:
        taken.append(b"x" * 2**20)

@pytest.mark.isolated
def test_hungry():
    hungry()

@pytest.mark.isolated
def test_killed():
    os.kill(os.getpid(), signal.SIGKILL)

def test_box(sandbox_factory):
    sandbox_factory(hostname="db").run(hungry)

@pytest.mark.isolated({fix})
def test_fixed():
    hungry()
"""


def test_of_the_cgroup(pytester: pytest.Pytester, cgroup: Cgroup) -> None:
    """
    The lines name the counter and the limit, and the fix shows where the memory goes.
    """
    fix = f'memory="{LIMIT // 2 >> 20}M"'
    pytester.makepyfile(test_it=HUNGRY.format(fix=fix))
    result = cgroup.run(pytester, "test_it.py")
    result.assert_outcomes(failed=4)
    counter = f"oom_kill in {cgroup.path / cgroup.version.counter} rose from 0 to"
    limit = f"the limit is {LIMIT} bytes ({cgroup.path / cgroup.version.limit})"
    killer = "says signal 9, and the OOM killer killed a process of its cgroup:"
    result.stdout.fnmatch_lines(
        [
            "test_hungry did not finish: killed by SIGKILL during call",
            (
                f"why: the wait status of its guest {killer} {counter} 1 in this "
                f"session, and {limit}"
            ),
            (
                f"fix: @pytest.mark.isolated({fix}) makes it a MemoryError in the line "
                "that takes too much; or give the session more memory"
            ),
            "test_killed did not finish: killed by SIGKILL during call",
            "why: the wait status of its guest says signal 9",
            "fix: see who sends it: strace -f -e trace=kill,* python -m pytest *",
            (
                f"E * why: the wait status of its process {killer} {counter} 2 in this "
                f"session, and {limit}"
            ),
            f"E * fix: sandbox_factory({fix}) makes it a MemoryError in the line *",
            ">*taken.append(*",
            "E*MemoryError",
        ]
    )


BOTH = """
import pytest

@pytest.mark.isolated
@pytest.mark.parametrize("number", range(2))
def test_it(number):
    taken = []
    while True:
        taken.append(b"x" * 2**20)
"""

#: Hides the cgroups, so that only the counter of the whole machine is left.
HIDDEN = """
exec unshare --mount --propagation private sh -ec '
    mount -t tmpfs none /sys/fs/cgroup
    exec "$@"
' sh "$@"
"""


def test_of_the_machine(pytester: pytest.Pytester, cgroup: Cgroup) -> None:
    """
    Where no cgroup counts, the OOM killer has perhaps done it, also side by side.
    """
    pytester.makepyfile(test_it=BOTH)
    result = cgroup.run(pytester, "--nsisolate-jobs=2", script=HIDDEN)
    result.assert_outcomes(failed=2)
    found = re.findall(
        "^why: the wait status of its guest says signal 9, perhaps by the OOM killer, "
        r"which killed a process on this machine: oom_kill in /proc/vmstat rose from "
        r"(\d+) to (\d+) in this session, and the limit is \d+ bytes \(MemTotal in "
        r"/proc/meminfo\)$",
        str(result.stdout),
        re.MULTILINE,
    )
    assert len(found) == 2
    assert all(int(after) > int(before) for before, after in found)
