"""
What is said of a guest that did not finish, and of two owners of one marker.
"""

from __future__ import annotations

import pytest
from twins import WITHOUT

from pytest_nsisolate import crash, reports
from pytest_nsisolate.ending import Exited, Killed
from pytest_nsisolate.test_run import TestRun


def test_crash(request: pytest.FixtureRequest) -> None:
    """
    What is said of a guest that did not finish names the end, the phase and a tool.
    """
    item = request.node
    run = TestRun(item)
    rerun = f"python -m pytest --no-nsisolate {item.nodeid}"
    run.last = reports.failed_report(item, "setup", ValueError())
    run.last.outcome = "passed"
    assert crash.explain(run, Killed(11)).split("\n") == [
        "test_crash did not finish: killed by SIGSEGV during call",
        "why: the wait status of its guest says signal 11",
        f"fix: gdb --args {rerun}",
    ]
    run.last = None
    assert crash.explain(run, Exited(0)).split("\n") == [
        "test_crash did not finish: exited with code 0 during setup",
        (
            "why: the wait status of its guest says exit code 0, and its report "
            "of setup never came"
        ),
        f"fix: strace -f -e trace=exit_group,execve {rerun}",
    ]


@pytest.mark.parametrize(
    ("mark", "refused"), [("isolated", True), ("nsisolated", False)]
)
def test_clash(pytester: pytest.Pytester, mark: str, refused: bool) -> None:
    """
    Where pytest-isolated is loaded too, its marker is refused in three lines.
    """
    # The plugin is known by the name of its module.
    pytester.makepyfile(pytest_isolated="")
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.{mark}
        def test_one(): pass
        """
    )
    pytester.syspathinsert()
    result = pytester.runpytest_inprocess(*WITHOUT, "-p", "pytest_isolated")
    if not refused:
        result.assert_outcomes(passed=1)
        return
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            (
                "ERROR: cannot start: pytest-isolated and pytest-nsisolate both own "
                "the marker isolated, which test_it.py::test_one has"
            ),
            (
                "why: pytest-isolated runs such a test without namespaces and ignores "
                "hostname="
            ),
            "fix: pytest -p no:isolated, or mark with @pytest.mark.nsisolated",
        ],
        consecutive=True,
    )
