"""
Log files of pytest-reportlog.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from artefacts import without_times, written
from twins import Run

pytestmark = pytest.mark.about("pytest-reportlog")

_TESTS = """
    import logging
    import warnings
    import pytest

    @pytest.fixture(scope="module")
    def borrowed():
        print("borrowed set up")
        yield
        print("borrowed torn down")

    def test_pass(borrowed, record_property):
        record_property("recorded", [1, "a"])
        print("printed")
        logging.warning("logged")
        warnings.warn("a warning")

    def test_fail():
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise ValueError("from it") from error

    def test_subtests(subtests):
        for number in range(2):
            with subtests.test(number=number): assert number

    @pytest.mark.skip(reason="a reason")
    def test_skip(): pass

    @pytest.mark.xfail(reason="another")
    def test_xfail(): assert 0

    @pytest.fixture
    def breaks():
        yield
        raise ValueError

    def test_breaks(breaks, borrowed): pass
"""


@pytest.mark.parametrize(
    "arguments", [[], ["--report-log-exclude-logs-on-passed-tests"]]
)
def test_log(pytester: pytest.Pytester, arguments: list[str]) -> None:
    """
    The file has the same lines in the same order, including what hooks have added.
    """
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            report.added = [item.name, call.when]
            return report
        """
    )
    pytester.makepyfile(_TESTS)

    def read(_: Run) -> list[Any]:
        """
        Return the lines of the file, and remove it.
        """
        path = pytester.path / "log.jsonl"
        lines = path.read_text().splitlines()
        path.unlink()
        return [without_times(json.loads(line)) for line in lines]

    isolated, plain = written(
        pytester,
        ["pytest_reportlog.plugin"],
        "--report-log=log.jsonl",
        *arguments,
        read=read,
    )
    assert isolated == plain
    assert len(isolated) > 20
