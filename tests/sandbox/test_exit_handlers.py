"""
Exit handlers and temporary directories of a guest.
"""

from __future__ import annotations

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
