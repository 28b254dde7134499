"""
A pytest plugin that writes down what a run came to, for the suites to be compared.

It reads what the terminal has counted, once, at the end: a hook that is called for each
report would have the tests run in another way (no guest is then forked ahead).
"""

from __future__ import annotations

import json
import os
from os import readlink

import pytest

#: Where it is loaded: the forks of a test are not to write.
_OWNER = os.getpid()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """
    Tell in which namespace the test ran.
    """
    item.user_properties.append(("ipc", readlink("/proc/self/ns/ipc")))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """
    Write it all into the file that SUITES_RECORD names.
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
    Return the test, how this phase of it came out, and the first line of why.
    """
    when, outcome = getattr(report, "when", "collect"), report.outcome
    facts = [str(when), outcome, "" if category == outcome else category]
    longrepr = report.longrepr
    why = ""
    if isinstance(longrepr, tuple):
        # A skip: path, line and reason belong to its outcome.
        facts += [str(part) for part in longrepr]
    elif longrepr is not None:
        crash = getattr(longrepr, "reprcrash", None)
        text = str(longrepr if crash is None else crash.message)
        why = text.partition("\n")[0][:300]
    facts += [str(getattr(report, "wasxfail", ""))]
    return [report.nodeid, " ".join(filter(None, facts)), why]
