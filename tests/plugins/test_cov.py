"""
Measurements of coverage.py and pytest-cov in every configuration.
"""

from __future__ import annotations

import pytest
from measuring import COV, configure, make_library, measured, same
from twins import run_once

pytestmark = [pytest.mark.about("pytest-cov"), pytest.mark.about("coverage")]


@pytest.fixture(autouse=True)
def _library(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Make something to measure.
    """
    make_library(pytester, monkeypatch)


_TESTS = """
    import subprocess
    import sys
    import lib
    import pytest

    def test_pass(owned):
        assert lib.branches(2) == 2

    def test_borrowed(borrowed, owned):
        assert lib.branches(-1) == 2

    @pytest.mark.parametrize("number", [0, 1])
    def test_parametrized(number):
        lib.branches(number)

    def test_thread():
        lib.in_thread()

    def test_fail():
        assert lib.branches(3) == 0

    @pytest.mark.skip
    def test_skip():
        lib.never()

    def test_process():
        subprocess.run([sys.executable, lib.__file__], check=True)
"""


@pytest.mark.parametrize("core", ["ctrace", "sysmon", "pytrace"])
def test_lines(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, core: str
) -> None:
    """
    With each of its cores, coverage.py records the same lines.
    """
    monkeypatch.setenv("COVERAGE_CORE", core)
    pytester.makepyfile(_TESTS)
    found = same(pytester, *COV)
    assert found["files"] == 1
    assert {4, 5, 7, 8, 9, 10, 13, 14, 15} <= found["lib.py  lines"]


@pytest.mark.parametrize("core", ["ctrace", "pytrace"])
def test_branches_by_test(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, core: str
) -> None:
    """
    The same tests, in the same phases, take the same branches.
    """
    monkeypatch.setenv("COVERAGE_CORE", core)
    pytester.makepyfile(test_it=_TESTS)
    found = same(pytester, *COV, "--cov-branch", "--cov-context=test")
    assert found["files"] == 1
    assert (4, 7) in found["lib.py test_it.py::test_borrowed|run arcs"]
    assert "lib.py test_it.py::test_pass|teardown arcs" in found


@pytest.mark.parametrize(
    "lines",
    [
        ["branch = true"],
        ["dynamic_context = test_function", "branch = true"],
        ["context = static", "relative_files = true"],
        ["parallel = true", "patch = subprocess"],
    ],
)
def test_coverage_run(pytester: pytest.Pytester, lines: list[str]) -> None:
    """
    ``coverage run -m pytest`` measures the same, however it is configured.
    """
    pytester.makepyfile(test_it=_TESTS)
    configure(pytester, *lines)
    found = same(pytester, "coverage")
    assert found["files"] == (2 if "patch = subprocess" in lines else 1)


def test_processes(pytester: pytest.Pytester) -> None:
    """
    pytest-cov measures the processes that a test starts, also by context.
    """
    pytester.makepyfile(test_it=_TESTS)
    configure(pytester, "patch = subprocess")
    found = same(pytester, *COV, "--cov-context=test")
    assert found["files"] == 1
    seen: set[int] = set().union(*[found[one] for one in found if "lib.py" in one])
    library = pytester.path.joinpath("lib.py").read_text().splitlines()
    assert library.index("    return 7") + 1 in seen


def test_no_cover(pytester: pytest.Pytester) -> None:
    """
    The marker and the fixture `no_cover` exclude the test and nothing after it.
    """
    pytester.makepyfile(
        """
        import lib
        import pytest

        @pytest.mark.no_cover
        def test_marked(): lib.never()

        def test_fixture(no_cover): lib.in_fork()

        def test_after(): lib.branches(1)
        """
    )
    same(pytester, *COV, "--cov-branch")


def test_append(pytester: pytest.Pytester) -> None:
    """
    A second run adds to the data of the first.
    """
    pytester.makepyfile(
        test_one="""
        import lib
        def test_one(): lib.branches(1)
        """,
        test_two="""
        import lib
        def test_two(): lib.in_fork()
        """,
    )
    found = {}
    for switch in ("--nsisolate", "--no-nsisolate"):
        arguments = ["-p", "nsisolate", *COV, switch]
        run_once(pytester, [*arguments, "test_one.py"], apart=True)
        run_once(pytester, [*arguments, "--cov-append", "test_two.py"], apart=True)
        found[switch] = measured(pytester)
    assert found["--nsisolate"] == found["--no-nsisolate"]
    assert len(found["--nsisolate"]["lib.py  lines"]) > 15


@pytest.mark.parametrize("options", [(), ("--nsisolate-jobs=4",)], ids=["", "jobs"])
def test_xdist(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    """
    With pytest-xdist, the total is the same.
    """
    pytester.makepyfile(_TESTS)
    found = same(pytester, "-p", "xdist", "-n2", *options, *COV, "--cov-branch")
    assert found["files"] == 1


def test_shared(pytester: pytest.Pytester) -> None:
    """
    Tests that share a guest are measured the same.
    """
    pytester.makepyfile(_TESTS)
    found = same(pytester, "--nsisolate-scope=module", *COV, "--cov-branch")
    assert found["files"] == 1


def test_report(pytester: pytest.Pytester) -> None:
    """
    The table is the same, and so is the limit below which the run fails.
    """
    pytester.makepyfile(_TESTS)
    shown = []
    for switch in ("--nsisolate", "--no-nsisolate"):
        run = run_once(
            pytester,
            [
                *["-p", "nsisolate", *COV, switch, "--cov-branch"],
                *["--cov-report=term-missing", "--cov-fail-under=99"],
            ],
            apart=True,
        )
        lines = [line for line in run.stdout.splitlines() if "%" in line]
        shown.append([line for line in lines if "[" not in line])
        assert "total of" in run.stdout
    assert shown[0] == shown[1]
