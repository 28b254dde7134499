"""
Limits that cannot be set: an error of their test, and ignored on the host.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

RunPytest = Callable[..., pytest.RunResult]

HEAD = """
import resource
from pathlib import Path
import pytest

isolated = pytest.mark.isolated
"""

REFUSED = f"""{HEAD}
@pytest.fixture
def inside():
    Path("ran").touch()

@isolated(memory="1K")
def test_memory(inside): pass

@isolated(nofile=1)
def test_nofile(inside): pass

@isolated(nofile=2**40)
@pytest.mark.xfail
def test_hard(inside): pass

def test_host(): pass
"""


def test_limit_that_cannot_be(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    A limit that pytest itself exceeds, or that the hard limit forbids, is an error.
    """
    pytester.makepyfile(REFUSED)
    result = run_both_ways()
    result.assert_outcomes(errors=3, passed=1)
    fork = "why: the guest is a fork of pytest"
    status = r"\(VmData in /proc/self/status\)"
    wanted = 2**40
    result.stdout.re_match_lines(
        [
            "cannot isolate test_memory: memory=1K of the marker is not enough",
            rf"{fork} and already uses \d+ MiB {status}",
            r'fix: write memory="\d+M" or more',
            "_+ ERROR .*",
            "cannot isolate test_nofile: nofile=1 of the marker is not enough",
            rf"{fork}, and its lowest free descriptor is \d+",
            r"fix: write nofile=\d+ or more",
            "_+ ERROR .*",
            f"cannot isolate test_hard: nofile={wanted} of the marker cannot be set",
            rf"why: RLIMIT_NOFILE would be {wanted}, above its hard limit of \d+",
            (
                f"fix: write a lower limit, or run ulimit -n {wanted} as root before "
                "pytest"
            ),
        ]
    )
    assert not (pytester.path / "ran").exists()


def test_refusal_follows_the_policy(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    With the policy "skip", tests whose limits are refused are skipped.
    """
    pytester.makepyfile(REFUSED)
    run_both_ways("--nsisolate-unavailable=skip").assert_outcomes(skipped=3, passed=1)


def test_not_on_the_host(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Without isolation limits do not apply, so a test on the host has none.
    """
    pytester.makepyfile(
        f"""{HEAD}
before = resource.getrlimit(resource.RLIMIT_NOFILE)

@isolated(nofile=64)
def test_it():
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
"""
    )
    run_both_ways("--no-nsisolate").assert_outcomes(passed=1)
