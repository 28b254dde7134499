"""
Failures of every system call of the setup, and kills of every process at each.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from injection import Injection
from ways import WAYS


@pytest.fixture(params=list(WAYS))
def injection(request: pytest.FixtureRequest, tmp_path: Path) -> Injection:
    """
    Return an injection for each way into a sandbox.
    """
    return Injection(tmp_path, request.param)


def test_failing(injection: Injection) -> None:
    """
    Every call in a trace of a good run fails once per process; three lines say so.
    """
    found = {}
    for call, most in injection.calls().items():
        for when in range(1, most + 1):
            problem = injection.fail(call, when)
            if problem:
                found[call, when] = problem
    assert not found


def test_killed(injection: Injection) -> None:
    """
    If a process is killed at such a call, nothing is left, and three lines say so.
    """
    found = {}
    for call, most in injection.calls().items():
        for when in range(1, most + 1):
            problem = injection.kill(call, when)
            if problem:
                found[call, when] = problem
    assert not found


def _sweep(injection: Injection, option: str) -> None:
    """
    Raise the limit *option* from the lowest until all tests pass.
    """
    found, good = {}, 0
    for limit in itertools.count(1):
        prefix = ["prlimit", f"--{option}={limit}"]
        outcome = injection.behind(prefix)
        problem = injection.judge(outcome, prefix)
        if problem:
            found[limit] = problem
        good = good + 1 if outcome.code == 0 else 0
        if good == 3:
            break
    assert not found


def test_descriptors(injection: Injection) -> None:
    """
    With however few descriptors, no more fails than without the plugin.
    """
    _sweep(injection, "nofile")


def test_processes(injection: Injection) -> None:
    """
    With however few processes the user may have, the texts say so.
    """
    if os.geteuid() == 0:
        pytest.skip("the kernel puts no such limit on root")
    _sweep(injection, "nproc")
