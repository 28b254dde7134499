"""
pytest-randomly: a test's numbers go on where those of what it borrows ended.

The plugin seeds all generators when the setup of a test begins. That is so where what
it borrows is set up, and must not be so once more in the guest.
"""

from __future__ import annotations

import random
from collections.abc import Generator

import pytest


class Integration:
    """
    Carries the state of `random`, which Python seeds in each fork, into the guest.
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
        # Only for the first of several tries.
        self._item = None
        random.setstate(self._state)
        option.randomly_reset_seed = False
        try:
            return (yield)
        finally:
            option.randomly_reset_seed = True
