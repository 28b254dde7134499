"""
The debuggers of VS Code and PyCharm.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from debugging import PyCharm, VSCode

TESTS = """
import os
import subprocess
import sys
import pytest

def test_first():
    first = 1  # here

@pytest.mark.isolated(net=True)
def test_net():
    second = 2  # here
    assert second == 3  # here

@pytest.mark.isolated(net=True)
def test_starts():
    if not os.fork():
        third = 3  # here, but not in a process that a test starts
        os._exit(third)
    assert os.wait()[1] == 3 << 8
    subprocess.run([sys.executable, "-c", ""], check=True)
"""


@pytest.fixture
def lines(pytester: pytest.Pytester) -> list[int]:
    """
    Return the lines of the test file that have a breakpoint.
    """
    text = pytester.makepyfile(test_it=TESTS).read_text()
    return [
        number for number, line in enumerate(text.splitlines(), 1) if "# here" in line
    ]


ARGUMENTS = ["-p", "nsisolate", "--nsisolate", "test_it.py"]


@pytest.mark.about("debugpy")
@pytest.mark.parametrize("jobs", [1, 3])
def test_vscode(lines: list[int], jobs: int) -> None:
    """
    VS Code stops at the breakpoints of isolated tests, and only inside.
    """
    first, second, third, _ = lines
    editor = VSCode(Path("test_it.py").resolve(), lines)
    code = editor.run_pytest(*ARGUMENTS, f"--nsisolate-jobs={jobs}")
    assert sorted(editor.stops) == [
        (False, "test_first", first),
        (False, "test_net", second),
        (False, "test_net", third),
    ]
    assert "1 failed, 2 passed" in editor.output
    assert code == pytest.ExitCode.TESTS_FAILED


@pytest.mark.about("pydevd-pycharm")
@pytest.mark.parametrize("attaches", [True, False], ids=["attaches", "alone"])
def test_pycharm(lines: list[int], attaches: bool) -> None:
    """
    PyCharm does so too, unless it is not to attach to other processes.
    """
    first, second, third, _ = lines
    editor = PyCharm(Path("test_it.py").resolve(), lines, attaches=attaches)
    code = editor.run_pytest(*ARGUMENTS)
    inside = [
        (False, "test_first", first),
        (False, "test_net", second),
        (False, "test_net", third),
    ]
    assert editor.stops == inside * attaches
    assert "1 failed, 2 passed" in editor.output
    assert code == pytest.ExitCode.TESTS_FAILED
