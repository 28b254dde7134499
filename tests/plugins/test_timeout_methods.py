"""
Both methods of pytest-timeout, and what keeps them from ending a test.
"""

from __future__ import annotations

import functools
import re

import pytest
from twins import compare, run_once

pytestmark = pytest.mark.about("pytest-timeout")

#: Options that isolate a run, or not, and load the plugin.
NAMED = ("-p", "nsisolate", "-p", "timeout")


def test_other_threads(pytester: pytest.Pytester) -> None:
    """
    The stacks of the test's other threads are shown as in a plain run.
    """
    pytester.makepyfile(
        """
        import threading
        import time
        import pytest

        def linger(): time.sleep(30)

        @pytest.mark.timeout(2)
        def test_one():
            threading.Thread(target=linger, name="lingering", daemon=True).start()
            time.sleep(30)
        """
    )
    # Without the column of the percentage: the plugin writes through pytest's own
    # terminal, which counts that as if it were on the screen.
    arguments = [*NAMED, "-o", "console_output_style=classic"]
    plain, isolated = (
        run_once(pytester, [switch, *arguments], apart=True)
        for switch in ("--no-nsisolate", "--nsisolate")
    )
    without_ids = functools.partial(re.sub, r"\(\d{10,}\)", "(id)")
    for run in (plain, isolated):
        run.result.outlines = [without_ids(line) for line in run.result.outlines]
        run.result.stdout.lines = run.result.outlines
        for event in run.events:
            if event[0] == "report":
                event[1] = {key: without_ids(one) for key, one in event[1].items()}
    compare(isolated, plain)
    assert "Stack of lingering (id)" in isolated.stdout
    assert "in linger" in isolated.stdout


def test_thread_method(pytester: pytest.Pytester) -> None:
    """
    With the method *thread*, the stacks are those of the test, and only the test ends.

    Without isolation the whole session ends there.
    """
    pytester.makepyfile(
        """
        import time

        def test_before(): pass

        def stuck(): time.sleep(30)

        def test_hangs():
            print("printed before")
            stuck()

        def test_after(): pass
        """
    )
    arguments = [*NAMED, "--timeout=2", "--timeout-method=thread"]
    plain = pytester.runpytest_subprocess(*arguments, "--no-nsisolate", timeout=60)
    isolated = pytester.runpytest_subprocess(*arguments, "--nsisolate", timeout=60)
    assert plain.ret == isolated.ret == 1
    for run in (plain, isolated):
        run.stdout.fnmatch_lines(
            [
                "*+ Timeout +*",
                "*~ Captured stdout ~*",
                "printed before",
                "*~ Stack of MainThread *",
                '  File "*test_thread_method.py", line 9, in test_hangs',
                "    stuck()",
                "*+ Timeout +*",
            ]
        )
    assert "FAILURES" not in plain.stdout.str()
    isolated.assert_outcomes(passed=2, failed=1)


@pytest.mark.parametrize(
    ("jobs", "before"), [(1, ""), (3, ""), (3, "def test_before(): pass")]
)
def test_deaf(pytester: pytest.Pytester, jobs: int, before: str) -> None:
    """
    A test whose process never handles the signal is ended from outside.

    Without isolation it would hang for ever.
    """
    pytester.makepyfile(
        f"""
        import signal
        import time

        {before}

        def test_deaf():
            print("printed before")
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            time.sleep(300)

        def test_next(): pass
        """
    )
    options = ["--nsisolate", "--timeout=2", f"--nsisolate-jobs={jobs}"]
    run = run_once(pytester, [*NAMED, *options], apart=True)
    run.result.assert_outcomes(passed=1 + bool(before), failed=1)
    run.result.stdout.fnmatch_lines(
        ["Timeout (>2.0s) from pytest-timeout.", "*Captured stdout call*", "printed *"]
    )


WAITS = """
import signal
import time
from pathlib import Path
import pytest

@pytest.mark.timeout(0)
def test_first():
    while not Path("waits").exists():
        time.sleep(0.01)
    # Longer than the limit of the one that waits for this one.
    time.sleep(3)

@pytest.mark.timeout(2)
def test_waits(capsys, subtests):
    Path("waits").touch()
    LINES
"""

#: What makes a test wait for its turn.
WAYS_TO_WAIT = {
    "subtest": """
    with subtests.test(): pass
    """,
    "direct": """
    with capsys.disabled(): pass
    """,
    "much": """
    print(3_000_000 * "x")
    """,
}


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
@pytest.mark.parametrize("method", ["signal", "thread"])
def test_waits_for_its_turn(pytester: pytest.Pytester, method: str, way: str) -> None:
    """
    While a test that started early waits for its turn, its timer stands still.
    """
    pytester.makepyfile(WAITS.replace("LINES", WAYS_TO_WAIT[way]))
    options = ["--nsisolate", "--nsisolate-jobs=2", f"--timeout-method={method}"]
    result = pytester.runpytest_subprocess(*NAMED, *options, timeout=60)
    result.assert_outcomes(passed=2)


def test_debugger(pytester: pytest.Pytester) -> None:
    """
    While a debugger waits for input, there is no limit.
    """
    pytester.makepyfile(
        """
        def test_one():
            breakpoint()
            print("went on")
        """
    )
    arguments = " ".join([*NAMED, "--nsisolate", "--timeout=4", "-rP"])
    terminal = pytester.spawn_pytest(arguments, expect_timeout=30)
    terminal.expect_exact("(Pdb) ")
    terminal.sendline("import time; time.sleep(6)")
    terminal.expect_exact("(Pdb) ")
    terminal.sendline("c")
    terminal.expect_exact("went on")
    terminal.expect_exact("1 passed")
    terminal.wait()
    assert terminal.exitstatus == 0
