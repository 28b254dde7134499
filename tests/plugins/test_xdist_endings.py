"""
Isolated tests that crash or hang under pytest-xdist.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from xml.etree import ElementTree

import machine
import psutil
import pytest
from twins import run_once

pytestmark = pytest.mark.about("pytest-xdist")

NAMED = ("-p", "nsisolate", "-p", "xdist")


def test_crash(pytester: pytest.Pytester) -> None:
    """
    A crash ends the test and not the process that runs it.
    """
    pytester.makepyfile(
        """
        import os
        import signal
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_one(number, worker_id):
            print("ran by", worker_id)
            if number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if number == 2:
                os._exit(0)
        """
    )
    run = run_once(pytester, [*NAMED, "--nsisolate", "-n2"], apart=True)
    run.result.assert_outcomes(passed=2, failed=2)
    assert "killed by SIGKILL during call" in run.stdout
    assert "exited with code 0 during call" in run.stdout
    assert "crashed while running" not in run.stdout
    assert "replacing crashed worker" not in run.stdout


def test_crash_of_process(pytester: pytest.Pytester) -> None:
    """
    If a process that runs tests is killed, its guests die too, and the others go on.
    """
    pytester.makepyfile(
        """
        import os
        import signal
        import time
        from pathlib import Path
        import pytest

        @pytest.fixture(scope="module")
        def supervisor():
            return os.getpid()

        @pytest.fixture(scope="module")
        def kill_it(supervisor):
            if not os.fork():
                while not Path("started").exists():
                    time.sleep(0.01)
                os.kill(supervisor, signal.SIGKILL)
                os._exit(0)

        def test_killed(kill_it):
            Path("started").touch()
            time.sleep(60)

        def test_other(): pass
        """
    )
    run = run_once(pytester, [*NAMED, "--nsisolate", "-n2"], apart=True)
    run.result.assert_outcomes(passed=1, failed=1)
    assert "crashed while running 'test_crash_of_process.py::test_killed'" in run.stdout


HANGS = """
    import signal
    import time
    from pathlib import Path

    def test_hangs():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGALRM])
        Path("started").touch()
        time.sleep(300)

    def test_waits():
        while not Path("started").exists():
            time.sleep(0.05)
        assert 0
"""


@pytest.mark.parametrize("limit", [(), ("-x",)], ids=["", "-x"])
def test_hang(limit: tuple[str, ...], pytester: pytest.Pytester) -> None:
    """
    With pytest-timeout, a guest that hangs for good does not hang the session.
    """
    pytester.makepyfile(HANGS)
    arguments = [*NAMED, "-p", "timeout", "--nsisolate", "-n2", "--timeout=3", *limit]
    run = run_once(pytester, arguments, apart=True)
    assert "Timeout (>3.0s) from pytest-timeout." in run.stdout
    run.result.assert_outcomes(failed=2)


def test_one_error_of_teardown(pytester: pytest.Pytester) -> None:
    """
    Failures in a teardown and after it arrive as one error that shows them all.
    """
    pytester.makepyfile(
        """
        import subprocess
        import pytest

        @pytest.fixture
        def inside():
            yield
            subprocess.Popen(["sleep", "60"])
            assert False, "inside"

        @pytest.mark.isolated(leaks="fail")
        def test_parts(inside, subtests):
            for number in range(2):
                with subtests.test(number=number):
                    assert False
        """
    )
    arguments = [*NAMED, "-n1", "--junitxml=report.xml"]
    run = run_once(pytester, arguments, apart=True)
    assert run.result.parseoutcomes() == {"failed": 3, "errors": 1}
    assert "AssertionError: inside" in run.stdout
    assert "- another error in teardown -" in run.stdout
    assert "test_parts left 1 process (sleep 60" in run.stdout
    tree = ElementTree.parse(pytester.path / "report.xml")
    assert len(tree.findall(".//error")) == 1


def test_interrupt(pytester: pytest.Pytester) -> None:
    """
    A Ctrl-C ends the session while a guest hangs, and leaves no process behind.
    """
    pytester.makepyfile(HANGS)
    command = [sys.executable, "-mpytest", *NAMED, "--nsisolate", "-n2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        started = pytester.path / "started"
        machine.wait_until(lambda: started.exists() or process.poll() is not None)
        below = psutil.Process(process.pid).children(recursive=True)
        assert below
        # Sent to the whole foreground group, as a terminal does.
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=40)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 2
    assert "KeyboardInterrupt" in out
    assert not psutil.wait_procs(below, timeout=30)[1]
