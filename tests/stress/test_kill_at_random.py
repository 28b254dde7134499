"""
Hundreds of kills at random moments; the short versions are in tests/robustness.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

import pytest
from killing import Toll, perish, seeded, survive, write_suite
from ways import WAYS

#: The same seed makes the same choices, if not at quite the same moments.
SEED = int(os.environ.get("NSISOLATE_SEED") or secrets.randbelow(10**6))

#: How many kills of each kind, for each of the two ways into a sandbox.
OTHERS, PYTEST, ALL = 150, 40, 20

#: How many of pytest with several jobs.
PYTEST_WITH_JOBS = 150

JOBS = pytest.mark.parametrize("jobs", [1, 8])

Tell = Callable[[object], None]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Tell:
    """
    Return a function that prints past the capture, after the seed and the test's name.
    """

    def tell(text: object) -> None:
        """
        Print *text* with the seed.
        """
        with capsys.disabled():
            print(f"\nseed {SEED}: {request.node.name}: {text}")  # noqa: T201 - for the person who runs it

    return tell


@JOBS
@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.usefixtures("nothing_left")
def test_others(pytester: pytest.Pytester, way: str, jobs: int, tell: Tell) -> None:
    """
    Session after session runs to its end, with every test accounted for.
    """
    chance, toll = seeded(SEED), Toll()
    tell("begins")
    while sum(toll.killed.values()) < OTHERS:
        path = pytester.mkdir(f"session{toll.sessions}")
        number = write_suite(path, 24 if jobs == 1 else 80, 0.05)
        survive(WAYS[way], path, number, chance, toll, jobs=jobs)
    tell(toll)


@JOBS
@pytest.mark.parametrize("who", ["pytest", "all"])
@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.usefixtures("nothing_left")
def test_pytest(
    pytester: pytest.Pytester, way: str, who: str, jobs: int, tell: Tell
) -> None:
    """
    Whenever pytest is killed, time after time, everything is gone.
    """
    chance, toll = seeded(SEED), Toll()
    tell("begins")
    write_suite(pytester.path, 40 if jobs == 1 else 160, 0.02)
    kills = PYTEST if jobs == 1 else PYTEST_WITH_JOBS
    while toll.sessions < (kills if who == "pytest" else ALL):
        perish(WAYS[way], pytester.path, chance, toll, who, jobs=jobs)
    tell(toll)
