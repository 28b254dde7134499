"""
Reruns of pytest-rerunfailures.
"""

from __future__ import annotations

import sys

import pytest
from pages import Page
from twins import WithPlugins, run_once
from ways import WITHOUT_NET

pytestmark = pytest.mark.about("pytest-rerunfailures")

#: Counts the tries of a test in a file; each way of running them has its own.
TRIES = """
    import os
    from pathlib import Path

    def tries(name, config):
        way = "isolated" if config.getoption("nsisolate") else "plain"
        file = Path(__file__).with_name(f"{name}.{way}")
        with file.open("a") as stream:
            stream.write(".")
        return file.stat().st_size
"""

TESTS = """
    import pytest
    from tries import tries

    @pytest.fixture(scope="module")
    def wide():
        print("wide set up")
        yield
        print("wide torn down")

    @pytest.fixture(scope="class")
    def middle(wide):
        print("middle set up")
        yield
        print("middle torn down")

    @pytest.fixture
    def narrow(middle):
        print("set up")
        yield
        print("torn down")

    def test_third_time(narrow, request):
        number = tries("third", request.config)
        print("try", number)
        assert number == 3

    class TestClass:
        def test_fresh_instance(self, middle, request):
            assert not hasattr(self, "seen")
            self.seen = True
            assert tries("instance", request.config) == 2

        def test_after(self, middle): pass

    @pytest.fixture
    def bad_setup(wide, request):
        if tries("setup", request.config) < 3:
            raise ValueError("in setup")

    def test_setup(bad_setup): pass

    @pytest.fixture
    def bad_teardown(wide, request):
        yield
        if tries("teardown", request.config) < 2:
            raise ValueError("in teardown")

    def test_teardown(bad_teardown): pass

    @pytest.mark.flaky(reruns=1, reruns_delay=0.1)
    def test_never(narrow): assert 0

    @pytest.mark.flaky(reruns=2, only_rerun="ValueError")
    def test_only(): raise KeyError(1)

    @pytest.mark.flaky(reruns=1, only_rerun="KeyError")
    def test_only_this(): raise KeyError(1)

    @pytest.mark.flaky(reruns=2, rerun_except=["AssertionError"])
    def test_except(): assert False

    @pytest.mark.flaky(reruns=2, condition="False")
    def test_condition(): assert 0

    @pytest.mark.flaky(reruns=1, condition=lambda error: error.args == (1,))
    def test_condition_of_error(): raise KeyError(1)

    def test_skips(): pytest.skip("for a reason")

    @pytest.mark.xfail
    def test_xfails(): assert 0
"""


@pytest.fixture
def rerun(pytester: pytest.Pytester, with_plugins: WithPlugins) -> WithPlugins:
    """
    Return `with_plugins` for tests that count their tries.
    """
    pytester.makepyfile(tries=TRIES)
    pytester.syspathinsert()
    return with_plugins


@pytest.mark.parametrize(
    "arguments",
    [
        ("--reruns=2", "-rA"),
        ("--reruns=2", "-v", "-rR", "-x"),
        ("--reruns=1", "--rerun-show-tracebacks", "--only-rerun=in setup"),
        ("--reruns=3", "--max-suite-reruns=3", "-v"),
        ("--force-reruns=1", "--reruns-delay=0.1"),
    ],
    ids=["all", "-x", "tracebacks", "most", "force"],
)
def test_reruns(
    arguments: tuple[str, ...], pytester: pytest.Pytester, rerun: WithPlugins
) -> None:
    """
    A test is rerun and shown as often as without isolation.
    """
    pytester.makepyfile(TESTS)
    run = rerun("rerunfailures")(*arguments)
    assert " rerun in " in run.stdout


def test_wide_fixture(pytester: pytest.Pytester, rerun: WithPlugins) -> None:
    """
    A test whose wide fixture fails is rerun with a new one.
    """
    pytester.makepyfile(
        """
        import pytest
        from tries import tries

        @pytest.fixture(scope="session")
        def widest():
            print("widest set up")
            yield
            print("widest torn down")

        @pytest.fixture(scope="module")
        def wide(widest, request):
            print("wide set up")
            number = tries("wide", request.config)
            if number < 3:
                raise ValueError("in setup")
            yield number
            print("wide torn down")

        @pytest.mark.flaky(reruns=1)
        def test_too_few(wide): pass

        @pytest.mark.flaky(reruns=1)
        def test_enough(wide): assert wide == 3

        def test_after(wide): assert wide == 3
        """
    )
    run = rerun("rerunfailures")("-rA")
    run.result.assert_outcomes(passed=2, errors=1)


def test_fail_on_flaky(pytester: pytest.Pytester, rerun: WithPlugins) -> None:
    """
    A session whose tests all passed in the end may still fail with its own exit code.
    """
    pytester.makepyfile(
        """
        from tries import tries
        def test_one(request): assert tries("one", request.config) == 2
        """
    )
    run = rerun("rerunfailures")("--reruns=1", "--fail-on-flaky")
    assert run.result.ret == 7


def test_subtests(pytester: pytest.Pytester, rerun: WithPlugins) -> None:
    """
    A failed subtest of an earlier try does not count.
    """
    pytester.makepyfile(
        """
        import unittest
        from tries import tries

        def test_subtests(subtests, request):
            number = tries("subtests", request.config)
            for one in range(3):
                with subtests.test(one=one):
                    assert one != 1 or number == 2
        """
    )
    run = rerun("rerunfailures")("--reruns=1", "-rA")
    assert "1 passed, 1 rerun" in run.stdout
    assert run.result.ret == 0


def test_crash(pytester: pytest.Pytester) -> None:
    """
    A test that has crashed is rerun too.

    Without isolation, no process is left to do so.
    """
    pytester.makepyfile(tries=TRIES)
    pytester.makepyfile(
        """
        import os
        import signal
        from tries import tries

        def test_killed(request):
            if tries("killed", request.config) < 3:
                os.kill(os.getpid(), signal.SIGKILL)

        def test_always(): os._exit(0)
        def test_next(): pass
        """
    )
    arguments = ["-p", "nsisolate", "-p", "rerunfailures", "--nsisolate", "--reruns=2"]
    run = run_once(pytester, arguments, apart=True)
    run.result.assert_outcomes(passed=2, failed=1)
    assert "4 rerun" in run.stdout


def test_sandbox(pytester: pytest.Pytester) -> None:
    """
    Each try has a sandbox of its own.
    """
    pytester.makepyfile(
        """
        import os
        def test_one():
            print("in", os.readlink("/proc/self/ns/ipc"))
            open("/dev/shm/left", "x").close()
            assert 0
        """
    )
    arguments = ["-p", "nsisolate", "-p", "rerunfailures", "--nsisolate", "--reruns=1"]
    arguments.append("--nsisolate-leaks=ignore")
    run = run_once(pytester, arguments, apart=True)
    assert "1 failed, 1 rerun" in run.stdout
    assert "FileExistsError" not in run.stdout


def test_refused_again(pytester: pytest.Pytester) -> None:
    """
    A test that is refused in each of its runs is counted once, and has the reason.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated(net=True)
        def test_one(): pass
        """
    )
    named = ["-p", "nsisolate", "-p", "rerunfailures", "--reruns=2"]
    command = [*WITHOUT_NET, sys.executable, "-m", "pytest", *named]
    result = pytester.run(*command, timeout=60)
    result.assert_outcomes(errors=1)
    before, summary = result.stdout.str().split(" tests that could not be isolated ")
    assert before.count("\nwhy: ") == 1
    assert "why and fix: see" not in before
    assert "\ncannot isolate 1 test: " in summary


@pytest.mark.parametrize("jobs", [1, 2])
def test_time_line(pytester: pytest.Pytester, jobs: int) -> None:
    """
    The time line has each try of a test.
    """
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.isolated

        @pytest.mark.flaky(reruns=2)
        def test_fails(): assert False

        def test_passes(): pass
        """
    )
    options = [f"--nsisolate-jobs={jobs}", "--nsisolate-timeline=line.html"]
    plugins = ["-p", "nsisolate", "-p", "rerunfailures"]
    result = pytester.runpytest_subprocess(*plugins, *options)
    assert "1 failed, 1 passed, 2 rerun" in result.stdout.str()
    tests = Page(pytester.path / "line.html").tests
    tries = [one.outcome for one in tests if one.text.endswith("test_fails")]
    assert tries == ["rerun", "rerun", "failed"]
    assert [one.outcome for one in tests].count("passed") == 1
