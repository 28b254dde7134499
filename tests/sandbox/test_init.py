"""
Signals to process 1: as allowed as outside, and without effect.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

#: Prints the version of Landlock, -1 without it; 6 confines signals. Source:
#: landlock_create_ruleset(2), LANDLOCK_CREATE_RULESET_VERSION; landlock(7).
_VERSION = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))"

TESTS = """
import os
import signal
import subprocess
import psutil
import pytest

def may_signal(pid):
    try:
        os.kill(pid, 0)
    except PermissionError:
        return False
    return True

OUTSIDE = may_signal(1)

@pytest.mark.isolated
def test_as_outside():
    assert may_signal(1) == (OUTSIDE or not CAN_CONFINE)

@pytest.mark.isolated
def test_own_processes():
    process = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], text=True,
        stdout=subprocess.PIPE, start_new_session=True)
    with process:
        grandchild = int(process.stdout.readline())
        for pid in (os.getpid(), process.pid, grandchild):
            assert may_signal(pid)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM

@pytest.mark.isolated
def test_box(sandbox_factory):
    box = sandbox_factory()
    with box.popen(["sleep", "60"]) as process:
        (pid,) = (one for one in box.pids() if one != 1)
        may = box.run(may_signal, pid)
        process.terminate()
    assert may and process.returncode == -signal.SIGTERM

@pytest.mark.isolated(user="root")
def test_root():
    assert may_signal(1)

@pytest.mark.isolated(scope="module", fork=True, leaks="ignore")
@pytest.mark.parametrize("turn", [1, 2])
def test_what_another_has_left(turn):
    if turn == 1:
        subprocess.Popen(["sleep", "60"])
    (process,) = (one for one in psutil.process_iter() if one.name() == "sleep")
    assert may_signal(process.pid)
"""


def test_permission(pytester: pytest.Pytester, who: list[str]) -> None:
    """
    Who may not signal process 1 outside may not do so inside, but all other processes.
    """
    version = pytester.run(*who, sys.executable, "-c", _VERSION).outlines[0]
    # Without it the kernel cannot do so.
    Path("test_it.py").write_text(f"CAN_CONFINE = {int(version) >= 6}\n{TESTS}")
    command = [*who, sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    result = pytester.run(*command, timeout=60)
    result.assert_outcomes(passed=6)
