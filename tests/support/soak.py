"""
Sessions of many isolated tests, and what they add to the machine.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import machine
from killing import pytest_command

#: Looks at the supervisor after some tests and at the end.
CONFTEST = """
import gc
import json
import os
import sys
import tempfile
from pathlib import Path
import psutil

seen, count = [], 0

def pytest_collection_modifyitems(items):
    global last
    last = len(items) - 1

def pytest_sessionfinish():
    Path("seen.json").write_text(json.dumps(seen))

class Look:
    def pytest_runtest_logfinish(self):
        global count
        count += 1
        if count in (WARM, last):
            seen.append(look())

def look():
    gc.collect()
    me = psutil.Process()
    return {
        "count": count,
        "descriptors": me.num_fds(),
        "threads": me.num_threads(),
        "children": len(me.children()),
        "processes": len(me.children(recursive=True)),
        "blocks": sys.getallocatedblocks(),
        "rss": me.memory_info().rss,
        "pss": me.memory_full_info().pss,
        "files": len(os.listdir(tempfile.gettempdir())),
        "mounts": len(Path("/proc/self/mounts").read_text().splitlines()),
    }

# It changes nothing for a test: the next is to be forked ahead, as without it.
Look.pytest_runtest_logfinish.__module__ = "pytest_nsisolate.of_a_test"

def pytest_configure(config):
    config.pluginmanager.register(Look())
"""

#: Tests that each leave things behind for their sandbox to take along.
TESTS = """
import ctypes
import os
import pytest

libc = ctypes.CDLL(None, use_errno=True)
CREATE = 0o1666  # Source: ipc.h

def numbers():
    for number in range(COUNT):
        # Whoever looks finds no test that runs beside this one, or waits for its turn.
        alone = [pytest.mark.isolated(alone=True)] * (number in (WARM - 1, COUNT - 2))
        yield pytest.param(number, marks=alone)

@pytest.mark.parametrize("number", [*numbers()])
def test_it(number):
    if ISOLATED:
        assert libc.shmget(0x4E5349, 4096, CREATE) >= 0
        assert libc.msgget(0x4E5349, CREATE) >= 0
        os.close(os.open("/dev/shm/nsi-soak", os.O_CREAT | os.O_EXCL))
        if not os.fork():
            os.setsid()
            os.execvp("sleep", ["sleep", "600"])
"""

#: The highest number of tests to run before the first look.
WARM = 50


def write_suite(path: Path, count: int, *, isolated: bool) -> None:
    """
    Write *count* tests to *path*; they leave nothing unless they are *isolated*.
    """
    path.mkdir(exist_ok=True)
    text = TESTS.replace("COUNT", str(count)).replace("ISOLATED", str(isolated))
    warm = str(min(WARM, count // 2))
    (path / "test_soak_one.py").write_text(text.replace("WARM", warm))
    (path / "conftest.py").write_text(CONFTEST.replace("WARM", warm))
    (path / "pytest.ini").write_text("[pytest]\n")


def soak(
    prefix: Iterable[str],
    paths: list[Path],
    count: int,
    seconds: float,
    *,
    isolated: bool = True,
    jobs: int = 1,
) -> list[dict[str, float]]:
    """
    Run one session in each of *paths*, all at once, and expect nothing to be added.

    Args:
        prefix: What to put before the command of pytest.
        paths: Where to write the suites.
        count: How many tests each has.
        seconds: How long they may take.
        isolated: Whether to isolate them; if not, to compare with.
        jobs: How many of a session may run at the same time.

    Returns:
        How much memory grew for each test, by what was measured: in bytes, or in
        blocks that Python has allocated.
    """
    options = ("-q", "--nsisolate-leaks=ignore", f"--nsisolate-jobs={jobs}")
    command = pytest_command(prefix, *options)
    if not isolated:
        command[command.index("--nsisolate")] = "--no-nsisolate"
    with contextlib.ExitStack() as stack:
        sessions = []
        for path in paths:
            write_suite(path, count, isolated=isolated)
            one = machine.started(
                command, path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            sessions.append(stack.enter_context(one))
        for session in sessions:
            output, _ = session.process.communicate(timeout=seconds)
            code = session.process.returncode
            # A killed session prints no result, so look at its exit status first.
            assert code == 0, f"{output[-4000:]}\nexit status {code}"
            assert re.search(rf"\b{count} passed in", output), output[-4000:]
        machine.wait_until(lambda: not any(one.processes() for one in sessions))
    return [_growth(path, count, jobs) for path in paths]


def _growth(path: Path, count: int, jobs: int) -> dict[str, float]:
    """
    Return by how much memory has grown per test.
    """
    before, after = json.loads((path / "seen.json").read_text())
    assert after["count"] == count - 1
    for what in ("threads", "children", "mounts", "files"):
        assert after[what] <= before[what], (what, before, after)
    # A lane keeps the descriptors of its last guest until the next one comes.
    assert after["descriptors"] <= before["descriptors"] + (jobs > 1) * 7 * jobs
    # Allow for the next sandbox and its guest, which may be there by now or not.
    assert after["processes"] <= before["processes"] + 3
    tests = after["count"] - before["count"]
    kinds = ("blocks", "rss", "pss")
    return {what: (after[what] - before[what]) / tests for what in kinds}
