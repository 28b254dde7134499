"""
Flavours, by which each test runs on the host and isolated.
"""

from __future__ import annotations

import pytest
from ways import RunPytest

KINDS = """
import os
import socket
import unittest
import pytest

HOST = os.getpid()

def where(request):
    flavour = "host" if os.getpid() == HOST else "isolated"
    assert f"{flavour}]" in request.node.nodeid
    return flavour

def test_on_host(): pass

@pytest.mark.isolated(hostname="t1")
def test_function(request):
    assert (socket.gethostname() == "t1") is (where(request) == "isolated")

@pytest.mark.isolated
@pytest.mark.parametrize("a", [1, 2])
def test_param(a, request): where(request)

def test_fixture(isolation, request):
    assert bool(isolation.namespaces) is (where(request) == "isolated")

@pytest.mark.isolated
class TestClass:
    counted = 0

    def test_instance(self, request):
        self.counted += 1
        assert self.counted == 1
        where(request)

@pytest.mark.isolated
class TestCase(unittest.TestCase):
    counted = 0

    def test_method(self):
        self.counted += 1
        assert self.counted == 1
        assert self._testMethodName == "test_method"

@pytest.mark.isolated(hostnam="bad")
def test_bad(): pass
"""

NAMES = [
    "test_on_host",
    "test_function[host]",
    "test_function[isolated]",
    "test_param[1-host]",
    "test_param[1-isolated]",
    "test_param[2-host]",
    "test_param[2-isolated]",
    "test_fixture[host]",
    "test_fixture[isolated]",
    "TestClass::test_instance[host]",
    "TestClass::test_instance[isolated]",
    "TestCase::test_method[host]",
    "TestCase::test_method[isolated]",
    "test_bad",
]

BOTH = "--nsisolate-flavours=host,isolated"


def names_in(result: pytest.RunResult) -> list[str]:
    """
    Return the names of the tests that *result* lists, without the file name.
    """
    return [
        line.partition("::")[2].partition(" ")[0]
        for line in result.outlines
        if line.startswith("test_kinds.py::")
    ]


def test_both(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Each test that asks for isolation runs once on the host and once isolated.
    """
    pytester.makepyfile(test_kinds=KINDS)

    result = run_both_ways("-v", BOTH)

    result.assert_outcomes(passed=len(NAMES) - 1, errors=1)
    assert names_in(result) == NAMES


def test_one(pytester: pytest.Pytester) -> None:
    """
    A single flavour has its suffix too, and unmarked tests have none.
    """
    pytester.makepyfile(test_kinds=KINDS)

    result = pytester.runpytest_subprocess(
        "-v", "-o", "nsisolate_flavours=host", timeout=60
    )

    result.assert_outcomes(passed=7, errors=1)
    assert names_in(result) == [name for name in NAMES if "isolated]" not in name]


CHOSEN = [
    (["-k", "isolated]"], [one for one in NAMES if "isolated]" in one]),
    (["test_kinds.py::test_function[host]"], ["test_function[host]"]),
    (["test_kinds.py::test_param"], [one for one in NAMES if "param" in one]),
    (["test_kinds.py::TestCase::test_method", "-k", "host"], [NAMES[11]]),
]


@pytest.mark.parametrize(("arguments", "names"), CHOSEN)
def test_chosen(
    pytester: pytest.Pytester, arguments: list[str], names: list[str]
) -> None:
    """
    Flavours are selected with ``-k`` and by id, as parameters are.
    """
    pytester.makepyfile(test_kinds=KINDS)

    result = pytester.runpytest_subprocess(
        "--collect-only", "-q", BOTH, *arguments, timeout=60
    )

    assert names_in(result) == names


def test_every_kind_of_item(pytester: pytest.Pytester) -> None:
    """
    Doctests and unmarked tests have flavours where every test is isolated.
    """
    pytester.makepyfile(
        test_doc='''
        """
        >>> name = 1
        >>> name
        1
        """
        import os

        HOST = os.getpid()

        def test_fails_isolated(): assert os.getpid() == HOST
        '''
    )
    arguments = ("--nsisolate", BOTH, "--doctest-modules", "-v")
    result = pytester.runpytest_subprocess(*arguments, timeout=60)
    again = pytester.runpytest_subprocess(*arguments, "--lf", timeout=60)

    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["*::test_doc[[]host[]] PASSED*", "*::test_doc[[]isolated[]] PASSED*"]
    )
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*::test_fails_isolated[[]isolated[]] FAILED*"])


def test_differences(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Tests that differ on the host and isolated are named as well.
    """
    pytester.makepyfile(
        test_host="""
        import os
        import pytest

        PID = os.getpid()

        @pytest.mark.isolated
        @pytest.mark.parametrize("where", ["host", "isolated"])
        def test_where(where): assert (os.getpid() == PID) is (where == "host")

        @pytest.mark.isolated
        def test_anywhere(): pass

        @pytest.mark.parametrize("where", ["host", "isolated"])
        def test_no_flavour(where): assert where == "host"
        """
    )

    result = run_both_ways("--nsisolate-flavours=host,isolated", "--tb=no")

    result.stdout.fnmatch_lines(
        [
            "*= tests that differ between flavours =*",
            "test_host.py::test_where[[]host]: host passed, isolated failed",
            "test_host.py::test_where[[]isolated]: host failed, isolated passed",
            "2 of 3 tests differ",
            "*= short test summary info =*",
        ],
        consecutive=True,
    )


def test_crash(pytester: pytest.Pytester) -> None:
    """
    What to type for a test that crashed is right in a session without flavours.
    """
    pytester.makepyfile(
        test_dies="""
        import os
        import pytest

        @pytest.mark.isolated
        def test_it(): os.abort()
        """
    )

    result = pytester.runpytest_subprocess("--nsisolate-flavours=isolated")

    result.stdout.fnmatch_lines(
        [
            "test_it[[]isolated[]] did not finish: killed by SIGABRT *",
            "fix: * -m pytest --no-nsisolate test_dies.py::test_it",
        ]
    )


@pytest.mark.parametrize("value", ["both", "host,host", ",", "host;isolated"])
def test_wrong_flavour(pytester: pytest.Pytester, value: str) -> None:
    """
    An unknown flavour is refused in three lines.
    """
    result = pytester.runpytest(f"--nsisolate-flavours={value}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            f"ERROR: cannot use --nsisolate-flavours={value}",
            "why: the option --nsisolate-flavours takes host, isolated, alone and *",
            "fix: write --nsisolate-flavours=host,isolated on the command line",
        ]
    )


def test_flavours_without_isolation(pytester: pytest.Pytester) -> None:
    """
    With ``--no-nsisolate`` the option is refused and the ini option has no effect.
    """
    pytester.makepyfile(test_kinds=KINDS)

    refused = pytester.runpytest("--no-nsisolate", BOTH)
    result = pytester.runpytest_subprocess(
        "--no-nsisolate",
        "--collect-only",
        "-q",
        "-o",
        "nsisolate_flavours=host,isolated",
        timeout=60,
    )

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(
        [
            f"ERROR: cannot use {BOTH}",
            "why: --no-nsisolate is given too, and isolates no test",
            "fix: leave one of the two out",
        ]
    )
    assert len(names_in(result)) == 8
