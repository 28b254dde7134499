"""
The order that reports of one test come in.
"""

from __future__ import annotations

from collections import Counter

import pytest


class Order:
    """
    Keeps the reports of a test in an order that pytest's writer of JUnit's XML takes.

    It takes a teardown that fails for that of an earlier failure, of a call or subtest,
    though another teardown has come since; where nothing but setup has, it raises. No
    guest reports so but one whose test writes to the channel itself, or whose teardown
    was shown early for a debugger.
    """

    def __init__(self) -> None:
        #: By id, how many more failures there were than teardowns.
        self._unclosed: Counter[str] = Counter()
        #: Those that something has been told of since the last teardown.
        self._told: set[str] = set()

    def keep(self, report: pytest.TestReport) -> None:
        """
        Make *report* one that can follow those before.
        """
        name = report.nodeid
        if (
            report.when == "teardown"
            and report.failed
            and self._unclosed[name]
            and name not in self._told
        ):
            report.when = "call"
        is_call, is_known = report.when == "call", report.failed or report.skipped
        if report.when == "teardown":
            self._told.discard(name)
            self._unclosed[name] = max(self._unclosed[name] - 1, 0)
        elif is_known or (is_call and report.passed):
            self._told.add(name)
            self._unclosed[name] += is_call and report.failed
