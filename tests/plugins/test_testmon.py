"""
pytest-testmon: the tests that it chooses after a change.
"""

from __future__ import annotations

import re

import pytest
from ways import RunPytest

pytestmark = pytest.mark.about("pytest-testmon")

_MODULE = """
def one():
    return 1

def two():
    return 2

def three():
    return 3
"""

_TESTS = """
    import mod
    import pytest

    @pytest.fixture(scope="module")
    def borrowed():
        return mod.three()

    @pytest.fixture
    def owned():
        yield mod.two()

    def test_one(): assert mod.one() == 1

    def test_owned(owned): assert owned

    def test_borrowed(borrowed): assert borrowed

    def test_both(owned): assert owned and mod.one()

    def test_fails(): assert mod.one() == (1, {2})

    @pytest.mark.skip(reason="a reason")
    def test_skip(): pass

    def test_none(): pass
"""


def test_choice(
    pytester: pytest.Pytester,
    run_both_ways: RunPytest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    After each change it chooses the same tests as in a plain run.
    """
    pytester.makepyfile(_TESTS)
    told: list[list[list[str]]] = []
    for way in ("--no-nsisolate", "--nsisolate"):
        monkeypatch.setenv("TESTMON_DATAFILE", f"{pytester.path}/data{way}")
        told.append([])
        changes = ["", "return 1", "return 2", "return 3"]
        source = _MODULE
        for number, change in enumerate(changes):
            if change:
                source = source.replace(change, f"{change} + 0")
            (pytester.path / "mod.py").write_text(source)
            result = run_both_ways(
                *("-p", "nsisolate", "-p", "testmon.pytest_testmon", "--testmon", way),
                *("-v", "-p", "cacheprovider"),
            )
            text = result.stdout.str()
            assert "INTERNALERROR" not in text, (way, number, text)
            # It orders them by the time that they took.
            chosen = re.findall(r"^\S+::\S+ \w+|testmon: .*", text, re.MULTILINE)
            told[-1].append(sorted(chosen))
    plain, isolated = told
    assert [len(chosen) for chosen in plain] == [7 + 1, 3 + 1, 3 + 1, 2 + 1]
    assert isolated == plain
