"""
Host names and processes, of which an isolated test has its own.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable

import pytest
from ways import cannot

pytestmark = pytest.mark.python

RunPytest = Callable[..., pytest.RunResult]

NAMES = """
import os
import socket
import subprocess
from pathlib import Path
import pytest

HOST = (socket.gethostname(), Path("/proc/sys/kernel/domainname").read_text().strip())
THERE = (
    "(__import__('socket').gethostname(), "
    "open('/proc/sys/kernel/domainname').read().strip())"
)

def names():
    from_uname = os.uname().nodename
    from_command = subprocess.check_output(["hostname"], text=True).strip()
    assert socket.gethostname() == from_uname == from_command
    domain = Path("/proc/sys/kernel/domainname").read_text().strip()
    return (socket.gethostname(), domain)

def test_host_before(on_host):
    assert names() == on_host(THERE) == HOST

@pytest.mark.isolated(hostname="t1", domainname="lab")
def test_both(on_host):
    assert names() == ("t1", "lab")
    assert on_host(THERE) == HOST

@pytest.mark.isolated(hostname="h" * 64)
def test_longest(on_host):
    assert names() == ("h" * 64, HOST[1])
    assert on_host(THERE) == HOST

@pytest.mark.isolated(domainname="lab2")
def test_domain_only(on_host):
    assert names() == (HOST[0], "lab2")
    assert on_host(THERE) == HOST

@pytest.mark.isolated
def test_neither():
    assert names() == HOST

@pytest.mark.isolated(hostname="t2", user="root")
def test_changed_by_the_test(on_host):
    assert names() == ("t2", HOST[1])
    socket.sethostname("changed")
    assert names() == ("changed", HOST[1])
    assert on_host(THERE) == HOST

@pytest.mark.isolated(hostname="t1")
def test_not_changed_by_another():
    assert names() == ("t1", HOST[1])

test_host_after = test_host_before
"""


@pytest.mark.usefixtures("view_of_host")
def test_names(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Every way to ask gives the marker's names inside and the host's names outside.
    """
    if shutil.which("hostname") is None:
        cannot("there is no command hostname")
    before = socket.gethostname()
    pytester.makepyfile(NAMES)
    run_both_ways().assert_outcomes(passed=8)
    assert socket.gethostname() == before


PIDS = """
import os
import re
import subprocess
import sys
from pathlib import Path
import psutil
import pytest

SUPERVISOR, NAME = os.getpid(), psutil.Process().name()
SPACE = os.readlink("/proc/self/ns/pid")

def in_proc():
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}

@pytest.mark.isolated
@pytest.mark.parametrize("turn", [1, 2])
def test_pids_start_over(turn, isolation):
    here = os.getpid()
    assert here not in {1, SUPERVISOR}
    assert isolation.pid_on_host not in {0, here, SUPERVISOR}
    assert os.getppid() == 0
    assert os.readlink("/proc/self/ns/pid") != SPACE
    assert os.readlink("/proc/self") == str(here)
    process = subprocess.Popen(["sleep", "60"])
    assert process.pid not in {1, here}
    assert in_proc() == set(psutil.pids()) == {1, here, process.pid}

@pytest.mark.isolated
def test_psutil():
    here = psutil.Process()
    assert here.name() == NAME and here.status() == psutil.STATUS_RUNNING
    assert Path(here.exe()) == Path(os.path.realpath(sys.executable))
    assert psutil.Process(1).uids() == here.uids()
    assert here.children(recursive=True) == []
    assert here.parent() is None and here.parents() == []
    assert {one.pid for one in psutil.process_iter()} == {1, os.getpid()}

def test_host_does_not_see_it():
    assert os.getpid() == SUPERVISOR and psutil.Process().name() == NAME
    assert os.readlink("/proc/self/ns/pid") == SPACE
    assert os.readlink("/proc/self/ns/pid_for_children") == SPACE
    process = subprocess.Popen(["sleep", "0"])
    assert process.pid in in_proc() or process.poll() is not None
    assert process.wait() == 0
"""


def test_pids(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Pids start over, and ``/proc`` and psutil show only the sandbox.
    """
    pytester.makepyfile(PIDS)
    run_both_ways().assert_outcomes(passed=4)


SIGNALS = """
import contextlib
import os
import signal
import subprocess
import psutil
import pytest

SUPERVISOR = os.getpid()
HOST_PIDS = psutil.pids()

@pytest.mark.isolated
def test_host_pids_are_no_one(isolation):
    targets = [*HOST_PIDS, isolation.pid_on_host]
    assert targets
    for pid in targets:
        for number in (0, signal.SIGTERM, signal.SIGKILL):
            if pid not in {1, os.getpid()}:
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, number)
    # "Every process that the caller may signal", but for itself and PID 1: kill(2).
    with pytest.raises(ProcessLookupError):
        os.kill(-1, 0)

@pytest.mark.isolated
@pytest.mark.parametrize("how", ["kill 0", "killpg", "kill -1"])
def test_groups(how, on_host):
    assert os.getpid() != SUPERVISOR, "not isolated, and so not safe to go on"
    got = []
    signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    process = subprocess.Popen(["sleep", "60"])
    if how == "kill 0":
        os.kill(0, signal.SIGUSR1)
    elif how == "killpg":
        os.killpg(os.getpgrp(), signal.SIGUSR1)
    else:
        os.kill(-1, signal.SIGUSR1)
    assert process.wait() == -signal.SIGUSR1
    # Were the eye on the host, or pytest, in reach, it would be dead by now.
    assert got == ([] if how == "kill -1" else [1])
    assert on_host("1 + 1") == 2

@pytest.mark.isolated
def test_init_survives():
    assert os.getpid() != SUPERVISOR, "not isolated, and so not safe to go on"
    for number in (0, *signal.valid_signals()):
        # `test_init.py` has who may send them.
        with contextlib.suppress(PermissionError):
            os.kill(1, number)
    states = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    assert psutil.Process(1).status() not in states
    # It still answers: the audit finds this.
    subprocess.Popen(["sleep", "60"])

def test_host_goes_on(on_host):
    assert on_host("2 + 2") == 4
"""


@pytest.mark.usefixtures("view_of_host")
def test_signals(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    No signal leaves the sandbox, whether sent to a host pid, a group or everyone.
    """
    pytester.makepyfile(SIGNALS)
    result = run_both_ways()
    result.assert_outcomes(passed=6, warnings=1)
    result.stdout.fnmatch_lines("*test_init_survives left 1 process (sleep 60, *)")


def test_no_process_is_left(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Processes that a test left running, stopped or deaf to signals die with the sandbox.
    """
    token = f"{os.getpid()}.25"
    pytester.makepyfile(
        f"""
        import signal
        import subprocess
        import time
        import psutil
        import pytest

        def sleepers():
            return [
                one for one in psutil.process_iter(["cmdline"])
                if one.info["cmdline"] == ["sleep", "{token}"]
            ]

        @pytest.mark.isolated
        def test_left():
            command = ["sleep", "{token}"]
            subprocess.Popen(command)
            subprocess.Popen(command, start_new_session=True)
            subprocess.Popen(["sh", "-c", "trap '' TERM HUP INT; exec sleep {token}"])
            stopped = subprocess.Popen(command)
            stopped.send_signal(signal.SIGSTOP)
            while len(sleepers()) < 4:
                time.sleep(0.01)

        def test_gone():
            end = time.monotonic() + 20
            while sleepers() and time.monotonic() < end:
                time.sleep(0.01)
            assert sleepers() == []
        """
    )
    run_both_ways().assert_outcomes(passed=2)


PARENT_DEATH = """
import ctypes
import signal
import pytest

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG = 1, 2
prctl = ctypes.CDLL(None).prctl

@pytest.mark.isolated
def test_set():
    number = ctypes.c_int()
    assert prctl(PR_GET_PDEATHSIG, ctypes.byref(number)) == 0
    assert number.value == signal.SIGKILL

@pytest.mark.isolated(timeout=2)
def test_cleared():
    assert prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(0)) == 0
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    signal.pause()

def test_next(): pass
"""


def test_parent_death_signal(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    A guest has a parent-death signal; one that takes it away is killed all the same.
    """
    pytester.makepyfile(PARENT_DEATH)
    result = run_both_ways()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*test_cleared did not finish: timed out after *"])
