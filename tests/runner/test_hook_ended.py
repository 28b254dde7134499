"""
The hook `pytest_nsisolate_ended`, which gets the ending, usage and leaks of a guest.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ways import RunPytest

pytestmark = pytest.mark.python

TELLS = """
import json
import pytest

@pytest.hookimpl(optionalhook=True)
def pytest_nsisolate_ended(item, ending, usage, left):
    with open("story", "a") as stream:
        row = {
            "test": item.name,
            "ending": type(ending).__name__,
            "text": str(ending),
            "cpu": usage and usage.cpu,
            "memory": usage and usage.peak_memory,
            "left": None if left is None else [str(one) for one in left],
        }
        print(json.dumps(row), file=stream)
"""

ENDS = """
import os
import subprocess
import sys
import time
import pytest

pytestmark = pytest.mark.isolated

def test_passes():
    pass

def test_spins():
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass

def test_waits_for_another():
    spin = "import time\\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-S", "-c", spin], check=True)

def test_allocates():
    assert len(bytearray(b"x") * 100_000_000) == 100_000_000

def test_leaves():
    subprocess.Popen(["sleep", "1000"])

@pytest.mark.isolated(leaks="ignore")
def test_crashes():
    os._exit(3)

def test_is_killed():
    os.kill(os.getpid(), 9)

@pytest.mark.isolated(timeout=2)
def test_hangs():
    time.sleep(1000)

@pytest.mark.isolated(nofile=1)
def test_is_refused():
    pass
"""


def stories(directory: Path) -> list[dict[str, object]]:
    """
    Return the arguments of each call of the hook, in order.
    """
    story = (directory / "story").read_text()
    return [json.loads(line) for line in story.splitlines()]


def figure(row: dict[str, object], name: str) -> float:
    """
    Return the number *name* of *row*, or 0 if it has none.
    """
    value = row[name]
    return value if isinstance(value, int | float) else 0


def test_told_of_each_ending(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    The hook is called once for each guest, with its ending, usage and leaks.
    """
    pytester.makeconftest(TELLS)
    pytester.makepyfile(test_ends=ENDS)

    result = run_both_ways("test_ends.py", "--nsisolate-leaks=warn")

    result.assert_outcomes(passed=5, failed=3, errors=1, warnings=1)
    rows = stories(pytester.path)
    told = {str(row["test"]): row for row in rows}
    assert len(rows) == len(told)
    assert {name: row["ending"] for name, row in told.items()} == {
        "test_passes": "Finished",
        "test_spins": "Finished",
        "test_waits_for_another": "Finished",
        "test_allocates": "Finished",
        "test_leaves": "Finished",
        "test_crashes": "Exited",
        "test_is_killed": "Killed",
        "test_hangs": "TimedOut",
        "test_is_refused": "NeverStarted",
    }
    assert told["test_crashes"]["text"] == "exited with code 3"
    assert told["test_crashes"]["left"] is None
    assert told["test_is_refused"]["cpu"] is told["test_is_refused"]["left"] is None
    assert told["test_passes"]["left"] == []
    assert "1 process (sleep 1000" in str(told["test_leaves"]["left"])
    assert figure(told["test_spins"], "cpu") >= 0.3
    assert figure(told["test_waits_for_another"], "cpu") >= 0.3
    assert figure(told["test_hangs"], "cpu") > 0
    most = max(rows, key=lambda row: figure(row, "memory"))
    assert most["test"] == "test_allocates"
    assert figure(most, "memory") > 100_000_000


def test_hook_that_raises(pytester: pytest.Pytester) -> None:
    """
    A hook that raises fails its test's teardown, xfail or not, and nothing is lost.
    """
    pytester.makeconftest(
        """
        def pytest_nsisolate_ended(item, ending):
            raise KeyError(item.name)
        """
    )
    pytester.makepyfile(
        """
        import os
        import pytest

        pytestmark = pytest.mark.isolated

        def test_passes(): print("printed")
        def test_crashes(): os._exit(3)
        @pytest.mark.xfail
        def test_is_expected(): assert 0
        @pytest.mark.isolated(nofile=1)
        def test_is_refused(): pass
        """
    )
    result = pytester.runpytest_subprocess("-rA", timeout=60)

    result.assert_outcomes(passed=1, failed=1, xfailed=1, errors=5)
    result.stdout.fnmatch_lines(
        ["*_ ERROR at teardown of test_passes _*", "E * KeyError: 'test_passes'"]
    )
    assert "INTERNALERROR" not in str(result.stdout) + str(result.stderr)


def test_hook_that_ends_the_session(pytester: pytest.Pytester) -> None:
    """
    `pytest.exit` in the hook ends the session, and its test is still reported.
    """
    pytester.makeconftest(
        """
        import pytest

        def pytest_nsisolate_ended():
            pytest.exit("enough", returncode=7)
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated
        @pytest.mark.parametrize("number", range(2))
        def test_one(number): pass
        """
    )
    result = pytester.runpytest_subprocess("-v", timeout=60)

    assert result.ret == 7
    result.stdout.fnmatch_lines(["*::test_one[[]0[]] PASSED*", "*Exit: enough*"])


SHARED = """
import os
import pytest

pytestmark = pytest.mark.isolated(scope="module", leaks="fail")

def test_one():
    pass

def test_two():
    os._exit(3)

def test_three():
    pass

def test_four():
    open("/dev/shm/left", "w").close()

class TestForked:
    pytestmark = pytest.mark.isolated(scope="class", fork=True)

    def test_five(self):
        pass

    def test_six(self):
        pass
"""


def test_shared(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    For a shared guest the hook is called once, with the last test that ran in it.
    """
    pytester.makepyfile(test_shared=SHARED, telling=TELLS)
    result = run_both_ways("-p", "telling", "--nsisolate-usage=0", "test_shared.py")

    result.assert_outcomes(passed=5, failed=1, errors=1)
    told = [(row["test"], row["ending"]) for row in stories(pytester.path)]
    assert told == [
        ("test_two", "Exited"),
        ("test_four", "Finished"),
        ("test_five", "Finished"),
        ("test_six", "Finished"),
    ]
    assert all(figure(row, "cpu") > 0 for row in stories(pytester.path))


def test_shared_and_left_early(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    The hook is also called for a shared guest that ends early with the session.
    """
    pytester.makepyfile(
        telling=TELLS,
        test_shared="""
        import pytest

        pytestmark = pytest.mark.isolated(scope="module")

        def test_one():
            pass

        def test_two(request):
            request.session.shouldstop = "enough"

        def test_three():
            pass
        """,
    )
    result = run_both_ways("-p", "telling", "test_shared.py")

    result.assert_outcomes(passed=2)
    told = [(row["test"], row["ending"]) for row in stories(pytester.path)]
    assert told == [("test_two", "Finished")]
