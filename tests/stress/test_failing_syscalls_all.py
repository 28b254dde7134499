"""
Every system call of the setup made to fail, and every process killed at each.
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
    Give an injection for each way into a sandbox.
    """
    return Injection(tmp_path, request.param)


def test_failing(injection: Injection) -> None:
    """
    Every call that a trace of a good run shows fails once, as each process makes it.
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
    So with SIGKILL in place of an error.
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
    However few descriptors pytest may have, no more fails than without the plugin.
    """
    _sweep(injection, "nofile")


def test_processes(injection: Injection) -> None:
    """
    However few processes the user may have, it is said.
    """
    if os.geteuid() == 0:
        pytest.skip("the kernel puts no such limit on root")
    _sweep(injection, "nproc")
