"""
The three lines that describe a guest that did not finish.
"""

from __future__ import annotations

import pytest

from pytest_nsisolate.model.ending import Exited, Killed
from pytest_nsisolate.reporting import crash, report
from pytest_nsisolate.reporting.test_run import TestRun


def test_crash(request: pytest.FixtureRequest) -> None:
    """
    The lines name the ending, the phase and a tool that helps.
    """
    item = request.node
    run = TestRun(item)
    rerun = f"python -m pytest --no-nsisolate {item.nodeid}"
    run.last = report.failed_report(item, "setup", ValueError())
    run.last.outcome = "passed"
    assert crash.explain_end(run, Killed(11)).split("\n") == [
        "test_crash did not finish: killed by SIGSEGV during call",
        "why: the wait status of its guest says signal 11",
        f"fix: gdb --args {rerun}",
    ]
    assert crash.explain_end(run, Killed(15)).split("\n")[1:] == [
        "why: the wait status of its guest says signal 15",
        (
            "fix: see who sends it: strace -f -e "
            f"trace=kill,tkill,tgkill,pidfd_send_signal {rerun}"
        ),
    ]
    run.last = None
    assert crash.explain_end(run, Exited(0)).split("\n") == [
        "test_crash did not finish: exited with code 0 during setup",
        (
            "why: the wait status of its guest says exit code 0, and its report "
            "of setup never came"
        ),
        f"fix: strace -f -e trace=exit_group,execve {rerun}",
    ]
