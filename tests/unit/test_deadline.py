"""
Deadlines: the moment from which they count.
"""

from __future__ import annotations

import time

from pytest_nsisolate.guest.deadline import Deadline


def test_since() -> None:
    """
    A limit counts from when it is told to, and from now on otherwise.
    """
    now = time.monotonic()
    assert Deadline(60, now - 61).is_over()
    assert Deadline(0.001, now - 1).left() == 0
    assert not Deadline(60).is_over()
    assert not Deadline(None, now - 61).is_over()
