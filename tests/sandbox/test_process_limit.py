"""
Limits on processes: each counts only those of its test, or the test is refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from users import is_exempt

from pytest_nsisolate.model.limits import NPROC, Limit

PROCESSES = """
import os
import signal
import subprocess
import threading
import pytest

isolated = pytest.mark.isolated
TRUE = ["true"]

@isolated
def test_before(): pass

def threads(number):
    end = threading.Event()
    some = [threading.Thread(target=end.wait) for _ in range(number)]
    try:
        for one in some:
            one.start()
    finally:
        end.set()

@isolated(nproc=5)
@pytest.mark.parametrize("number", [4, 5])
def test_threads(number):
    threads(number)

@isolated(nproc=3)
@pytest.mark.parametrize("number", [2, 3])
def test_forks(number):
    for _ in range(number):
        if not os.fork():
            signal.pause()

@isolated(nproc=2)
def test_command():
    for _ in range(20):
        subprocess.run(TRUE, check=True)

@isolated(nproc=1)
def test_no_command():
    subprocess.run(TRUE, check=True)

@isolated(nproc=1)
def test_other_source():
    os.set_blocking((pipe := os.pipe())[0], False)
    os.read(pipe[0], 1)

@isolated
def test_after():
    threads(30)
"""

EXEMPT = "the kernel exempts root and holders of CAP_SYS_ADMIN or CAP_SYS_RESOURCE"
SETPRIV = "setpriv --reuid=1000 --regid=1000 --clear-groups"
REFUSED = [
    "cannot isolate test_no_command: nproc=1 of the marker does not hold",
    f"why: the guest * a thread with RLIMIT_NPROC at 1: {EXEMPT} (uid is *, CapEff *)",
    f"fix: run pytest as a user other than root * with {SETPRIV}, or leave nproc= out",
]


def test_processes(pytester: pytest.Pytester, who: list[str]) -> None:
    """
    A test can start as many processes as the marker says, or else it is refused.
    """
    path = Path("test_it.py").absolute()
    path.write_text(PROCESSES)
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(path)]
    result = pytester.run(*who, *run, timeout=60)
    if is_exempt(who):
        result.assert_outcomes(passed=2, errors=7)
        result.stdout.fnmatch_lines(REFUSED)
        return
    result.assert_outcomes(passed=5, failed=4)
    others = r"\d+, \d+ of them for others in the user namespace"
    shown = rf"nproc={{0}} of the marker was reached \(RLIMIT_NPROC is {others}\)"
    result.stdout.re_match_lines(
        [
            "_* test_threads.5. _*",
            ".*RuntimeError: can't start new thread",
            shown.format(5),
            "_* test_forks.3. _*",
            ".*BlockingIOError.*",
            shown.format(3),
            "_* test_no_command _*",
            ".*BlockingIOError.*",
            shown.format(1),
            "_* test_other_source _*",
            ".*BlockingIOError.*",
        ]
    )
    assert result.stdout.str().count("- nsisolate limit -") == 3


TRY = f"""
from pytest_nsisolate.guest.rlimits import Confinement
from pytest_nsisolate.model.errors import Unlimited
from pytest_nsisolate.model.limits import Limit
try:
    Confinement([{Limit(NPROC, 5, "nproc", 5)!r}])
except Unlimited as error:
    print(error, error.why, error.fix, sep="\\n")
"""


def test_no_thread_at_all(pytester: pytest.Pytester, who: list[str]) -> None:
    """
    Where pytest itself can start nothing, a limit cannot be set or does not hold.
    """
    command = ["prlimit", "--nproc=1:", sys.executable, "-c", TRY]
    result = pytester.run(*who, *command, timeout=60)
    if is_exempt(who):
        assert result.outlines[0] == "nproc=5 of the marker does not hold"
        return
    assert result.outlines == [
        "nproc=5 of the marker cannot be set",
        "the guest cannot start a thread even without this limit (RLIMIT_NPROC is 1)",
        "sudo prlimit --nproc=unlimited --pid $$, or end processes of this user",
    ]
