"""
Terminals of pytest-sugar and pytest-rich, which redraw pytest's.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

_TESTS = """
    import warnings
    import pytest

    @pytest.fixture(scope="module")
    def borrowed():
        print("borrowed set up")
        yield
        print("borrowed torn down")

    def test_pass(borrowed):
        print("printed")

    def test_fail(borrowed):
        print("printed")
        assert [1, 2] == [1, 3]

    @pytest.mark.skip(reason="a reason")
    def test_skip(): pass

    @pytest.mark.xfail(reason="another")
    def test_xfail(): assert 0

    @pytest.mark.xfail
    def test_xpass(): pass

    @pytest.fixture
    def breaks():
        yield
        raise ValueError

    def test_breaks(breaks): pass

    def test_warns():
        warnings.warn("a warning")

    def test_subtests(subtests):
        for number in range(2):
            with subtests.test(number=number): assert number

    @pytest.mark.parametrize("letter", "ab")
    def test_parametrized(letter): pass
"""


@pytest.mark.about("pytest-sugar")
@pytest.mark.parametrize(
    "arguments",
    [[], ["--force-sugar"], ["--force-sugar", "-v", "-x"]],
)
def test_sugar(
    pytester: pytest.Pytester, with_plugins: WithPlugins, arguments: list[str]
) -> None:
    """
    pytest-sugar draws the same.
    """
    pytester.makepyfile(_TESTS)
    run = with_plugins("pytest_sugar")(*arguments)
    assert ("call", "failed") in run.outcomes
    assert ("Results" in run.stdout) is bool(arguments)


@pytest.mark.about("pytest-rich")
@pytest.mark.parametrize("arguments", [["--rich"], ["--rich", "-v"]])
def test_rich(
    pytester: pytest.Pytester, with_plugins: WithPlugins, arguments: list[str]
) -> None:
    """
    pytest-rich draws the same.
    """
    pytester.makepyfile(_TESTS)
    run = with_plugins("pytest_rich.plugin")(*arguments)
    assert ("call", "failed") in run.outcomes
