"""
Annotations that GitHub shows at lines of a pull request.
"""

from __future__ import annotations

import os

import pytest

TESTS = """
import os
import pytest

@pytest.mark.isolated
def test_fails():
    value = 1
    assert value == 2

def test_passes(): pass

@pytest.mark.isolated(timeout=60)
def test_crashes():
    os.kill(os.getpid(), 11)

@pytest.mark.isolated(memory="1K")
def test_refused(): pass
"""


@pytest.mark.about("pytest-github-actions-annotate-failures")
def test_places(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A failure is annotated at its line, and a crash at the test, below the repository.
    """
    pytester.makepyfile(**{"part/test_it": TESTS})
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", os.getcwd())
    monkeypatch.chdir("part")
    result = pytester.runpytest_subprocess(
        "-p", "nsisolate", "-p", "pytest_github_actions_annotate_failures.plugin"
    )
    result.assert_outcomes(passed=1, failed=2, errors=1)
    told = [
        line.partition("::error ")[2].partition("%0A")[0]
        for line in [*result.outlines, *result.errlines]
        if "::error " in line
    ]
    assert told == [
        "file=part/test_it.py,line=7::test_fails",
        "file=part/test_it.py,line=11::test_crashes",
    ]
