"""
Limits on resources: they hold, and the one that was reached is named.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

RunPytest = Callable[..., pytest.RunResult]

HEAD = """
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
import pytest

isolated = pytest.mark.isolated

def soft(name):
    return resource.getrlimit(getattr(resource, name))[0]
"""

LIMITED = f"""{HEAD}
NAMES = ("RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_NPROC")

def limits():
    return {{name: resource.getrlimit(getattr(resource, name)) for name in NAMES}}

HOST = limits()
ALL = {{"memory": "300M", "cpu": 60, "nofile": 99}}
SAID = (300 * 2**20, 60, 99)
COMMAND = (
    "import resource as r; "
    "print([r.getrlimit(n)[0] for n in (r.RLIMIT_DATA, r.RLIMIT_CPU, r.RLIMIT_NOFILE)])"
)

def seen():
    return (soft("RLIMIT_DATA"), soft("RLIMIT_CPU"), soft("RLIMIT_NOFILE"))

@pytest.fixture(scope="session")
def borrowed():
    assert limits() == HOST
    yield

@pytest.fixture
def owned(borrowed):
    assert seen() == SAID
    yield
    assert seen() == SAID

@isolated(**ALL)
def test_phases(owned):
    assert seen() == SAID

@isolated(**ALL)
def test_what_it_starts(owned):
    shown = subprocess.check_output([sys.executable, "-c", COMMAND], text=True)
    assert tuple(eval(shown)) == SAID

@isolated(**ALL)
class TestCase:
    @isolated(memory=2**29, cpu=None)
    def test_closest_wins(self):
        assert seen() == (2**29, HOST["RLIMIT_CPU"][0], 99)

@isolated
def test_none(borrowed):
    assert limits() == HOST

@pytest.fixture
def lowers():
    resource.setrlimit(resource.RLIMIT_NOFILE, (50, 60))

@isolated(nofile=99)
def test_what_the_test_sets_stays(lowers):
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (50, 60)
"""


def test_limits_hold(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The limits hold in every phase and in what the test starts, and nowhere else.
    """
    pytester.makepyfile(LIMITED)
    run_both_ways().assert_outcomes(passed=5)


BREACHES = f"""{HEAD}
@isolated(memory="256M")
def test_memory():
    print("before")
    kept = [bytearray(2**20) for _ in range(512)]

@isolated(memory=2**28)
def test_mapping():
    import mmap
    mmap.mmap(-1, 2**29, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

@isolated(memory="256M")
def test_cause():
    try:
        bytearray(2**30)
    except MemoryError as error:
        raise ValueError("no room") from error

@pytest.fixture
def files():
    with_no_end = [open(os.devnull) for _ in range(100)]

@isolated(nofile=64)
def test_in_setup(files): pass

@pytest.fixture
def late():
    yield
    raise MemoryError

@isolated(memory="256M")
def test_in_teardown(late): pass

@isolated(memory="256M", nofile=64)
def test_other_failure():
    assert 1 == 2

@isolated(nofile=64)
def test_limit_that_is_not_set():
    raise MemoryError

@isolated(memory="256M", nofile=64)
def test_no_limit_of_its_own():
    os.set_blocking((pipe := os.pipe())[0], False)
    os.read(pipe[0], 1)

@isolated(memory="256M")
def test_expected():
    with pytest.raises(MemoryError):
        bytearray(2**30)

@isolated(memory="256M")
@pytest.mark.xfail(raises=MemoryError, strict=True)
def test_xfail():
    bytearray(2**30)
"""

MEMORY = (
    "memory=256M of the marker was reached (RLIMIT_DATA is 268435456 bytes)",
    "memory=268435456 of the marker was reached (RLIMIT_DATA is 268435456 bytes)",
)
NOFILE = "nofile=64 of the marker was reached (RLIMIT_NOFILE is 64)"

SECTIONS = """
def pytest_runtest_logreport(report):
    with open("sections", "a") as file:
        for title, text in report.sections:
            name = report.nodeid.partition("::")[2]
            print(name, report.when, title, text, sep="|", file=file)
"""


def sections(pytester: pytest.Pytester) -> dict[str, str]:
    """
    Return the report sections about limits, by test and phase.
    """
    lines = (pytester.path / "sections").read_text().splitlines()
    parts = [line.split("|") for line in lines if "nsisolate limit" in line]
    return {f"{name} {when}": text for name, when, _, text in parts}


def test_breach_is_named(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Only a phase that fails at a limit gets a section, which names the limit.
    """
    pytester.makeconftest(SECTIONS)
    pytester.makepyfile(BREACHES)
    result = run_both_ways()
    result.assert_outcomes(failed=6, errors=2, passed=2, xfailed=1)
    assert sections(pytester) == {
        "test_memory call": MEMORY[0],
        "test_mapping call": MEMORY[1],
        "test_cause call": MEMORY[0],
        "test_in_setup setup": NOFILE,
        "test_in_teardown teardown": MEMORY[0],
    }
    result.stdout.fnmatch_lines(
        ["*Captured stdout call*", "before", "*- nsisolate limit -*", MEMORY[0]]
    )


ENDS = f"""{HEAD}
@isolated(cpu=0.5)
def test_spins():
    print("begins")
    while True: pass

@isolated(cpu=1)
def test_ignores():
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True: pass

@isolated(cpu=9)
def test_sends():
    os.kill(os.getpid(), signal.SIGXCPU)

@isolated(cpu=9)
def test_killed():
    os.kill(os.getpid(), signal.SIGKILL)

@isolated(cpu=1)
def test_waits():
    # The kernel ends it, and not its guest.
    spins = subprocess.run([sys.executable, "-c", "while True: pass"])
    assert spins.returncode == -signal.SIGXCPU
"""


@pytest.mark.faults
def test_processor_time(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A guest that uses too much processor time is killed, and the limit is named.
    """
    path = pytester.makepyfile(ENDS)
    result = run_both_ways()
    result.assert_outcomes(failed=4, passed=1)
    rerun = f"python -m cProfile -m pytest --no-nsisolate {path.name}"
    ways = {"test_spins": ("0.5", "SIGXCPU"), "test_ignores": ("1", "SIGKILL")}
    for name, (given, signal) in ways.items():
        why = f"why: at cpu={given} of the marker the kernel sends this signal"
        result.stdout.re_match_lines(
            [
                f"{name} did not finish: killed by {signal} during call",
                rf"{why} \(RLIMIT_CPU is 1, its hard limit 2\), .* had used \d\.\d s",
                f"fix: raise cpu=, or {rerun}::{name}",
            ]
        )
    for name, number in (("test_sends", 24), ("test_killed", 9)):
        result.stdout.fnmatch_lines(
            [
                f"{name} did not finish: *",
                f"why: the wait status of its guest says signal {number}",
            ]
        )
    result.stdout.fnmatch_lines(["*Captured stdout call*", "begins"])
