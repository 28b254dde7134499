"""
Runs of pytest with other plugins, plain and isolated.

They run in their own environment (``tox -e plugins``), where all plugins are installed
and each is loaded only by name. The documentation's page on plugins must agree with the
results of the tests about each plugin.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

#: For each plugin, the outcomes of the tests about it.
seen = pytest.StashKey["dict[str, set[str]]"]()


def pytest_configure(config: pytest.Config) -> None:
    """
    Declare the marker.
    """
    config.addinivalue_line("markers", "about(plugin): the test is about that plugin")
    config.stash[seen] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Move the test of the page behind the tests that the page is about.
    """
    items.sort(key=lambda item: item.path.name == "test_page.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Note a test's outcome for the plugins that it is about.
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
    Load no plugin that a test has not named.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
