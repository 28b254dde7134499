"""
Sessions of eight tests that each have much to say at the same time.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import machine
from killing import pytest_command

JOBS = 8

#: The tests, by the part of their names.
KINDS = ("prints", "carries")

#: Tests that all say what they have to say before the turn of the second one.
TESTS = """
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent

def meet(number):
    (HERE / f"said{number}").touch()
    while number == 0 and len([*HERE.glob("said*")]) < MEETING:
        time.sleep(0.005)

@pytest.mark.parametrize("number", range(8))
def test_prints(number):
    for _ in range(SIZE // 1_000_000):
        print("x" * 999_999)
    command = "head -c SIZE /dev/zero | tr '\\\\0' y; echo"
    subprocess.run(command, shell=True, check=True)
    print(f"end of {number}")
    meet(number)

@pytest.mark.parametrize("number", range(8))
def test_carries(number):
    pass
"""

#: Notes the most memory that pytest has taken, and in which order it heard of what.
#: pytest keeps what a test prints; what it hands over is not kept.
CONFTEST = """
import json
import re
from pathlib import Path

import pytest

heard = []

def peak():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024

def pytest_runtest_logreport(report):
    if report.when == "call":
        found = re.findall(r"end of \\d", report.capstdout[-100:])
        heard.append([report.nodeid, len(report.capstdout), found])

def pytest_nsisolate_collect(item, report, payload):
    if item.name.startswith("test_carries") and report and report.when == "call":
        payload["much"] = "z" * SIZE

def pytest_nsisolate_hand_over(item, payload):
    if "much" in payload:
        heard.append([item.nodeid, len(payload["much"]), []])

def pytest_sessionfinish():
    Path("heard.json").write_text(json.dumps([peak(), heard]))
"""


@dataclasses.dataclass(frozen=True)
class Flood:
    """
    What pytest heard in a session, and the most memory that it took.
    """

    peak: int
    heard: list[tuple[str, int, list[str]]]


def flood(prefix: Iterable[str], path: Path, size: int, jobs: int, name: str) -> Flood:
    """
    Run the tests whose names have *name*, each with twice *size* bytes to say.

    Args:
        prefix: What to put before the command of pytest.
        path: Where to write the tests.
        size: How many bytes.
        jobs: How many may run at the same time.
        name: The part of a name.
    """
    path.mkdir()
    text = TESTS.replace("SIZE", str(size))
    (path / "test_flood.py").write_text(text.replace("MEETING", str(jobs)))
    (path / "conftest.py").write_text(CONFTEST.replace("SIZE", str(size)))
    (path / "pytest.ini").write_text("[pytest]\n")
    command = pytest_command(prefix, "-q", f"--nsisolate-jobs={jobs}", "-k", name)
    with machine.started(
        command, path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as session:
        output, _ = session.process.communicate(timeout=600)
    assert re.search("\\b8 passed", output), output[-4000:]
    peak, heard = json.loads((path / "heard.json").read_text())
    return Flood(peak, heard)


def more_than_one(prefix: Iterable[str], path: Path, size: int, name: str) -> int:
    """
    Expect the same in the same order with eight jobs as with one.

    Returns:
        By how many bytes the most memory of pytest differs.
    """
    prefix = [*prefix]
    one = flood(prefix, path / "one", size, 1, name)
    more = flood(prefix, path / "more", size, JOBS, name)
    assert more.heard == one.heard
    assert len(one.heard) in {8, 16}
    return more.peak - one.peak
