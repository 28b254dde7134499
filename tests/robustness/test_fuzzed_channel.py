"""
Fuzzed messages from a guest: the supervisor survives, and no test passes.

The longer versions, in tests/stress, try other faults in each run.
"""

from __future__ import annotations

from collections.abc import Callable

import fuzzing
import pytest

pytestmark = pytest.mark.faults

RunPytest = Callable[..., pytest.RunResult]

#: The faults are the same in each run, so that no change fails by chance.
SEED = 20240229


def test_in_process(pytester: pytest.Pytester) -> None:
    """
    The supervisor reads some thousand mutated conversations without an error.
    """
    item = pytester.getitem("def test_func(): pass")
    assert fuzzing.try_many(item, 8_000, SEED) > 0


def test_real_guests(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Guests that write such frames fail, each as itself, and the session goes on.
    """
    fuzzing.run_mutated(pytester, run_both_ways, 40, SEED)
