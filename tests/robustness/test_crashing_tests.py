"""
Tests that crash or end their process, and the failures that name the ending.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

RunPytest = Callable[..., pytest.RunResult]

ENDINGS = """
import ctypes
import os
import signal
import sys
import pytest

def overflow():
    # The parser of regular expressions recurses in C for each bracket.
    libc = ctypes.CDLL(None)
    libc.regcomp(ctypes.create_string_buffer(1024), b"(" * 10**6, 1)

ENDINGS = {
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGALRM": lambda: (signal.setitimer(signal.ITIMER_REAL, 0.01), signal.pause()),
    "SIGRTMIN+3": lambda: os.kill(os.getpid(), signal.SIGRTMIN + 3),
    "SIGSEGV": lambda: ctypes.string_at(0),
    "SIGABRT": os.abort,
    "SIGSEGV stack": overflow,
    "SIGXCPU": lambda: os.kill(0, signal.SIGXCPU),
    **{f"code {number}": lambda number=number: os._exit(number)
       for number in (0, 1, 3, 255)},
}

@pytest.fixture
def ends(request):
    name, phase = request.param
    def reach(now):
        if now == phase:
            os.write(1, f"out in {now}\\n".encode())
            print("err in", now, file=sys.stderr, flush=True)
            ENDINGS[name]()
    reach("setup")
    yield reach
    reach("teardown")

@pytest.mark.isolated
@pytest.mark.parametrize(
    "ends",
    [(name, "call") for name in ENDINGS]
    + [(name, phase) for name in ("SIGTERM", "SIGSEGV", "code 0")
       for phase in ("setup", "teardown")],
    indirect=True,
    ids=lambda param: "-".join(param),
)
def test_it(ends):
    ends("call")

def test_next(): pass

@pytest.mark.isolated
def test_next_isolated(): pass
"""

NAMES = [
    *("SIGTERM", "SIGKILL", "SIGALRM", "SIGRTMIN+3", "SIGSEGV", "SIGABRT"),
    *("SIGSEGV stack", "SIGXCPU", "code 0", "code 1", "code 3", "code 255"),
]


def test_endings(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A report names ending and phase with output and stack so far; other tests run.
    """
    pytester.makepyfile(ENDINGS)
    result = run_both_ways("-rA", "--junitxml=report.xml", "--tb=short")
    expected = [(name, "call") for name in NAMES]
    for name in ("SIGTERM", "SIGSEGV", "code 0"):
        expected += [(name, "setup"), (name, "teardown")]
    # When teardown crashes, the call has passed.
    result.assert_outcomes(passed=2 + 3, failed=12, errors=6)
    _check_texts(result.stdout.str(), expected)
    _check_xml(ElementTree.parse(pytester.path / "report.xml").getroot(), expected)


def test_after_teardown(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A guest that dies after its test has passed dies in teardown.
    """
    pytester.makepyfile(
        """
        import atexit
        import os
        import pytest
        import signal

        pytestmark = pytest.mark.isolated

        def test_exits():
            atexit.register(os._exit, 0)

        def test_is_killed():
            atexit.register(os.kill, os.getpid(), signal.SIGKILL)

        def test_next(): pass
        """
    )
    result = run_both_ways("-v")
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(
        [
            "test_exits did not finish: exited with code 0 during teardown",
            "test_is_killed did not finish: killed by SIGKILL during teardown",
        ]
    )


def _check_texts(text: str, expected: list[tuple[str, str]]) -> None:
    """
    Expect three lines and the output for each ending, and a stack for each crash.

    The stack has no frame of the package.
    """
    for name, phase in expected:
        word = name.split()[0]
        ended = (
            f"exited with {name}" if name.startswith("code") else f"killed by {word}"
        )
        what = f"test_it[{name}-{phase}] did not finish: {ended} during {phase}"
        assert what in text
        report = text.partition(what)[2].partition("\n____")[0]
        assert report.startswith("\nwhy: ")
        assert "\nfix: " in report
        assert f"Captured stdout {phase}" in report
        assert f"out in {phase}" in report
        assert f"Captured stderr {phase}" in report
        assert f"err in {phase}" in report
        crashed = word in {"SIGSEGV", "SIGABRT"}
        assert ("Fatal Python error" in report) is crashed
        assert (f"Captured faulthandler {phase}" in report) is crashed
        assert "/pytest_nsisolate/" not in report


def _check_xml(tree: ElementTree.Element, expected: list[tuple[str, str]]) -> None:
    """
    Expect one test case per test, with one failure or error that names the ending.
    """
    cases = {case.get("name"): case for case in tree.iter("testcase")}
    assert len(cases) == len(expected) + 2
    for name, phase in expected:
        case = cases[f"test_it[{name}-{phase}]"]
        (problem,) = [one for one in case if one.tag in {"failure", "error"}]
        assert problem.tag == ("failure" if phase == "call" else "error")
        assert "did not finish: " in "".join(problem.itertext())
        assert "system-out" not in [one.tag for one in problem]
    assert [one.tag for one in cases["test_next"]] == []


def test_out_of_memory(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A test that uses up RLIMIT_AS fails with MemoryError or with the way it died.
    """
    pytester.makepyfile(
        """
        import psutil
        import pytest
        import resource

        @pytest.fixture(autouse=True)
        def little_memory():
            limit = psutil.Process().memory_info().vms + (16 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        @pytest.mark.isolated
        def test_one_piece():
            bytearray(1 << 30)

        @pytest.mark.isolated
        def test_many_pieces():
            kept = []
            while True:
                kept.append("x" * 1000 + str(len(kept)))

        @pytest.mark.isolated
        def test_many_held(request):
            kept = request.config.kept = []
            while True:
                kept.append([len(kept)] * 100)

        @pytest.mark.isolated
        def test_next():
            pass
        """
    )
    result = run_both_ways("--tb=short")
    result.assert_outcomes(passed=1, failed=3)
    assert "MemoryError" in result.stdout.str()


XFAIL = """
import os
import pytest

def crash():
    os.kill(os.getpid(), 9)

pytestmark = pytest.mark.isolated

@pytest.mark.xfail
def test_1_xfailed(): crash()

@pytest.mark.xfail(condition=False, reason="not here")
def test_2_failed(): crash()

@pytest.mark.xfail(raises=ValueError)
def test_3_failed(): crash()

@pytest.mark.xfail(strict=True)
def test_4_xfailed(): crash()

@pytest.mark.xfail(run=False)
def test_5_xfailed(): crash()

@pytest.mark.xfail(condition=True, reason="here")
def test_6_xfailed(): crash()

@pytest.fixture
def crashing():
    crash()

@pytest.mark.xfail(condition=False, reason="not here")
def test_7_error(crashing): pass

@pytest.mark.xfail
def test_8_xfailed(crashing): pass

@pytest.mark.xfail
def test_9_xpassed(): pass
"""


def test_xfail(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A crash under ``xfail`` is expected exactly where the mark says so.
    """
    pytester.makepyfile(XFAIL)
    result = run_both_ways("-rA", "--tb=line")
    result.assert_outcomes(failed=2, errors=1, xfailed=5, xpassed=1)
    text = result.stdout.str()
    for word, name in [
        *(("XFAIL", f"test_{n}_xfailed") for n in (1, 4, 5, 6, 8)),
        *(("FAILED", f"test_{n}_failed") for n in (2, 3)),
        *(("ERROR", "test_7_error"), ("XPASS", "test_9_xpassed")),
    ]:
        assert re.search(
            rf"^{word} (at setup of )?test_xfail.py::{name}\b", text, re.MULTILINE
        )
