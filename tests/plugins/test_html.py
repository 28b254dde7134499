"""
Pages of pytest-html.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from artefacts import without_times, written
from twins import Run

pytestmark = pytest.mark.about("pytest-html")

_PLUGINS = ("pytest_metadata.plugin", "pytest_html.plugin", "pytest_html.fixtures")

_TIME = re.compile(r"\d\d:\d\d:\d\d|\d+ ms")

_CONFTEST = """
    import pytest
    import pytest_html

    def pytest_html_report_title(report):
        report.title = "A title"

    def pytest_html_results_summary(prefix, summary, postfix):
        prefix.append("<p>before</p>")

    def pytest_html_results_table_header(cells):
        cells.insert(2, "<th>Description</th>")

    def pytest_html_results_table_row(report, cells):
        cells.insert(2, f"<td>{getattr(report, 'description', '')}</td>")

    def pytest_html_results_table_html(report, data):
        if report.passed:
            data.append(f"<div>{report.when} has passed</div>")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        report.description = str(item.function.__doc__)
        link = pytest_html.extras.url("http://localhost/" + report.when)
        report.extras = [*getattr(report, "extras", []), link]
        return report

    @pytest.fixture(scope="session")
    def borrowed():
        print("borrowed set up")
        yield
        print("borrowed torn down")
"""

_TESTS = """
    import logging
    import sys
    import pytest
    import pytest_html

    def test_extras(extras, borrowed):
        '''With extras.'''
        extras.append(pytest_html.extras.text("a text"))
        extras.append(pytest_html.extras.json({"a": (1, 2)}))
        extras.append(pytest_html.extras.png("iVBORw0KGgo="))
        extras.append(pytest_html.extras.html("<b>bold</b>"))
        extras.append(pytest_html.extras.image("http://localhost/a.png"))
        print("printed <b>")

    def test_fail(extras):
        '''Fails.'''
        extras.append(pytest_html.extras.text("of the failure", name="named"))
        print("on stderr", file=sys.stderr)
        logging.error("logged")
        assert {"a": 1} == {"a": 2}

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

    def test_subtests(subtests):
        for number in range(2):
            with subtests.test(number=number): assert number

    @pytest.mark.parametrize("letter", "ab")
    def test_parametrized(letter): pass
"""


def _tests_of(page: str) -> Any:
    """
    Return the data of the page, from which a browser builds its table.
    """
    found = re.search(r'data-jsonblob="([^"]*)"', page)
    assert found is not None
    return without_times(json.loads(_TIME.sub("…", html.unescape(found[1]))))


def _rest_of(page: str) -> list[str]:
    """
    Return the lines of the page around its data.
    """
    page = re.sub(r'data-jsonblob="[^"]*"', "", page)
    return _TIME.sub("…", page).splitlines()


@pytest.mark.parametrize("form", [["--self-contained-html"], []])
def test_page(pytester: pytest.Pytester, form: list[str]) -> None:
    """
    The page is the same: extras, hooks of a conftest file, logs, outcomes and assets.
    """
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile(_TESTS)

    def read(_: Run) -> tuple[str, dict[str, bytes]]:
        """
        Return the page and its assets, and remove them.
        """
        page = (pytester.path / "page.html").read_text()
        assets = {path.name: path for path in pytester.path.glob("assets/*")}
        content = {name: path.read_bytes() for name, path in assets.items()}
        for path in assets.values():
            path.unlink()
        return page, content

    arguments = ["--html=page.html", *form]
    isolated, plain = written(pytester, _PLUGINS, *arguments, read=read)
    assert _tests_of(isolated[0]) == _tests_of(plain[0])
    assert _rest_of(isolated[0]) == _rest_of(plain[0])
    assert isolated[1] == plain[1]
    assert bool(isolated[1]) is not bool(form)
    assert "borrowed set up" in isolated[0]


def test_crash(pytester: pytest.Pytester) -> None:
    """
    A test that crashes is on the page, with what it had printed.
    """
    pytester.makepyfile(
        """
        import os

        def test_crash():
            print("printed before")
            os._exit(3)
        """
    )
    named = [part for name in ("nsisolate", *_PLUGINS) for part in ("-p", name)]
    pytester.runpytest_subprocess(
        *named, "--nsisolate", "--html=page.html", "--self-contained-html"
    )
    (rows,) = _tests_of((pytester.path / "page.html").read_text())["tests"].values()
    assert [row["result"] for row in rows] == ["Failed"]
    assert "exited with code 3" in rows[0]["log"]
    assert "printed before" in rows[0]["log"]
