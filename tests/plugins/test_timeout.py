"""
Time limits of pytest-timeout.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

pytestmark = pytest.mark.about("pytest-timeout")


def test_traceback(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    A test that takes too long fails at its current line, in whatever phase.
    """
    pytester.makepyfile(
        """
        import signal
        import time
        import pytest

        def hang(where):
            print("hangs in", where)
            time.sleep(30)

        @pytest.fixture
        def tidy():
            yield
            print("torn down")

        @pytest.fixture
        def slow_setup(tidy):
            hang("setup")

        @pytest.fixture
        def slow_teardown(tidy):
            yield
            hang("teardown")

        @pytest.fixture(scope="module")
        def wide_setup():
            hang("wide setup")

        @pytest.fixture(scope="class")
        def wide_teardown():
            yield
            hang("wide teardown")

        @pytest.mark.timeout(2)
        class TestLimited:
            def test_setup(self, slow_setup): pass
            def test_call(self, tidy): hang("call")
            def test_teardown(self, slow_teardown): pass
            def test_wide_setup(self, wide_setup): pass

        @pytest.mark.timeout(2)
        class TestWideTeardown:
            def test_one(self, wide_teardown): print("fine")

        @pytest.mark.timeout(2, func_only=True)
        def test_func_only(tidy): hang("call")

        @pytest.mark.timeout(timeout=2, method="signal")
        def test_keywords(): hang("call")

        @pytest.mark.timeout(0)
        def test_no_limit(): assert not signal.getitimer(signal.ITIMER_REAL)[0]

        def test_next(): pass
        """
    )
    run = with_plugins("timeout")("-rA", "--timeout=60")
    run.result.assert_outcomes(passed=4, failed=3, errors=4)


def test_once_for_all(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    One limit covers all phases together, even if some run outside the sandbox.
    """
    pytester.makepyfile(
        """
        import signal
        from pathlib import Path
        import pytest

        LEFT = Path("left")

        def note():
            # What is left of it until SIGALRM.
            with LEFT.open("a") as file:
                print(signal.getitimer(signal.ITIMER_REAL)[0], file=file)

        @pytest.fixture(scope="class")
        def wide():
            note()
            yield
            note()
            left = [float(line) for line in LEFT.read_text().split()]
            LEFT.unlink()
            assert len(left) == 5
            assert 600 >= left[0]
            assert left == sorted(left, reverse=True)
            assert left[-1] > 0

        @pytest.fixture
        def narrow(wide):
            note()
            yield
            note()

        @pytest.mark.timeout(600)
        class TestAll:
            def test_one(self, narrow): note()
        """
    )
    with_plugins("timeout")().result.assert_outcomes(passed=1)


def test_failure_lifts_it(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    Once a test has failed, its teardown has no limit.
    """
    pytester.makepyfile(
        """
        import signal
        import pytest

        def time_is_up():
            if callable(signal.getsignal(signal.SIGALRM)):
                signal.raise_signal(signal.SIGALRM)

        @pytest.fixture(scope="module")
        def wide():
            yield
            time_is_up()

        @pytest.fixture
        def narrow(wide):
            yield
            time_is_up()

        @pytest.mark.timeout(600)
        def test_one(narrow): assert 0
        """
    )
    with_plugins("timeout")().result.assert_outcomes(failed=1)


@pytest.mark.parametrize("where", ["option", "ini", "environment"])
def test_where_set(
    where: str,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    with_plugins: WithPlugins,
) -> None:
    """
    The limit can be set for all tests.
    """
    pytester.makepyfile("import time\ndef test_one(): time.sleep(30)")
    arguments = []
    if where == "option":
        arguments = ["--timeout=2", "--timeout-method=signal"]
    elif where == "ini":
        pytester.makeini("[pytest]\ntimeout = 2\ntimeout_func_only = true")
    else:
        monkeypatch.setenv("PYTEST_TIMEOUT", "2")
    run = with_plugins("timeout")(*arguments)
    run.result.assert_outcomes(failed=1)
    assert "Timeout (>2.0s) from pytest-timeout" in run.stdout


def test_session_timeout(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    A limit for the whole session ends it after the running test.
    """
    pytester.makepyfile(
        """
        import time
        import pytest

        @pytest.fixture(scope="module", autouse=True)
        def wide():
            yield
            print("torn down")

        def test_one(): time.sleep(1)
        def test_two(): pass
        """
    )
    run = with_plugins("timeout")("--session-timeout=0.8", "-rA")
    run.result.assert_outcomes(passed=1)
    assert "session-timeout: 0.8 sec exceeded" in run.stdout


def test_hooks(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    Timers of another plugin, set through this plugin's hooks, are set in the guest.
    """
    pytester.makeconftest(
        """
        import os
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_timeout_set_timer(item, settings):
            print(f"set a timer for {settings.timeout}")
            item.cancel_timeout = lambda: None
            return True

        def pytest_timeout_cancel_timer(item):
            print("cancelled it")
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.timeout(5, func_only=True)
        def test_one(): assert 0
        """
    )
    run = with_plugins("timeout")()
    run.result.assert_outcomes(failed=1)
    assert "set a timer for 5.0" in run.stdout
    assert "cancelled it" in run.stdout


@pytest.mark.parametrize("shift", [86400, -1000])
def test_shifted_clock(
    pytester: pytest.Pytester, with_plugins: WithPlugins, shift: int
) -> None:
    """
    The limit is as long where the test has a clock of its own.
    """
    pytester.makepyfile(
        f"""
        import signal
        import pytest

        @pytest.mark.isolated(time={{"monotonic": {shift}}})
        @pytest.mark.timeout(600)
        def test_one():
            assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 600
        """
    )
    with_plugins("timeout")().result.assert_outcomes(passed=1)


def test_threads_of_pytest(pytester: pytest.Pytester) -> None:
    """
    However a test is ended, the threads are named that it may have waited for.
    """
    pytester.makepyfile(
        """
        import ctypes
        import threading
        import pytest

        @pytest.fixture(scope="module", autouse=True)
        def done():
            stop, done = threading.Event(), threading.Event()
            thread = threading.Thread(target=stop.wait, name="worker")
            thread.start()
            yield done
            stop.set()
            thread.join()

        pytestmark = pytest.mark.isolated

        def test_before(): pass

        @pytest.mark.timeout(2, method="signal")
        def test_signal(done):
            while not done.wait(0.1): pass

        @pytest.mark.timeout(2, method="thread")
        def test_thread(done):
            while not done.wait(0.1): pass

        @pytest.mark.timeout(2)
        def test_no_handler():
            # PyDLL keeps the GIL while the function runs.
            ctypes.PyDLL(None).sleep(60)

        @pytest.mark.timeout(50, method="signal")
        def test_deadlock_signal(done): done.wait()

        @pytest.mark.timeout(50, method="thread")
        def test_deadlock_thread(done): done.wait()
        """
    )
    options = ("-p", "nsisolate", "-p", "timeout")
    result = pytester.runpytest_subprocess(*options, timeout=60)
    result.assert_outcomes(failed=5, passed=1)
    text = result.stdout.str()
    line = (
        "1 thread of pytest does not exist here, since fork(2) copies only the one "
        "that calls it: worker (of done, module)"
    )
    assert text.splitlines().count(line) == 3
    assert text.count("Timeout (>2.0s) from pytest-timeout") == 2
    assert "_ nsisolate threads _" in text.replace("-", "_")
    for method in ("signal", "thread"):
        assert f"LeftBehind: test_deadlock_{method}() waits for ever" in text
