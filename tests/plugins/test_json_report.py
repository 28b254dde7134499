"""
Reports of pytest-json-report.
"""

from __future__ import annotations

import pytest
from artefacts import json_file, without_times, written

pytestmark = pytest.mark.about("pytest-json-report")

_PLUGINS = ("pytest_metadata.plugin", "pytest_jsonreport.plugin")

_CONFTEST = """
    import logging
    import pytest

    def pytest_json_modifyreport(json_report):
        json_report["tests seen"] = len(json_report.get("tests", []))

    def pytest_json_runtest_metadata(item, call):
        if call.when == "call":
            return {"name": item.name}

    def pytest_json_runtest_stage(report):
        if report.when == "call" and report.failed:
            return {"outcome": report.outcome, "mine": report.longreprtext}

    @pytest.fixture
    def owned(json_metadata):
        json_metadata["owned"] = (1, 2)
        print("owned set up")
        yield
        print("owned torn down")
        logging.error("logged")
"""

_TESTS = """
    import logging
    import sys
    import warnings
    import pytest

    def test_metadata(json_metadata, owned, record_property):
        json_metadata["of test"] = {"a": ["ü"]}
        record_property("recorded", [1, 2])
        print("printed")

    def test_not_serialisable(json_metadata):
        json_metadata["object"] = object()

    def test_fail(owned):
        print("on stderr", file=sys.stderr)
        try:
            1 / 0
        except ZeroDivisionError:
            logging.exception("caught %s", "it")
        assert [1, 2] == [1, 3]

    @pytest.fixture
    def breaks():
        yield
        raise ValueError

    def test_breaks(breaks): pass

    @pytest.mark.skip(reason="a reason")
    def test_skip(): pass

    @pytest.mark.xfail(reason="another")
    def test_xfail(): assert 0

    @pytest.mark.xfail
    def test_xpass(): pass

    def test_warns():
        warnings.warn("a warning")

    def test_subtests(subtests):
        for number in range(2):
            with subtests.test(number=number): assert number
"""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--json-report-summary"],
        ["--json-report-omit", "collectors", "log", "streams", "traceback"],
    ],
)
def test_report(pytester: pytest.Pytester, arguments: list[str]) -> None:
    """
    The file is the same: stages, logs, output, metadata, warnings and hooks.
    """
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile(_TESTS)
    isolated, plain = written(
        pytester,
        _PLUGINS,
        "--json-report",
        "--json-report-file=report.json",
        *arguments,
        read=json_file(pytester, "report.json"),
    )
    assert without_times(isolated) == without_times(plain)
    assert isolated["summary"]["total"] == 9


def test_borrowed(pytester: pytest.Pytester) -> None:
    """
    What a borrowed fixture prints and logs is in the stages, in one piece.
    """
    pytester.makepyfile(
        """
        import logging
        import pytest

        @pytest.fixture(scope="module")
        def borrowed():
            print("borrowed set up")
            logging.warning("borrowed set up")
            yield
            print("borrowed torn down")
            logging.warning("borrowed torn down")

        @pytest.fixture
        def owned():
            print("owned set up")
            logging.warning("owned set up")
            yield
            print("owned torn down")
            logging.warning("owned torn down")

        def test_borrowed(borrowed, owned): pass
        """
    )
    isolated, plain = written(
        pytester,
        _PLUGINS,
        "--json-report",
        "--json-report-file=report.json",
        read=json_file(pytester, "report.json"),
    )
    assert without_times(isolated) == without_times(plain)


def test_log_extra(pytester: pytest.Pytester) -> None:
    """
    An extra of a log record that JSON cannot carry is in the file as its string.
    """
    pytester.makepyfile(
        """
        import logging
        from pathlib import Path

        def test_log():
            logging.warning("logged", extra={"path": Path("/a")})
        """
    )
    isolated, plain = written(
        pytester,
        _PLUGINS,
        "--json-report",
        "--json-report-file=report.json",
        read=json_file(pytester, "report.json"),
    )
    assert without_times(isolated) == without_times(plain)


@pytest.mark.xfail(
    strict=True,
    reason="a property that JSON cannot carry is in the file as its repr, where a "
    "plain test has a warning instead of its properties",
)
def test_property_not_serialisable(pytester: pytest.Pytester) -> None:
    """
    A property that JSON cannot carry is left out with a warning.
    """
    pytester.makepyfile(
        """
        def test_property(record_property):
            record_property("object", object())
        """
    )
    isolated, plain = written(
        pytester,
        _PLUGINS,
        "--json-report",
        "--json-report-file=report.json",
        read=json_file(pytester, "report.json"),
    )
    assert without_times(isolated) == without_times(plain)
