"""
The cache of pytest, which carries results from one test or session to the next.
"""

from __future__ import annotations

import pytest
from sources import CACHE_OPTIONS, SOME_FAIL
from twins import TwinSessions


@pytest.mark.parametrize(("first", "second"), CACHE_OPTIONS, ids=str)
def test_two_sessions(
    pytester: pytest.Pytester,
    twin_sessions: TwinSessions,
    first: list[str],
    second: list[str],
) -> None:
    """
    A second session selects and orders tests by the results of the first.
    """
    pytester.makepyfile(test_some=SOME_FAIL, test_other="def test_other(): pass")
    twin_sessions(first, second)


@pytest.mark.one_job
def test_stepwise(pytester: pytest.Pytester, twin_sessions: TwinSessions) -> None:
    """
    With ``--sw`` each session resumes where the one before stopped.
    """
    pytester.makepyfile(
        """
        from pathlib import Path
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_one(number, pytestconfig):
            mark = Path(f"{pytestconfig.cache._cachedir}-{number}")
            if not mark.exists():
                mark.touch()
                assert number % 2 == 0
        """
    )
    runs = twin_sessions(*(["--sw"] for _ in range(4)))
    failed = [run.outcomes.count(("call", "failed")) for run in runs]
    assert failed == [1, 1, 0, 0]


# The second test looks for what the first one has stored.
@pytest.mark.one_job
def test_cache_of_a_test(
    pytester: pytest.Pytester, twin_sessions: TwinSessions
) -> None:
    """
    What a test stores in the cache is there for the next test and session.
    """
    pytester.makepyfile(
        """
        def test_first(cache):
            seen = cache.get("my/value", [])
            cache.set("my/value", [*seen, "first"])
            (cache.mkdir("things") / "one").touch()

        def test_second(request):
            cache = request.config.cache
            seen = cache.get("my/value", [])
            assert seen[-1] == "first"
            assert (cache.mkdir("things") / "one").exists()
            cache.set("my/value", [*seen, "second"])
            print("seen", seen)
            assert 0
        """
    )
    _, second, shown = twin_sessions([], [], ["--cache-show", "my/*"])
    assert "seen ['first', 'second', 'first']" in second.stdout
    assert "['first', 'second', 'first', 'second']" in shown.stdout
