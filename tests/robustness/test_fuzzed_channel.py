"""
Fuzzed messages from a guest: the supervisor survives, and no test passes.
"""

from __future__ import annotations

from collections.abc import Callable

import fuzzing
import pytest

pytestmark = pytest.mark.faults

RunPytest = Callable[..., pytest.RunResult]


def test_in_process(pytester: pytest.Pytester) -> None:
    """
    The supervisor reads some thousand mutated conversations without an error.
    """
    seed = fuzzing.new_seed()
    item = pytester.getitem("def test_func(): pass")
    assert fuzzing.try_many(item, 8_000, seed) > 0


def test_real_guests(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Guests that write such frames fail, each as itself, and the session goes on.
    """
    fuzzing.run_mutated(pytester, run_both_ways, 40)
