"""
Orphans and daemons of a test, which init reaps and which die with the sandbox.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

RunPytest = Callable[..., pytest.RunResult]

ORPHANS = """
import os
import secrets
import signal
import subprocess
import sys
import time
import psutil
import pytest

TOKEN = f"60.{secrets.randbelow(10**9)}"

def wait_for(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)

def daemons():
    return [
        one for one in psutil.process_iter(["cmdline"])
        if one.info["cmdline"] == ["sleep", TOKEN]
    ]

def fork_twice(action):
    "Run *action* in a fork of a fork, whose parent is gone; return its process id."
    read, write = os.pipe()
    first = os.fork()
    if not first:
        os.setsid()
        if not os.fork():
            os.write(write, str(os.getpid()).encode())
            action()
        os._exit(0)
    assert os.waitpid(first, 0)[1] == 0
    return int(os.read(read, 32))

@pytest.mark.isolated
def test_orphans_are_reaped():
    for _ in range(20):
        pid = fork_twice(lambda: os._exit(7))
        wait_for(lambda: not psutil.pid_exists(pid))
    # And they are no processes of the test.
    with pytest.raises(ChildProcessError):
        os.wait()

@pytest.mark.isolated
def test_a_living_orphan_is_of_init():
    pid = fork_twice(lambda: os.execvp("sleep", ["sleep", "60"]))
    assert psutil.Process(pid).ppid() == 1
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(pid))

@pytest.mark.isolated
def test_own_processes_are_waited_for():
    pids = [os.posix_spawn("/bin/sh", ["sh", "-c", f"exit {n}"], {}) for n in (3, 4)]
    codes = dict(os.wait() for _ in pids)
    assert [os.waitstatus_to_exitcode(codes[pid]) for pid in pids] == [3, 4]
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL

@pytest.mark.isolated
@pytest.mark.parametrize("passes", [True, False])
def test_daemons(passes):
    for _ in range(3):
        fork_twice(lambda: os.execvp("sleep", ["sleep", TOKEN]))
    wait_for(lambda: len(daemons()) == 3)
    assert passes

def test_daemons_are_gone():
    wait_for(lambda: not daemons())
"""


def test_orphans(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The test never waits for an orphan, init always does, and no daemon survives.
    """
    pytester.makepyfile(ORPHANS)
    run_both_ways().assert_outcomes(passed=5, failed=1)
