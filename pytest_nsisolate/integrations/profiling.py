"""
pytest-profiling: the profile of a test is that of the guest that ran it.

The plugin profiles the whole protocol of a test and writes a file, in the guest and
later in the supervisor, which has only waited. The second one is not written.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "profiling"


class Integration:
    """
    Makes the plugin keep the file that a guest has written.
    """

    def __init__(self) -> None:
        #: Whether a guest has written the file of the test that runs.
        self._is_written = False
        plugin: Any = sys.modules["pytest_profiling"]
        profiler = plugin.cProfile.Profile
        this = self

        class Profile(profiler):  # type: ignore[misc,valid-type]
            """
            A profile that is not written over that of a guest.
            """

            def dump_stats(self, file: str) -> None:
                """
                Write the profile to *file*, unless a guest has done so.
                """
                if not this._is_written:
                    super().dump_stats(file)
                this._is_written = False

        plugin.cProfile = type("cProfile", (), {"Profile": Profile})

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        if report is None:
            payload[_NAME] = True

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, payload: Payload) -> None:
        self._is_written = cast("bool", payload.get(_NAME, False)) is True
