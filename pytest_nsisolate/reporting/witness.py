"""
The witness of the guests: it is told when they start, wait and end.
"""

from __future__ import annotations

from collections.abc import Collection

import pytest

from pytest_nsisolate.guest.handle import Guest


class Witness:
    """
    Takes no note of anything: nobody asked for that. `Timeline` does.
    """

    def begin(self, jobs: int) -> None:
        """
        Hear that the first test is about to be isolated.

        Args:
            jobs: How many may run at the same time.
        """

    def started(self, item: pytest.Item, guest: Guest) -> None:
        """
        Hear that *guest* runs *item*; for one before its turn, then once more.
        """

    def held(self, guest: Guest) -> None:
        """
        Hear, once or several times, that *guest* has to wait for its turn.
        """

    def over(self, guest: Guest) -> None:
        """
        Hear, once or several times, that *guest* has run its test, or was ended.
        """

    def none_starts(self, item: pytest.Item | None, shares: Collection[str]) -> None:
        """
        Hear that a lane is free, and no test may start there for the time being.

        Args:
            item: The test that has to wait, and with it all others; None if there is
                no test left.
            shares: What it shares with a test that runs. If that is nothing, it waits
                for its turn.
        """


#: Where a session keeps its witness, if there is one that takes note.
key = pytest.StashKey[Witness]()
