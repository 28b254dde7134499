"""
Odd data from a test, which must not change its outcome or hang the session.
"""

from __future__ import annotations

import pytest
from twins import WITHOUT, Twins, reports_of, run_once


@pytest.mark.faults
def test_much_output(pytester: pytest.Pytester) -> None:
    """
    100 MB of output arrive, as a section of the report.
    """
    pytester.makepyfile(
        """
        def test_much():
            for _ in range(100):
                print("x" * 999_999)

        def test_next():
            pass
        """
    )
    result = pytester.runpytest_subprocess("--nsisolate", *WITHOUT, timeout=90)
    result.assert_outcomes(passed=2)


def test_much_output_is_complete(pytester: pytest.Pytester) -> None:
    """
    No byte of what a failing test prints is lost.
    """
    pytester.makepyfile(
        """
        def test_much():
            for number in range(20):
                print("x" * 999_990, number)
            assert 0
        """
    )
    run = run_once(pytester, ["--nsisolate", "--show-capture=no"])
    assert run.outcomes[1] == ("call", "failed")
    out = run.reports[1]["stdout"]
    assert out.splitlines() == [f"{'x' * 999_990} {number}" for number in range(20)]


def test_output_that_is_no_text(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Invalid UTF-8, NUL and lone surrogates are shown as without isolation.
    """
    pytester.makepyfile(
        r"""
        import os, sys

        def test_bytes():
            os.write(1, bytes(range(256)) * 3)
            os.write(2, b"\xff\xfe\x00")
            assert 0

        def test_escapes():
            print("\x1b[31mred\x1b[0m \x07 \x00 \r\n")
            assert 0

        def test_in_the_error():
            raise ValueError("\x00 \x1b[31m \x7f")
        """
    )
    twins("-rA")


def test_lone_surrogates(pytester: pytest.Pytester) -> None:
    """
    Lone surrogates in an error and in output do not change the outcome.
    """
    pytester.makepyfile(
        r"""
        import sys

        def test_error():
            raise ValueError("\ud800")

        def test_property(record_property):
            record_property("name", "\udcff")

        def test_output():
            sys.stdout.buffer.write(b"\xed\xa0\x80")
        """
    )
    reports = reports_of(pytester, "-p", "no:terminal")
    calls = [report for report in reports if report.when == "call"]
    assert [report.outcome for report in calls] == ["failed", "passed", "passed"]
    assert "ValueError: \ud800" in str(calls[0].longrepr)
    assert calls[1].user_properties == [("name", "\udcff")]


def test_odd_properties(pytester: pytest.Pytester) -> None:
    """
    Properties of any kind arrive, as text if of no builtin type, and the tests pass.
    """
    pytester.makepyfile(
        """
        import pytest

        class Broken:
            def __repr__(self): raise RuntimeError

        endless = [1]
        endless.append(endless)
        deep = []
        for _ in range(2000): deep = [deep]

        @pytest.mark.parametrize("value", [
            object(), b"bytes", {1, 2}, {(1, 2): "tuple key"}, endless, deep,
            10 ** 5000, float("nan"), float("inf"), Broken(), [Broken()], print,
            Exception("x"), {"a": {"b": {1j: b""}}}, range(3),
        ], ids=range(15))
        def test_odd(record_property, value):
            record_property("before", 1)
            record_property("odd", value)
            record_property("after", 2)
        """
    )
    reports = reports_of(pytester)
    calls = [report for report in reports if report.when == "call"]
    assert [report.outcome for report in calls] == ["passed"] * 15
    for report in calls:
        assert report.user_properties[0] == ("before", 1)
        assert report.user_properties[2] == ("after", 2)


def test_broken_exceptions(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Exceptions that cannot be shown are shown as pytest shows them.
    """
    pytester.makepyfile(
        """
        import pytest

        class NoRepr(Exception):
            def __repr__(self): raise RuntimeError("repr")

        class NoStr(Exception):
            def __str__(self): raise RuntimeError("str")

        class Neither(NoRepr, NoStr): pass

        class ExitInRepr(Exception):
            def __repr__(self): raise ValueError
            __str__ = __repr__

        class NoInit(Exception):
            def __init__(self, one, two): super().__init__()

        @pytest.mark.parametrize("kind", [NoRepr, NoStr, Neither, ExitInRepr])
        def test_broken(kind):
            raise kind("x")

        def test_init():
            raise NoInit(1, 2)

        def test_value():
            value = NoRepr()
            assert value == [value]

        def test_dynamic():
            class Local(Exception): pass
            raise Local(lambda: None)
        """
    )
    twins("-l", "-vv")


def test_attributes_of_plugins(pytester: pytest.Pytester) -> None:
    """
    What a plugin adds to a report arrives with it, or as text.
    """
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            report.extra_text = item.name
            report.extra_list = [1, {"a": None}]
            report.extra_object = object()
            report.extra_objects = [object, {"a": print}]
            return report
        """
    )
    pytester.makepyfile("def test_one(): pass")
    reports = reports_of(pytester)
    assert len(reports) == 3
    for report in reports:
        assert report.passed
        assert report.extra_text == "test_one"
        assert report.extra_list == [1, {"a": None}]
        assert report.extra_object.startswith("<object object")
        assert report.extra_objects == [
            "<class 'object'>",
            {"a": "<built-in function print>"},
        ]


@pytest.mark.parametrize("how", ["raise RuntimeError", "raise SystemError"])
@pytest.mark.parametrize("end", ["pass", "assert 0"])
def test_report_type_of_a_plugin(pytester: pytest.Pytester, how: str, end: str) -> None:
    """
    A report of a type that no one can serialise keeps its outcome.
    """
    pytester.makeconftest(
        f"""
        import pytest

        class Report(pytest.TestReport):
            def _to_json(self):
                {how}

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if call.when == "call":
                report.__class__ = Report
            return report
        """
    )
    pytester.makepyfile(f"def test_one(): {end}")
    reports = reports_of(pytester)
    outcome = "passed" if end == "pass" else "failed"
    assert [report.outcome for report in reports] == ["passed", outcome, "passed"]
    assert ("assert 0" in str(reports[1].longrepr)) == (end != "pass")


def test_faulthandler_timeout(pytester: pytest.Pytester) -> None:
    """
    A failing test does not hang when faulthandler_timeout is set.
    """
    pytester.makepyfile("def test_one(): assert 0")
    result = pytester.runpytest_subprocess(
        "--nsisolate", "-o", "faulthandler_timeout=40", *WITHOUT, timeout=30
    )
    result.assert_outcomes(failed=1)
