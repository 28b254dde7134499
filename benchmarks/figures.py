"""
Figures: what was measured, what is computed from it, and the bars that it is held to.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

#: The two times of a session.
Time = Literal["cpu", "wall"]

#: What an isolated test adds is compared with what a test adds that this one forks.
REFERENCE = "pytest-forked"


class Cost(NamedTuple):
    """
    What something took, in milliseconds.
    """

    cpu: float
    """Processor time of all its processes."""
    wall: float
    """Time by the clock on the wall."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """
    One thing measured under one condition, in several rounds.
    """

    row: str
    """The kind of measurement, as in ``--only``."""
    name: str
    """What was measured."""
    python: str
    """The version of Python."""
    parent: str = "bare"
    """What pytest holds in memory."""
    machine: str = "quiet"
    """``quiet``, or ``busy`` with a loop on each core."""
    tests: int = 1
    """How many tests, or forks, a session had."""
    rounds: tuple[Cost, ...] = ()
    """What each of them added in the rounds that count."""
    reason: str = ""
    """Why there are no rounds."""

    @property
    def median(self) -> Cost:
        """
        The median of each time.
        """
        return median(self.rounds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Growth:
    """
    How much memory the supervisor keeps for each isolated test, more than for plain.
    """

    python: str
    """The version of Python."""
    tests: int
    """How many tests the longest session had."""
    each: float
    """Bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limit:
    """
    The most that this project accepts.
    """

    what: str
    """What is limited."""
    limit: float
    """The highest figure that meets it."""
    unit: Literal["times", "ms", "bytes"]
    """``times`` is a ratio to something else in the same round."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bar(Limit):
    """
    The most that an isolated test may add; a ratio is one to the reference.
    """

    row: str
    """The points that it is for: their row,"""
    names: tuple[str, ...] = ()
    """their names,"""
    machine: str = ""
    """and their machine, or any."""
    times: tuple[Time, ...] = ("cpu",)
    """The times that are limited."""


ROOT, ROOTLESS = "isolated, as root", "isolated, rootless"
START, START_BARE = "with bytecode", "without bytecode"

BARS = (
    Bar(
        what="processor time of an isolated test, as root",
        limit=0.8,
        unit="times",
        row="isolated",
        names=(ROOT,),
    ),
    Bar(
        what="processor time of an isolated test, rootless",
        limit=1.2,
        unit="times",
        row="isolated",
        names=(ROOTLESS,),
    ),
    Bar(
        what="wall time of an isolated test on a busy machine, as root",
        limit=0.9,
        unit="times",
        row="isolated",
        names=(ROOT,),
        machine="busy",
        times=("wall",),
    ),
    Bar(
        what="wall time of an isolated test on a busy machine, rootless",
        limit=1.3,
        unit="times",
        row="isolated",
        names=(ROOTLESS,),
        machine="busy",
        times=("wall",),
    ),
    Bar(
        what="wall time of an isolated test on a quiet machine, as root",
        limit=0.5,
        unit="times",
        row="isolated",
        names=(ROOT,),
        machine="quiet",
        times=("wall",),
    ),
    Bar(
        what="wall time of an isolated test on a quiet machine, rootless",
        limit=0.9,
        unit="times",
        row="isolated",
        names=(ROOTLESS,),
        machine="quiet",
        times=("wall",),
    ),
    Bar(
        what="processor and wall time of a further test in a shared sandbox",
        limit=0.3,
        unit="ms",
        row="shared",
        names=(ROOT, ROOTLESS),
        times=("cpu", "wall"),
    ),
    Bar(
        what="processor time that the plugin adds to a start, with bytecode",
        limit=15,
        unit="ms",
        row="start",
        names=(START,),
    ),
    Bar(
        what="processor time that the plugin adds to a start, without bytecode",
        limit=40,
        unit="ms",
        row="start",
        names=(START_BARE,),
    ),
    Bar(
        what="processor and wall time of the first isolated test",
        limit=25,
        unit="ms",
        row="first",
        names=(ROOT, ROOTLESS),
        times=("cpu", "wall"),
    ),
    Bar(
        what="memory that is kept for each isolated test",
        limit=300,
        unit="bytes",
        row="growth",
    ),
)


def median(rounds: Sequence[Cost]) -> Cost:
    """
    Return the median of each time.
    """
    cpu, wall = zip(*rounds, strict=True)
    return Cost(statistics.median(cpu), statistics.median(wall))


def each(cost: Cost, tests: int) -> Cost:
    """
    Return the part of *cost* that each of *tests* has.
    """
    return Cost(cost.cpu / tests, cost.wall / tests)


def added(costs: Sequence[Cost], plain: Sequence[Cost], tests: int) -> tuple[Cost, ...]:
    """
    Return what each of *tests* added to the *plain* session of the same round.
    """
    return tuple(
        Cost((one.cpu - other.cpu) / tests, (one.wall - other.wall) / tests)
        for one, other in zip(costs, plain, strict=True)
    )


def ratio(point: Point, points: Iterable[Point]) -> Cost | None:
    """
    Return the median ratio of *point* to the reference under the same condition.

    The sessions of one round run next to each other, on an equally busy machine; so
    ratios are taken round by round. A round in which the reference added nothing says
    nothing. None if there is no reference.
    """
    for other in points:
        if (
            other.name == REFERENCE
            and other.rounds
            and condition(other) == condition(point)
        ):
            ratios = [
                Cost(one.cpu / ref.cpu, one.wall / ref.wall)
                for one, ref in zip(point.rounds, other.rounds, strict=True)
                if min(ref) > 0
            ]
            return median(ratios) if ratios else None
    return None


def condition(point: Point) -> tuple[str, str, str, str]:
    """
    Return under what *point* was measured.
    """
    return point.row, point.python, point.parent, point.machine


def held_to(
    bar: Bar, points: Sequence[Point], growths: Sequence[Growth]
) -> list[float]:
    """
    Return the figures that *bar* is for, under all conditions.
    """
    if bar.unit == "bytes":
        return [one.each for one in growths]
    found: list[float] = []
    for point in points:
        if point.row != bar.row or point.name not in bar.names or not point.rounds:
            continue
        if bar.machine not in ("", point.machine):
            continue
        cost = point.median if bar.unit == "ms" else ratio(point, points)
        if cost is not None:
            found += [getattr(cost, time) for time in bar.times]
    return found


def verdict(bar: Limit, values: Sequence[float]) -> str:
    """
    Say whether all *values* meet *bar*.
    """
    if not values:
        return "not measured"
    return "met" if max(values) <= bar.limit else "MISSED"
