"""
The zygote: tests in a row whose guests are forked by a fork of pytest.
"""

from __future__ import annotations

import sys

import pytest
from populating import can_populate
from ways import RunPytest

pytestmark = pytest.mark.usefixtures("nothing_left")

#: What each suite begins with: every test notes which process has forked it. With
#: proc=False it sees the ``/proc`` of the host.
NOTED = """
import os
import re
from pathlib import Path
import pytest

PYTEST = os.getpid()
NUMBERS = pytest.mark.parametrize("number", range(8))
pytestmark = pytest.mark.isolated(proc=False)

@pytest.fixture
def above():
    text = Path("/proc/self/status").read_text()
    found = re.search("^PPid:\\\\s+(\\\\d+)", text, re.MULTILINE)[1]
    with open("above", "a") as file:
        file.write(f"{PYTEST} {found}\\n")
    return int(found)
"""


def noted(pytester: pytest.Pytester) -> list[tuple[int, int]]:
    """
    Return the process ids of pytest, and of what forked its guest, of each test.
    """
    path = pytester.path / "above"
    rows = [line.split() for line in path.read_text().splitlines()]
    return [(int(supervisor), int(above)) for supervisor, above in rows]


def zygote_of(pytester: pytest.Pytester, *, first: int = 1, last: int = 8) -> int:
    """
    Return the process id of the zygote that forked the tests from *first* to *last*.
    """
    rows = noted(pytester)[first:last]
    (found,) = {above for _, above in rows}
    assert len(rows) == last - first
    assert found not in {supervisor for supervisor, _ in rows}
    return found


def test_in_a_row(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Tests in a row are forked by one process, which then ends.

    Each of them sees what the first one saw: the same descriptors, other randomness.
    """
    pytester.makepyfile(
        NOTED
        + """
import random

@NUMBERS
def test_it(number, above):
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in range(64)
             if os.path.exists(f"/proc/self/fd/{fd}")]
    kinds = sorted(re.sub("[0-9]+", "", link) for link in links)
    with open("seen", "a") as file:
        file.write(f"{random.random()} {kinds}\\n")
"""
    )

    run_both_ways().assert_outcomes(passed=8)

    zygote_of(pytester)
    seen = (pytester.path / "seen").read_text().splitlines()
    numbers, kinds = zip(*(line.split(maxsplit=1) for line in seen), strict=True)
    assert len(set(numbers)) == len(numbers) == 8
    assert len(set(kinds)) == 1


def test_not_with_functions_for_forks(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Where a library has registered a function for forks, it is called once per guest.
    """
    pytester.makeconftest(
        """
        import os

        calls = []
        os.register_at_fork(before=lambda: calls.append(os.getpid()))
        """
    )
    pytester.makepyfile(
        NOTED
        + """
@NUMBERS
def test_it(number, above):
    from conftest import calls
    assert len(calls) == len(set(map(str, range(len(calls)))))
    assert set(calls) == {PYTEST}
"""
    )

    run_both_ways().assert_outcomes(passed=8)

    rows = noted(pytester)
    above = [one for _, one in rows]
    assert above == [supervisor for supervisor, _ in rows] or len(set(above)) == 8


def test_function_for_forks_comes_later(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    A zygote that was forked before such a function was registered forks no more.
    """
    pytester.makeconftest(
        """
        import os

        calls = []

        def pytest_nsisolate_spec(item):
            if item.name == "test_it[4]":
                os.register_at_fork(before=lambda: calls.append(item.name))
        """
    )
    pytester.makepyfile(
        NOTED
        + """
@NUMBERS
def test_it(number, above):
    from conftest import calls
    assert bool(calls) == (number >= 4)
"""
    )

    run_both_ways().assert_outcomes(passed=8)


def test_different_specs(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Tests in a row may ask for different things, and each gets what it asks for.
    """
    pytester.makepyfile(
        NOTED
        + """
import socket

@pytest.mark.parametrize("number", [
    pytest.param(
        n, marks=pytest.mark.isolated(hostname=f"t{n}", env={"OWN": str(n)})
    )
    for n in range(8)
])
def test_it(number, above, isolation):
    assert socket.gethostname() == isolation.hostname == f"t{number}"
    assert os.environ["OWN"] == str(number)
"""
    )

    run_both_ways().assert_outcomes(passed=8)

    zygote_of(pytester)


def test_after_a_failure(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A test after a failure knows of it, as do all that follow: a new zygote forks them.
    """
    pytester.makepyfile(
        NOTED
        + """
@NUMBERS
def test_it(number, above, request):
    assert request.session.testsfailed == (number > 2)
    assert number != 2
"""
    )

    run_both_ways().assert_outcomes(passed=7, failed=1)

    rows = noted(pytester)
    assert rows[1] != rows[7]
    assert len(set(rows[5:])) == 1


def test_wide_fixture(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    What is set up between two tests is there for those that follow.
    """
    pytester.makepyfile(
        NOTED
        + """
@pytest.fixture(scope="module")
def wide():
    return os.getpid()

@pytest.mark.parametrize("number", range(4))
def test_before(number, above):
    pass

@pytest.mark.parametrize("number", range(4))
def test_with(number, above, wide):
    assert wide == PYTEST
"""
    )

    run_both_ways().assert_outcomes(passed=8)

    rows = noted(pytester)
    assert rows[2] == rows[3] != rows[6] == rows[7]


#: Each test writes to the same memory, and notes how many faults that took.
WRITES = (
    NOTED
    + """
import mmap
import resource

PAGES = 2048

# pytest 8.0 drops the value of the fixture in the guest before its pages are noted.
KEPT = []

@pytest.fixture(scope="session")
def memory():
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    made = mmap.mmap(-1, PAGES * mmap.PAGESIZE, flags)
    write(made)
    KEPT.append(made)
    return made

def write(memory):
    for page in range(PAGES):
        memory[page * mmap.PAGESIZE] = 1

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

@NUMBERS
def test_it(number, above, memory):
    before = faults()
    write(memory)
    with open("faults", "a") as file:
        file.write(f"{faults() - before}\\n")
"""
)


def test_hot_pages(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    What guest after guest writes to is copied for them before they get there.
    """
    pytester.makepyfile(WRITES)

    run_both_ways().assert_outcomes(passed=8)

    zygote_of(pytester)
    found = [int(line) for line in (pytester.path / "faults").read_text().split()]
    assert found[1] >= 2048
    if can_populate():
        # The first was not forked by the zygote, the next two noted the pages, and the
        # fourth was forked by then.
        assert max(found[4:]) < 2048 / 4


def test_hot_pages_and_memory(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    A guest with a limit on memory takes none of that to note its pages.
    """
    pytester.makepyfile(WRITES.replace("proc=False", "proc=False, memory='2G'"))

    run_both_ways().assert_outcomes(passed=8)

    zygote_of(pytester)
    found = [int(line) for line in (pytester.path / "faults").read_text().split()]
    assert min(found) >= 2048


def test_none_beside_the_host(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    A test on the host finds no process that is not its own.
    """
    pytester.makepyfile(
        NOTED.replace("pytestmark", "ISOLATED")
        + """
import psutil

@ISOLATED
@NUMBERS
def test_it(number, above):
    pass

def test_host():
    assert psutil.Process().children(recursive=True) == []
"""
    )

    run_both_ways().assert_outcomes(passed=9)

    zygote_of(pytester)


def test_ignored_children(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    How a guest ended is known though SIGCHLD is ignored, which it is in the test.
    """
    pytester.makeconftest(
        """
        import signal

        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        """
    )
    pytester.makepyfile(
        NOTED
        + """
import signal

@NUMBERS
def test_it(number, above):
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
    if number == 5:
        os._exit(7)
"""
    )

    result = run_both_ways()

    result.assert_outcomes(passed=7, failed=1)
    result.stdout.fnmatch_lines(
        ["*test_it[[]5[]] did not finish: exited with code 7 *"]
    )
    zygote_of(pytester, last=6)


DEAD_SANDBOX = """
from pytest_nsisolate.diagnosis.probe import ProbedPool
from pytest_nsisolate.guest.messages import EntryRefused
from pytest_nsisolate.guest.zygote import InZygote, Zygote
from pytest_nsisolate.linux.descriptors import readable
from pytest_nsisolate.linux.hot_pages import HotPages
from pytest_nsisolate.model.spec import Spec

pool = ProbedPool()
sandbox, dead = pool.take(Spec()), pool.take(Spec())
dead.kill()
assert readable(dead.init, 60)
try:
    zygote = Zygote(sandbox, HotPages())
except InZygote as inside:
    inside.serve()
for _ in range(2):
    process = zygote.fork(dead, ("0", False, None))
    assert process.has_ended(60)
    process.inlet.read()
    refused = process.inlet.ready.popleft().message
    assert isinstance(refused, EntryRefused), refused
    print(refused.call, process.reap())
zygote.close()
sandbox.close()
pool.stop()
"""


def test_refused_fork(pytester: pytest.Pytester) -> None:
    """
    A zygote that cannot fork into a sandbox says so, and goes on.
    """
    script = pytester.makepyfile(script=DEAD_SANDBOX)

    result = pytester.run(sys.executable, script, timeout=60)

    assert result.ret == 0
    result.stdout.fnmatch_lines(["setns(pidfd, CLONE_NEW*) killed by SIGKILL"] * 2)


def test_killed(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Killing the zygote fails the test that runs, and no other.
    """
    pytester.makepyfile(
        NOTED
        + """
import subprocess
import sys
import time
import psutil

@pytest.fixture(scope="module")
def killer():
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        yield process.stdin

@NUMBERS
def test_it(number, above, killer):
    if number == 3:
        killer.write(f"{above}\\n")
        killer.flush()
        time.sleep(600)

if __name__ == "__main__":
    for line in sys.stdin:
        psutil.Process(int(line)).kill()
"""
    )

    result = run_both_ways()

    result.assert_outcomes(passed=7, failed=1)
    result.stdout.fnmatch_lines(["*test_it[[]3[]] did not finish: killed by SIGKILL *"])
    zygote_of(pytester, last=4)
