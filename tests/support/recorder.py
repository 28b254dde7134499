"""
A plugin that records what other plugins see of a session.

`twins` copies this file to where an inner pytest finds it.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

#: The record's file, in the root directory of the session.
RECORD = "record.json"

_TIMES = {"duration", "start", "stop"}


def _text(value: object) -> str:
    """
    Return *value* without the addresses that differ from run to run.
    """
    text = re.sub(r"0x[0-9a-f]{6,}", "0x", str(value))
    # A guest has fewer descriptors than pytest, or more.
    return re.sub(r"\bfileno = \d+", "fileno =", text)


class Recorder:
    """
    A collector of every event, in order, and of where each test ran.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Open, since an overlay may hide it from those who would open it inside.
        places = path.with_suffix(".places")
        places.write_text("")
        self.places = os.open(places, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self.here = os.readlink("/proc/self/ns/pid")
        self.events: list[tuple[object, ...]] = []
        self.warnings: list[tuple[object, ...]] = []

    def pytest_runtest_logstart(self, nodeid: str, location: object) -> None:
        """
        Note that a test starts.
        """
        self.events.append(("start", nodeid, repr(location)))

    def pytest_runtest_logfinish(self, nodeid: str, location: object) -> None:
        """
        Note that a test is over.
        """
        self.events.append(("finish", nodeid, repr(location)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Note everything in a report except times.
        """
        told = {
            name: _text(value if isinstance(value, str) else repr(value))
            for name, value in vars(report).items()
            if name not in _TIMES | {"longrepr"} and not name.startswith("_")
        }
        told["longrepr"] = _text(report.longrepr)
        told["skip"] = str(isinstance(report.longrepr, tuple))
        told["long text"] = _text(report.longreprtext)
        told["stdout"] = _text(report.capstdout)
        told["stderr"] = _text(report.capstderr)
        told["log"] = _text(report.caplog)
        self.events.append(("report", told))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str
    ) -> None:
        """
        Note a warning.
        """
        one = warning_message
        told = [_text(one.message), one.category.__qualname__, one.filename, one.lineno]
        self.warnings.append((when, nodeid, *told))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """
        Note the PID namespace in which a test runs.
        """
        is_here = os.readlink("/proc/self/ns/pid") == self.here
        os.write(self.places, f"{is_here}\n".encode())
        return (yield)

    def pytest_unconfigure(self) -> None:
        """
        Write everything to a file.
        """
        record = {"events": self.events, "warnings": self.warnings}
        self.path.write_text(json.dumps(record))
        os.close(self.places)


def pytest_configure(config: pytest.Config) -> None:
    """
    Start to record.
    """
    config.pluginmanager.register(Recorder(config.rootpath / RECORD), "the record")
