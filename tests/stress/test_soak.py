"""
Sessions of ten thousand isolated tests: alone, several at once, and with several jobs.
"""

from __future__ import annotations

import os
import time

import pytest
from soak import soak
from ways import WAYS

#: How many tests a session has.
COUNT = int(os.environ.get("NSISOLATE_SOAK") or 10_000)

#: How many bytes an isolated test may add to the supervisor beyond a plain one: fewer
#: than any object takes that is kept for each test.
MARGIN = 500

#: How many bytes may be kept until their turns of tests that are over.
HOLES = 1 << 26

#: How long a test may take, in seconds; a few milliseconds are usual.
EACH = 0.2


@pytest.mark.parametrize(("sessions", "jobs"), [(1, 1), (4, 1), (1, 8)])
@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.usefixtures("nothing_left")
def test_soak(
    pytester: pytest.Pytester,
    capsys: pytest.CaptureFixture[str],
    way: str,
    sessions: int,
    jobs: int,
) -> None:
    """
    All tests pass, nothing is left, and memory grows only by what pytest itself keeps.
    """
    count = COUNT // sessions
    (kept,) = soak([], [pytester.path / "plain"], count, COUNT * EACH, isolated=False)
    paths = [pytester.path / f"session{number}" for number in range(sessions)]
    began = time.monotonic()
    grown = soak(WAYS[way], paths, count, COUNT * EACH, jobs=jobs)
    took = time.monotonic() - began
    with capsys.disabled():
        print(  # noqa: T201 - for the person who runs it
            f"\n{sessions} x {count} tests, {jobs} jobs, {way}: "
            f"{took / COUNT * 1000:.1f} ms each; "
            f"bytes kept of each: plain {kept}, isolated {grown}"
        )
    for one in grown:
        assert one["blocks"] - kept["blocks"] < 1
        # With several jobs, tests that were over before their turns have left holes.
        assert (one["rss"] - kept["rss"]) * count < (MARGIN * count, HOLES)[jobs > 1]
