"""
A pytest plugin that records the results of a run, so that suites can be compared.

It reads the terminal's counts once, at the end. A hook that is called for each report
would make the tests run differently, because no guest is then forked ahead.
"""

from __future__ import annotations

import json
import os
from os import readlink

import pytest

#: The process that loads the plugin; the forks of a test must not write.
_OWNER = os.getpid()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """
    Record in which namespace the test ran.
    """
    item.user_properties.append(("ipc", readlink("/proc/self/ns/ipc")))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """
    Write the results into the file that SUITES_RECORD names.
    """
    path = os.environ.get("SUITES_RECORD")
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if path is None or terminal is None or os.getpid() != _OWNER:
        return
    warnings: list[str] = []
    reports: list[list[str]] = []
    places: set[str] = set()
    for category, entries in terminal.stats.items():
        for entry in entries:
            if category == "warnings":
                warnings.append(f"{entry.nodeid}: {entry.message}")
            elif category != "deselected":
                reports.append(_facts(category, entry))
                properties = dict(getattr(entry, "user_properties", ()))
                places.update(filter(None, [properties.get("ipc")]))
    with open(path, "w", encoding="utf-8") as file:
        json.dump([reports, warnings, sorted(places)], file)


def _facts(category: str, report: pytest.TestReport) -> list[str]:
    """
    Return the test, its outcome in this phase, and the first line of the reason.
    """
    when, outcome = getattr(report, "when", "collect"), report.outcome
    facts = [str(when), outcome, "" if category == outcome else category]
    longrepr = report.longrepr
    why = ""
    if isinstance(longrepr, tuple):
        # For a skip, path, line and reason belong to the outcome.
        facts += [str(part) for part in longrepr]
    elif longrepr is not None:
        crash = getattr(longrepr, "reprcrash", None)
        text = str(longrepr if crash is None else crash.message)
        why = text.partition("\n")[0][:300]
    facts += [str(getattr(report, "wasxfail", ""))]
    return [report.nodeid, " ".join(filter(None, facts)), why]
