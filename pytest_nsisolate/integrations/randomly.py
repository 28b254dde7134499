"""
pytest-randomly: one sequence of random numbers for a test and its borrowed fixtures.

The plugin seeds all generators when the setup of a test begins, in the supervisor. The
guest must not seed them again, but go on from where the borrowed fixtures stopped.
"""

from __future__ import annotations

import random
from collections.abc import Generator

import pytest


class Integration:
    """
    Carries the state of `random` into the guest, where Python has seeded it anew.
    """

    def __init__(self) -> None:
        self._inside = False
        self._item: pytest.Item | None = None
        self._state = random.getstate()

    @pytest.hookimpl
    def pytest_nsisolate_enter(self) -> None:
        self._inside = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        option = item.config.option
        if not option.randomly_reset_seed:
            return (yield)
        if not self._inside:
            try:
                return (yield)
            finally:
                self._item, self._state = item, random.getstate()
        if item is not self._item:
            return (yield)
        # This applies to the first of several tries only.
        self._item = None
        random.setstate(self._state)
        option.randomly_reset_seed = False
        try:
            return (yield)
        finally:
            option.randomly_reset_seed = True
