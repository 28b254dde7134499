"""
flaky: its notes on each try, for its report at the end of the session.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "flaky"


class Integration:
    """
    Carries over the text that the plugin collects.
    """

    def __init__(self) -> None:
        #: How much of the text the supervisor had when it forked.
        self._known = 0

    @pytest.hookimpl
    def pytest_nsisolate_enter(self) -> None:
        self._known = len(_plugin().stream.getvalue())

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        # Since 3.0 this says whether the plugin writes a report at all.
        if report is None and _plugin()._had_flaky_tests:
            text = _plugin().stream.getvalue()
            payload[_NAME] = text[self._known :]
            self._known = len(text)

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, payload: Payload) -> None:
        text = payload.get(_NAME)
        if isinstance(text, str):
            _plugin()._had_flaky_tests = True
            _plugin().stream.write(text)


def _plugin() -> Any:
    module: Any = sys.modules["flaky.flaky_pytest_plugin"]
    return module.PLUGIN
