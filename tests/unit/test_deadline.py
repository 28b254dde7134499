"""
Deadlines and the moment from which they count.
"""

from __future__ import annotations

import time

from pytest_nsisolate.guest.deadline import Deadline


def test_since() -> None:
    """
    A deadline counts from the given moment, or from now if none is given.
    """
    now = time.monotonic()
    assert Deadline(60, now - 61).is_over()
    assert Deadline(0.001, now - 1).left() == 0
    assert not Deadline(60).is_over()
    assert not Deadline(None, now - 61).is_over()
