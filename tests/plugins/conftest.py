"""
Runs of pytest with other plugins, plain and isolated.

In an environment of its own (``tox -e plugins``), where all of them are installed and
none is loaded but by name. What the tests about a plugin come to is what the page of
the documentation says of it.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

#: By plugin, the outcomes of the tests about it.
seen = pytest.StashKey["dict[str, set[str]]"]()


def pytest_configure(config: pytest.Config) -> None:
    """
    Declare the marker.
    """
    config.addinivalue_line("markers", "about(plugin): the test is about that plugin")
    config.stash[seen] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Put the test of the page behind those that it is about.
    """
    items.sort(key=lambda item: item.path.name == "test_page.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Note the outcome of a test for the plugins that it is about.
    """
    report = yield
    if report.when == "call" or not report.passed:
        outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        for mark in item.iter_markers("about"):
            item.config.stash[seen].setdefault(mark.args[0], set()).add(outcome)
    return report


@pytest.fixture(autouse=True)
def _only_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No plugin is loaded that a test has not named.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
