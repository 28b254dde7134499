"""
Kills from outside of the guest, the init, the launcher and pytest.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import machine
import psutil
import pytest
from ways import WAYS

RunPytest = Callable[..., pytest.RunResult]

KILLED = """
import contextlib
import os
import signal
import subprocess
import sys
import time
import psutil
import pytest

SUPERVISOR = psutil.Process()

def is_launcher(one):
    try:
        return "pytest_nsisolate" in " ".join(one.cmdline())
    except psutil.NoSuchProcess:
        return False

@pytest.fixture(scope="module")
def killer():
    # On the host: does not share the sandbox's view of pids.
    command = [sys.executable, __file__, str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        yield process

@pytest.mark.isolated
@pytest.mark.parametrize("whom", ["guest", "init", "outer", "inner"])
def test_killed_within(killer, whom, isolation):
    killer.stdin.write(f"{whom} {isolation.pid_on_host}\\n")
    killer.stdin.flush()
    time.sleep(30)

@pytest.fixture(scope="class", params=["outer", "inner", "init"])
def killed_before(request):
    kill(request.param, 0, SUPERVISOR)

@pytest.mark.isolated
class TestBetween:
    def test_it(self, killed_before): pass

@pytest.mark.isolated
def test_next(): pass

def kill(whom, guest, supervisor):
    outer = [one for one in supervisor.children() if is_launcher(one)]
    inner = [one for two in outer for one in children(two)]
    init = [one for two in inner for one in children(two)]
    if guest:
        # The sandbox of the next test is there already.
        init = [one for one in init if pid_space(one.pid) == pid_space(guest)]
    table = {"outer": outer, "inner": inner, "init": init}
    found = [psutil.Process(guest)] if whom == "guest" else table[whom]
    below = [two for one in found for two in children(one, recursive=True)]
    assert found or not guest, whom
    for one in found:
        # The sandbox of the test before may be on its way out, too.
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    end = time.monotonic() + 20
    while time.monotonic() < end and any(map(is_alive, found + below)):
        time.sleep(0.01)

def children(one, **kwargs):
    # A launcher that has been killed may be on its way out still.
    try:
        return one.children(**kwargs)
    except psutil.NoSuchProcess:
        return []

def pid_space(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return f"none, as {pid} has ended"

def is_alive(one):
    try:
        return one.is_running() and one.status() != "zombie"
    except psutil.NoSuchProcess:
        return False

if __name__ == "__main__":
    for line in sys.stdin:
        whom, guest = line.split()
        kill(whom, int(guest), psutil.Process(int(sys.argv[1])))
"""


def test_killed_from_outside(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Killing guest, init or launcher fails the running test, or no test if none runs.
    """
    pytester.makepyfile(test_killed=KILLED)
    result = run_both_ways("-rA", "--durations=0", "--tb=short")
    result.assert_outcomes(failed=4, passed=3 + 1)
    for whom in ("guest", "init", "outer", "inner"):
        what = (
            f"test_killed_within[[]{whom}[]] did not finish: killed by SIGKILL *call*"
        )
        result.stdout.fnmatch_lines([f"*{what}"])


@pytest.mark.faults
def test_pytest_killed(pytester: pytest.Pytester) -> None:
    """
    ``kill -9`` of pytest ends launcher, inits, guest and all that they started.
    """
    pytester.makepyfile(
        """
        import subprocess
        import time
        from pathlib import Path
        import pytest

        @pytest.mark.isolated
        @pytest.mark.parametrize("number", [1, 2])
        def test_it(number):
            subprocess.Popen(["sleep", "61"], start_new_session=True)
            subprocess.Popen(["sh", "-c", "trap '' TERM HUP; sleep 61; sleep 61"])
            Path("running").write_text("")
            time.sleep(60)
        """
    )
    for way, prefix in WAYS.items():
        _kill_pytest(pytester.path, [*prefix, sys.executable, "-m", "pytest"], way)


def _kill_pytest(path: Path, command: list[str], way: str) -> None:
    """
    Expect no process to be alive soon after a running pytest is killed.
    """
    running = path / "running"
    running.unlink(missing_ok=True)
    command = [*command, "-p", "no:cacheprovider"]
    with subprocess.Popen(command, cwd=path, stdout=subprocess.DEVNULL) as process:
        while not running.exists():
            assert process.poll() is None
            time.sleep(0.02)
        tree = psutil.Process(process.pid).children(recursive=True)
        supervisor = next(
            one
            for one in [psutil.Process(process.pid), *tree]
            if machine.command_of(one)[1:3] == ["-m", "pytest"]
        )
        tree = supervisor.children(recursive=True)
        assert len(tree) >= 6
        supervisor.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while time.monotonic() < end and any(_is_alive(one) for one in tree):
        time.sleep(0.01)
    assert not [one for one in tree if _is_alive(one)], way


def _is_alive(process: psutil.Process) -> bool:
    """
    Say whether *process* still runs; a zombie that no one reaps does not.
    """
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
