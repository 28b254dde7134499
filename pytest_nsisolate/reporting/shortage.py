"""
The shortage: why fewer tests run side by side than were asked for, told once.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import pytest

from pytest_nsisolate.diagnosis import explain
from pytest_nsisolate.model.errors import Explanation, JobsWarning, Known, Refused
from pytest_nsisolate.reporting import interaction


class Shortage(NamedTuple):
    """
    What kept a test from running while others ran.
    """

    item: pytest.Item
    """The test."""
    jobs: int
    """How many tests can run at the same time in spite of it."""
    explanation: Explanation

    @classmethod
    def of(cls, item: pytest.Item, refused: Refused, others: int) -> Shortage:
        """
        Return the shortage for which *item* was refused while *others* ran.
        """
        jobs = max(1, others)
        more = f"more than {jobs} tests" if jobs > 1 else "tests"
        explained = explain.explain(f"run {more} side by side", refused)
        fix = f"--nsisolate-jobs={jobs}, or {explained.fix}"
        return cls(item, jobs, dataclasses.replace(explained, fix=fix))

    def tell(self) -> None:
        """
        Give the warning.
        """
        interaction.warn(self.item, self.explanation, JobsWarning)


def too_few_descriptors(
    limit: int, used: int, spare: int, each: int, jobs: int
) -> Refused:
    """
    Return the refusal of *jobs* lanes for which too few descriptors are left.

    Args:
        limit: How many may be open.
        used: The lowest that is not.
        spare: How many are for other purposes.
        each: How many a lane takes.
        jobs: How many were asked for.
    """
    return Known(
        "too few descriptors are left",
        f"RLIMIT_NOFILE is {limit}, the lowest free descriptor of pytest is {used}, "
        f"{spare} are left to fixtures and plugins, and each test takes {each}",
        explain.more_descriptors(used + spare + each * jobs),
    )
