"""
Exit handlers and temporary directories of a guest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.python

TESTS = """
import atexit
import tempfile
from pathlib import Path
import pytest

LOG = Path("log")

def note(text):
    with LOG.open("a") as file:
        file.write(text + " ")

atexit.register(note, "supervisor")

class Noisy:
    def __del__(self):
        note("dropped")

@pytest.fixture(scope="session")
def wide():
    kept = Noisy()
    directory = tempfile.TemporaryDirectory(prefix="wide-")
    try:
        yield Path(directory.name)
    finally:
        note("finally")

@pytest.mark.isolated
@pytest.mark.parametrize("number", [1, 2])
def test_inside(wide, number):
    global left
    left = tempfile.TemporaryDirectory(prefix="left-")
    atexit.register(note, f"guest {number}")
    assert wide.is_dir()

def test_host(wide):
    assert wide.is_dir()
    assert LOG.read_text() == "guest 1 guest 2 "
    assert list(wide.parent.glob("left-*")) == []
"""


@pytest.mark.usefixtures("temporary")
def test_handlers(pytester: pytest.Pytester) -> None:
    """
    A guest runs the exit handlers of its test and none of the supervisor's.
    """
    pytester.makepyfile(TESTS)

    result = pytester.runpytest_subprocess()

    result.assert_outcomes(passed=3)
    log = (pytester.path / "log").read_text()
    assert log == "guest 1 guest 2 finally dropped supervisor "


def test_directories(pytester: pytest.Pytester, temporary: Path) -> None:
    """
    No temporary directory remains, even if a test did not clean it up.
    """
    pytester.makepyfile(TESTS)

    pytester.runpytest_subprocess("--basetemp=base")

    assert list(temporary.iterdir()) == []


INTERRUPTED = """
import atexit
import time
import pytest

def wait():
    open("here", "w").close()
    # A signal that comes just before a sleep begins is seen when that is over.
    [time.sleep(0.1) for _ in range(900)]

@pytest.mark.isolated
def test_waits():
    atexit.register(wait)

@pytest.mark.isolated
def test_next(): pass
"""


def test_interrupted_handler(pytester: pytest.Pytester) -> None:
    """
    Ctrl-C in an exit handler of a test ends the session, after the test was reported.
    """
    pytester.makepyfile(INTERRUPTED)
    os.mkfifo("here")
    # A shell has processes in the background ignore SIGINT.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "pytest"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with open("here") as file:
        file.read()

    process.send_signal(signal.SIGINT)

    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in output
    assert "1 passed" in output
