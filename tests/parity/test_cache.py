"""
The cache of pytest, which carries results from one test or session to the next.
"""

from __future__ import annotations

import pytest
from twins import TwinSessions

#: Tests of which some fail, in all phases.
SOME_FAIL = """
    import pytest

    def test_one(): pass

    def test_two(): assert 0

    def test_three(): pass

    @pytest.fixture
    def broken(): raise KeyError

    @pytest.fixture
    def breaks_later():
        yield
        raise KeyError

    def test_four(broken): pass

    def test_five(breaks_later): pass

    @pytest.mark.xfail(strict=True)
    def test_six(): pass

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_seven(number): assert number != 2

    class TestIt:
        def test_eight(self): assert 0
        def test_nine(self): pass
"""

#: The options of a session, and those of the next one, which depends on it.
OPTIONS = [
    (["--maxfail=4"], ["--lf", "-v"]),
    (["-q"], ["--ff", "-v"]),
    (["--sw", "--sw-skip"], ["--sw", "--sw-skip"]),
    (["-x"], ["--nf", "-v"]),
]


@pytest.mark.parametrize(("first", "second"), OPTIONS, ids=str)
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
