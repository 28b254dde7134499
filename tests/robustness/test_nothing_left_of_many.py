"""
Many tests in one session, or in several at once, that leave nothing.

The longer versions are in tests/stress, and memory is in test_nothing_grows.py.
"""

from __future__ import annotations

import pytest
from soak import soak
from ways import WAYS

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.usefixtures("nothing_left")
def test_two_at_once(pytester: pytest.Pytester, way: str) -> None:
    """
    Two sessions of 40 tests that each leave all they can leave nothing on the machine.
    """
    paths = [pytester.path / name for name in ("one", "two")]
    assert len(soak(WAYS[way], paths, 40, 60)) == 2
