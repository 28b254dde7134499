"""
Time limits: a test that takes too long is ended, and where it was is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import wait_until
from waits import NOTES, UNTIL_NO_LIMIT

pytestmark = pytest.mark.python

RunPytest = Callable[..., pytest.RunResult]

HANGS = """
import ctypes
import os
import signal
import subprocess
import threading
import time
import pytest

def hang_in_thread():
    threading.Event().wait()

@pytest.mark.isolated(timeout=2, leaks="ignore")
def test_call():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=hang_in_thread, daemon=True).start()
    subprocess.Popen("trap '' TERM; sleep 1234 & sleep 1235; true", shell=True)
    print("printed before")
    time.sleep(60)

@pytest.mark.isolated(timeout=2)
def test_gil():
    # PyDLL keeps the GIL while the function runs.
    ctypes.PyDLL(None).sleep(60)

@pytest.mark.isolated(timeout=2)
def test_stopped():
    os.kill(os.getpid(), signal.SIGSTOP)

@pytest.fixture
def slow_setup():
    time.sleep(60)

@pytest.mark.isolated(timeout=2)
def test_setup(slow_setup): pass

@pytest.fixture
def slow_teardown():
    yield
    print("printed in teardown")
    time.sleep(60)

@pytest.mark.isolated(timeout=2)
def test_teardown(slow_teardown): pass

@pytest.mark.isolated(timeout=2)
def test_silent():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(60)

@pytest.mark.isolated(timeout=2)
def test_executes():
    os.execvp("sleep", ["sleep", "60"])

@pytest.mark.isolated(timeout=0)
def test_unlimited():
    until_no_limit()

@pytest.mark.isolated(timeout=30)
def test_in_time(): pass
"""


def text_of(result: pytest.RunResult, name: str) -> str:
    """
    Return the lines about the test *name*.
    """
    found = re.search(
        rf"^_+ (?:ERROR at \w+ of )?{name} _+\n(.*?)(?=^[_=]{{3,}} )",
        str(result.stdout),
        re.MULTILINE | re.DOTALL,
    )
    assert found, str(result.stdout)
    return found[1]


def test_hangs(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A test is ended whatever it hangs in, and the other tests run.
    """
    pytester.makeconftest(NOTES)
    pytester.makepyfile(test_hangs=HANGS + UNTIL_NO_LIMIT)
    hung = run_both_ways("test_hangs.py", "--nsisolate-timeout=0.1")
    hung.assert_outcomes(failed=5, errors=2, passed=3)
    check_texts(hung)
    check_what_is_shown(hung)
    check_where_it_was(hung)
    check_silence(hung)


def check_texts(hung: pytest.RunResult) -> None:
    """
    Check that each text names the phase and the limit.
    """
    phases = {"setup": "setup", "teardown": "teardown"}
    for name in ("gil", "stopped", "setup", "teardown", "silent", "executes"):
        lines = text_of(hung, f"test_{name}").splitlines()
        what, why, fix = lines[:3]
        assert what.startswith(f"test_{name} did not finish: timed out after 2 s ")
        assert what.endswith(f" during {phases.get(name, 'call')}")
        assert why == "why: its marker says timeout=2"
        assert fix.startswith("fix: see below where it was, or give it more time: ")
        assert fix.endswith("@pytest.mark.isolated(timeout=4)")


def check_what_is_shown(hung: pytest.RunResult) -> None:
    """
    Check for the stack of each thread, the captured output and the processes.
    """
    text = text_of(hung, "test_call")

    assert "timed out after 2 s during call" in text
    tree = text.partition("processes in the sandbox:\n")[2].splitlines()
    activity = r"[a-z-]+, \d+\.\d\d s of processor time, \d+ MiB"
    age = rf"\(\d+\.\d s, {activity}\)"
    for line, pattern in zip(
        tree[:4],
        [
            rf"  2 the test: \S*python.* {age}",
            rf"    \d+ /bin/sh -c trap '' TERM; sleep 1234 .* {age}",
            rf"      \d+ sleep 1234 {age}",
            rf"      \d+ sleep 1235 {age}",
        ],
        strict=True,
    ):
        assert re.fullmatch(pattern, line), text
    assert 'test_hangs.py", line 10 in hang_in_thread' in text
    last = [line for line in text.splitlines() if line.startswith("  File ")][-1]
    assert last.endswith('test_hangs.py", line 18 in test_call')
    assert "Captured stdout call" in text
    assert "printed before" in text
    assert "printed in teardown" in text_of(hung, "test_teardown")


def check_where_it_was(hung: pytest.RunResult) -> None:
    """
    Check for the stack of C code that holds the GIL, and of a stopped process.
    """
    assert re.search(r'test_hangs.py", line \d+ in test_gil', text_of(hung, "test_gil"))
    stopped = text_of(hung, "test_stopped")
    assert re.search(r'test_hangs.py", line \d+ in test_stopped', stopped)
    assert "in slow_setup" in text_of(hung, "test_setup")


def check_silence(hung: pytest.RunResult) -> None:
    """
    Check that the reason is given if there is no stack.
    """
    silent = text_of(hung, "test_silent")
    assert re.search(
        r"no stack was written: SIGRTMIN\+\d+ had no effect in 2 s; /proc/PID/status "
        r"says State: S \(sleeping\), SigBlk: [0-9a-f]+, ",
        silent,
    )
    assert (
        "no stack was written: its file was closed, or the test had called execve()"
        in text_of(hung, "test_executes")
    )


LIMITED = """
import time
import pytest

@pytest.mark.isolated
def test_it():
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("ini", "arguments", "after"),
    [
        ("", ["--nsisolate-timeout=2"], "2"),
        ("nsisolate_timeout = 2", [], "2"),
        ("nsisolate_timeout = 60", ["--nsisolate-timeout=2"], "2"),
    ],
)
def test_options(
    pytester: pytest.Pytester, ini: str, arguments: list[str], after: str
) -> None:
    """
    The command line takes precedence over the ini file, and the text gives the limit.
    """
    pytester.makeini(f"[pytest]\n{ini}")
    pytester.makepyfile(test_it=LIMITED)
    result = pytester.runpytest_subprocess(*arguments, timeout=30)

    result.stdout.fnmatch_lines(
        [
            f"test_it did not finish: timed out after {after} s during call",
            f"why: --nsisolate-timeout or nsisolate_timeout is {after}",
        ],
        consecutive=True,
    )


@pytest.mark.parametrize(
    ("value", "takes"),
    [
        ("soon", "takes a number of seconds"),
        ("-1", "takes a number of seconds from 0 to 2147483"),
        ("nan", "takes a number of seconds from 0 to 2147483"),
        ("inf", "takes a number of seconds from 0 to 2147483"),
    ],
)
def test_bad_option(pytester: pytest.Pytester, value: str, takes: str) -> None:
    """
    An invalid number of seconds is a usage error in three lines.
    """
    result = pytester.runpytest_subprocess(f"--nsisolate-timeout={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            f"ERROR: cannot use --nsisolate-timeout={value}",
            f"why: the option --nsisolate-timeout {takes}",
            "fix: write --nsisolate-timeout=60 on the command line",
        ],
        consecutive=True,
    )


def test_no_polling(pytester: pytest.Pytester) -> None:
    """
    While a test runs the supervisor waits for what it says, and does not poll.
    """
    pytester.makeconftest(NOTES)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated(timeout=3600)
        def test_it(): pass
        """
    )
    result = pytester.runpytest_subprocess(timeout=60)

    result.assert_outcomes(passed=1)
    waits = Path("waits").read_text().split()
    assert waits
    assert all(float(milliseconds) > 1000 for milliseconds in waits), waits


TRACED = """
import sys
import pytest

class Debugger:
    def trace(self, *_): return None

# What a debugger installs is a function of its own module.
def trace(*_): return None

trace.__module__ = "pydevd_tracing"
sys.settrace(trace)

@pytest.mark.isolated(timeout=0.2)
def test_it():
    until_no_limit()
"""


def test_editor_suspends(pytester: pytest.Pytester) -> None:
    """
    A test that runs under the debugger of an editor has no time limit.
    """
    pytester.makeconftest(NOTES)
    pytester.makepyfile(test_it=TRACED + UNTIL_NO_LIMIT)
    result = pytester.runpytest_subprocess(timeout=30)
    result.assert_outcomes(passed=1)


BREAKS = """
import time
import pytest

@pytest.mark.isolated(timeout=2)
def test_it():
    breakpoint()
    time.sleep(60)
"""


def test_pdb_suspends(pytester: pytest.Pytester) -> None:
    """
    The time limit stops while someone is in pdb, and resumes with what was left.
    """
    pytester.makeconftest(NOTES)
    pytester.makepyfile(test_it=BREAKS)
    process = pytester.spawn_pytest("test_it.py", expect_timeout=30.0)
    process.expect_exact("(Pdb) ")
    wait_until(lambda: Path("waits").read_text().endswith("None\n"), "no limit")
    process.sendline("print(6 * 7)")
    process.expect_exact("42")
    process.sendline("continue")
    process.expect_exact("timed out after 2 s during call")
    process.expect_exact("1 failed")
    process.wait()


#: Makes a fork of pytest take an hour, by its clock, while the guest before it runs.
SLOW_FORK = """
import os
import sys
import time
from pathlib import Path

from pytest_nsisolate.linux import stdlib

def before():
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "prepare_next":
        frame = frame.f_back
    if frame is not None and not Path("forked").exists():
        while not Path("begun").exists():
            time.sleep(0.01)
        stdlib.time.monotonic = lambda: time.monotonic() + 3600
        Path("forked").touch()

def pytest_configure():
    os.register_at_fork(before=before)
"""


SLOW = """
import time
from pathlib import Path
import pytest

@pytest.mark.isolated(timeout=3600)
def test_slow():
    Path("begun").touch()
    time.sleep(1000)

@pytest.mark.isolated
def test_next(): pass
"""


def test_next_fork(pytester: pytest.Pytester) -> None:
    """
    Time that the supervisor spends while a test runs counts for that test.
    """
    pytester.makeconftest(SLOW_FORK)
    pytester.makepyfile(SLOW)
    result = pytester.runpytest_subprocess(timeout=60)
    assert Path("forked").exists()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_slow*3600 s*"])


def test_threads_of_pytest(pytester: pytest.Pytester) -> None:
    """
    The report names the threads of pytest, which do not exist in the fork.
    """
    pytester.makepyfile(
        """
        import concurrent.futures
        import threading
        import pytest

        @pytest.fixture(scope="module")
        def answer():
            stop = threading.Event()
            done = threading.Event()
            asked = threading.Event()

            def serve():
                asked.wait()
                done.set()

            threads = [
                threading.Thread(target=serve, name="serving"),
                threading.Thread(target=stop.wait, name="idle"),
            ]
            for thread in threads:
                thread.start()
            yield asked, done
            asked.set()
            stop.set()
            for thread in threads:
                thread.join()

        @pytest.mark.isolated(timeout=2)
        def test_waits(answer):
            asked, done = answer
            asked.set()
            while not done.wait(0.1): pass

        @pytest.mark.isolated(scope="class")
        class TestShared:
            def test_first(self, answer): pass

            @pytest.mark.isolated(timeout=2)
            def test_second(self, answer):
                while not answer[1].wait(0.1): pass

        @pytest.mark.isolated
        def test_no_time_out(answer): assert 0
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:faulthandler", timeout=60)
    result.assert_outcomes(failed=3, passed=1)
    line = (
        "2 threads of pytest do not exist here, since fork(2) copies only the one that "
        "calls it: serving (of answer, module), idle (of answer, module)"
    )
    for name in ("test_waits", "TestShared.test_second"):
        assert text_of(result, name).splitlines().count(line) == 1
    assert "do not exist here" not in text_of(result, "test_no_time_out")


def test_no_threads_of_pytest(pytester: pytest.Pytester) -> None:
    """
    A thread of the test itself, or one that has ended, is not named.
    """
    pytester.makepyfile(
        """
        import threading
        import pytest

        @pytest.fixture(scope="module")
        def over():
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()

        @pytest.mark.isolated(timeout=2)
        def test_waits(over):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
            threading.Event().wait()
        """
    )
    result = pytester.runpytest_subprocess(timeout=60)
    result.assert_outcomes(failed=1)
    assert "of pytest do" not in text_of(result, "test_waits")
