"""
The warning about a value of no builtin type, which arrives as text.
"""

from __future__ import annotations

import pytest
from ways import RunPytest

CONFTEST = """
import pytest

class Mine:
    def __repr__(self):
        return "my repr"

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        report.mine = {"deep": [(Mine(), {1: print})]}
    return report

def pytest_nsisolate_collect(item, report, payload):
    if report is None:
        payload["my-plugin"] = [Mine()]

def pytest_runtest_logreport(report):
    if report.when == "call":
        assert str(report.mine["deep"][0][0]) == "my repr"
"""

TESTS = """
import pytest
import conftest

def test_one(record_property):
    record_property("name", conftest.Mine())

def test_two(record_property):
    record_property("name", conftest.Mine())
"""

TOLD = [
    ("report.user_properties", "conftest.Mine"),
    ("report.mine", "conftest.Mine"),
    ("report.mine", "builtin_function_or_method"),
    ("the payload my-plugin", "conftest.Mine"),
]


def test_once(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Each place and type is named once in a session, in three lines.
    """
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    result = run_both_ways("--nsisolate")
    result.assert_outcomes(passed=2, warnings=4)
    text = result.stdout.str()
    for place, kind in TOLD:
        assert (
            f"ReprWarning: {place} of test_one has text in place of a value\n"
            f"  why: a value of type {kind} comes from an isolated test as its repr; "
            "those of builtin types come as they are\n"
            "  fix: set it to None, bool, int, float, complex, str, bytes, list, "
            "tuple, set or dict\n"
        ) in text
    assert "of test_two has text" not in text


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["-W", "error"], 4),
        (["-W", "ignore::pytest_nsisolate.ReprWarning"], 0),
    ],
    ids=["error", "ignore"],
)
def test_filters(
    pytester: pytest.Pytester,
    run_both_ways: RunPytest,
    arguments: list[str],
    shown: int,
) -> None:
    """
    A filter can silence the warning, and none makes an error of it.
    """
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    result = run_both_ways("--nsisolate", *arguments)
    result.assert_outcomes(passed=2, warnings=shown)


def test_nothing_to_say(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Builtin values and those of subclasses of their types give no warning.
    """
    pytester.makepyfile(
        """
        import collections
        import enum
        import pytest

        class Number(enum.IntEnum):
            ONE = 1

        def test_one(record_property):
            record_property("a", {1: (Number.ONE, b"x")})
            record_property("b", collections.OrderedDict(x={1}))

        def test_fails():
            assert {1: "a"} == {1: "b"}

        def test_skips():
            pytest.skip("why")
        """
    )
    result = run_both_ways("--nsisolate")
    result.assert_outcomes(passed=1, failed=1, skipped=1)
