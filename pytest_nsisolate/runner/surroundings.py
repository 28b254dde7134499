"""
The surroundings of tests: what is set up, and how warnings are filtered.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Generator

import pytest

#: How many user properties an item had before its protocol began.
properties = pytest.StashKey[int]()


class Surroundings:
    """
    The plugin that notes them from the start, for any test may turn out to be isolated.
    """

    def __init__(self) -> None:
        #: The warning filters around the protocol of a test.
        self.filters = warnings.filters[:]
        self._nodes: weakref.WeakKeyDictionary[
            pytest.FixtureDef[object], pytest.Item | pytest.Collector
        ] = weakref.WeakKeyDictionary()
        self._is_guest = False

    def become_guest(self) -> None:
        """
        In a guest: keep what the protocol of its test began with in the supervisor.
        """
        self._is_guest = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        """
        Note the filters and how many properties there are.
        """
        if not self._is_guest:
            self.filters = warnings.filters[:]
            item.stash[properties] = len(item.user_properties)
        return (yield)

    # No wrapper: it would be in the traceback of each fixture that fails.
    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> None:
        """
        Note the fixture.
        """
        self._nodes[fixturedef] = request.node

    def fixtures_within(
        self, node: pytest.Item | pytest.Collector
    ) -> list[pytest.FixtureDef[object]]:
        """
        Return the fixtures that are set up and belong to *node* or a node below it.
        """
        return [
            fixturedef
            for fixturedef, one in self._nodes.items()
            if fixturedef.cached_result is not None and node in one.listchain()
        ]
