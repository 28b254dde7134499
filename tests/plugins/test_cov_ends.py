"""
Measurements of coverage.py and pytest-cov when a process ends or a run is stopped.
"""

from __future__ import annotations

import pytest
from measuring import COV, configure, make_library, measure, same

pytestmark = [pytest.mark.about("pytest-cov"), pytest.mark.about("coverage")]


@pytest.fixture(autouse=True)
def _library(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Make something to measure.
    """
    make_library(pytester, monkeypatch)


@pytest.mark.parametrize("lines", [["parallel = true"], ["branch = true"]])
def test_patched_exit(pytester: pytest.Pytester, lines: list[str]) -> None:
    """
    With the patch of `os._exit`, the forks of a test are measured and no others.
    """
    pytester.makepyfile(
        """
        import multiprocessing
        import os
        import lib

        def test_fork():
            pid = os.fork()
            if not pid:
                lib.in_fork()
                os._exit(0)
            os.waitpid(pid, 0)

        def test_multiprocessing():
            context = multiprocessing.get_context("fork")
            process = context.Process(target=lib.branches, args=(1,))
            process.start()
            process.join()

        def test_pass():
            lib.branches(0)
        """
    )
    configure(pytester, "patch = _exit", *lines)
    found = same(pytester, "coverage")
    assert found["files"] == (3 if "parallel = true" in lines else 1)


def test_exit_of_test(pytester: pytest.Pytester) -> None:
    """
    With the patch of `os._exit`, everything a test ran before it exits is measured.
    """
    pytester.makepyfile(
        """
        import os
        import lib

        def test_exit():
            lib.before_the_end()
            os._exit(3)
        """
    )
    configure(pytester, "patch = _exit")
    found = measure(pytester, [*COV, "--nsisolate"])
    plain = measure(pytester, [*COV, "--no-nsisolate"])
    assert found["lib.py  lines"] >= plain["lib.py  lines"]


@pytest.mark.parametrize(
    "end",
    ["os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)", "ctypes.string_at(0)"],
)
def test_crash(pytester: pytest.Pytester, end: str) -> None:
    """
    A crash loses no data of other tests, nor of the crashed test's earlier phases.
    """
    pytester.makepyfile(
        test_it=f"""
        import ctypes
        import os
        import signal
        import lib

        def test_before():
            lib.branches(1)

        def test_crash(owned):
            {end}

        def test_after():
            lib.in_fork()
        """
    )
    found = measure(pytester, [*COV, "--nsisolate", "--cov-context=test"])
    assert found["files"] == 1
    for test, phase in (("before", "run"), ("crash", "setup"), ("after", "run")):
        assert found[f"lib.py test_it.py::test_{test}|{phase} lines"]


def test_own_coverage(pytester: pytest.Pytester) -> None:
    """
    A test may use coverage.py itself, and later tests are still measured.
    """
    pytester.makepyfile(
        """
        import coverage
        import lib

        def test_own(owned):
            inner = coverage.Coverage(data_file=None)
            inner.start()
            lib.in_fork()
            inner.stop()
            lib.branches(1)
        """
    )
    same(pytester, *COV)


@pytest.mark.parametrize("how", [COV, ["coverage"]])
@pytest.mark.parametrize("end", ["raise KeyboardInterrupt", "pytest.exit('bye')"])
def test_interrupted(pytester: pytest.Pytester, how: list[str], end: str) -> None:
    """
    An interrupted run leaves the same files as a plain one, with the same data.
    """
    pytester.makepyfile(
        f"""
        import lib
        import pytest

        def test_before():
            lib.branches(1)

        def test_end():
            lib.in_fork()
            {end}
        """
    )
    isolated = measure(pytester, [*how, "--nsisolate"])
    plain = measure(pytester, [*how, "--no-nsisolate"])
    assert isolated == plain
