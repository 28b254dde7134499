"""
A million fuzzed frames without guests, and some thousand written by real guests.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import fuzzing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

RunPytest = Callable[..., pytest.RunResult]

FRAMES = 1_000_000

#: JSON of any shape, mixed with the words that mean something to the supervisor.
WORDS = (
    st.sampled_from(
        ["kind", "report", "$report_type", "TestReport", "synchronous", "done", "over"]
    )
    | st.sampled_from(
        ["when", "outcome", "marked", "terminal", "refused", "call", "errno", "payload"]
    )
    | st.sampled_from(
        ["tuple", "list", "dict", "set", "frozenset", "int", "bytes", "complex", "text"]
    )
)
TEXT = WORDS | st.text()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)
MESSAGES = st.lists(st.dictionaries(TEXT, VALUES), max_size=4)


def test_in_process(pytester: pytest.Pytester) -> None:
    """
    The supervisor reads a million frames of mutated conversations without an error.
    """
    seed = fuzzing.new_seed()
    item = pytester.getitem("def test_func(): pass")
    begin = time.monotonic()
    green = fuzzing.try_many(item, FRAMES, seed)
    print(  # noqa: T201 - the seed, to repeat the run
        f"seed {seed}: {FRAMES} frames, {green} green, {time.monotonic() - begin:.0f} s"
    )
    assert green > 0


def test_any_json(pytester: pytest.Pytester) -> None:
    """
    No JSON that is not a message has an effect: no test is green because of it.
    """
    item = pytester.getitem("def test_func(): pass")
    listener = fuzzing.Listener(item)

    @settings(max_examples=2_000, deadline=None, database=None)
    @given(MESSAGES)
    def hear(messages: list[dict[str, object]]) -> None:
        """
        Have the supervisor read *messages*.
        """
        assert not listener.hear([fuzzing.frame_of(one) for one in messages])

    hear()


def test_real_guests(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A thousand guests write several frames each, and each fails as itself.
    """
    fuzzing.run_mutated(pytester, run_both_ways, 1000, fuzzing.new_seed())
