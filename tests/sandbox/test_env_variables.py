"""
Environment variables that the marker sets, unsets and clears.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

RunPytest = Callable[..., pytest.RunResult]

SUITE = """
import ctypes
import os
import subprocess

import pytest

isolated = pytest.mark.isolated
KEPT = {"PYTEST_CURRENT_TEST", "PYTEST_VERSION"}

getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p

def in_a_program():
    shown = subprocess.run(["/usr/bin/env", "-0"], capture_output=True, check=True)
    return dict(one.split("=", 1) for one in shown.stdout.decode().split("\\0")[:-1])

@pytest.fixture(scope="session")
def borrowed():
    assert os.environ["OUTSIDE"] == "yes" and "NEW" not in os.environ
    yield
    assert os.environ["OUTSIDE"] == "yes" and "NEW" not in os.environ

@pytest.fixture
def owned(borrowed):
    assert os.environ["NEW"] == "1"
    yield
    assert os.environ["NEW"] == "1"

@isolated(env={"NEW": "1", "OUTSIDE": None, "NEVER_THERE": None, "EMPTY": ""})
def test_set_and_unset(owned):
    for seen in (os.environ, in_a_program()):
        assert (seen["NEW"], seen["EMPTY"]) == ("1", "")
        assert "OUTSIDE" not in seen and "HOME" in seen
    assert (getenv(b"NEW"), getenv(b"OUTSIDE")) == (b"1", None)

@isolated(clear_env=True, env={"NEW": "1"})
class TestClear:
    def test_nothing_else(self, owned, tmp_path, monkeypatch):
        here = {"NEW": "1", "PYTEST_CURRENT_TEST": os.environ["PYTEST_CURRENT_TEST"]}
        here |= {name: os.environ[name] for name in KEPT & set(os.environ)}
        assert dict(os.environ) == in_a_program() == here
        assert here["PYTEST_CURRENT_TEST"].endswith("::test_nothing_else (call)")
        assert getenv(b"HOME") is None
        monkeypatch.setenv("MORE", "2")

    @isolated(env={"OTHER": "2"})
    def test_closest_wins_as_a_whole(self):
        assert set(os.environ) - KEPT == {"OTHER"}

    @isolated(clear_env=False, env={})
    def test_none(self, borrowed):
        assert os.environ["OUTSIDE"] == "yes" and "NEW" not in os.environ

@isolated(clear_env=True)
def test_bare():
    assert set(os.environ) <= KEPT

def test_host(borrowed):
    assert "NEW" not in os.environ
"""


def test_variables(
    pytester: pytest.Pytester,
    run_both_ways: RunPytest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The test, its own fixtures and its programs see its variables, and no one else does.
    """
    monkeypatch.setenv("OUTSIDE", "yes")
    monkeypatch.setenv("HOME", str(pytester.path))
    pytester.makepyfile(SUITE)
    run_both_ways("-Werror").assert_outcomes(passed=6)


def test_not_on_the_host(pytester: pytest.Pytester) -> None:
    """
    Without isolation the environment is that of pytest.
    """
    pytester.makepyfile(
        """
        import os, pytest

        @pytest.mark.isolated(clear_env=True, env={"NEW": "1"})
        def test_it():
            assert "NEW" not in os.environ and "PATH" in os.environ
        """
    )
    pytester.runpytest_subprocess("--no-nsisolate").assert_outcomes(passed=1)
