"""
Where the time of a run went: the lanes, what ran there, and why they stood empty.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pytest_nsisolate.reporting.record import Fixture, Record, Run

#: Why a lane stood empty, and what to say of that. The first that holds counts.
WHY = {
    "set up": "a fixture was set up outside",
    "finalised": "a fixture was finalised outside",
    "outside": "pytest did something else outside, before or after a test",
    "hosts": "a test ran on the host",
    "fixtures": "others had to end before a fixture was set up or finalised",
    "host": "others had to end before a test on the host",
    "alone": "a test ran alone (alone=True), or others had to end before it",
    "nproc": "a test ran alone (nproc=), or others had to end before it",
    "marker": "others had to end before a test with a wrong marker",
    "group": "tests that share something waited for each other",
    "turn": "the next test had to wait for its turn",
    "end": "no other test was left that might start beside those that ran",
    "rest": "pytest started and ended guests, and reported",
}


class Empty(NamedTuple):
    """
    A time in which lanes stood empty, all for the same reason, if they did.
    """

    start: float
    stop: float
    why: str
    """A key of `WHY`."""
    what: str
    """The fixture, or what is shared; empty if there is none."""
    nodeid: str
    """The test that had to wait, or for which something was done; empty if none."""


class Wait(NamedTuple):
    """
    What was lost in one such time.
    """

    empty: Empty
    lanes: int
    """How many lanes stood empty, at least for a part of it."""
    lost: float
    """In lanes times seconds."""


class Lane(NamedTuple):
    """
    A lane, and what ran there.
    """

    runs: list[Run]
    busy: float
    """Seconds."""
    gaps: list[tuple[float, float]]


class Account(NamedTuple):
    """
    The account of one process of pytest.
    """

    record: Record
    start: float
    """When the turn of the first test came; from here on lanes count as empty."""
    stop: float
    """When the last test was over, and what it borrowed finalised."""
    lanes: list[Lane]
    empties: list[Empty]
    waits: list[Wait]
    lost: dict[str, float]
    """For each key of `WHY`, what was lost, in lanes times seconds."""


def account_of(record: Record) -> Account:
    """
    Return the account of *record*.
    """
    end = record.end if record.end is not None else record.begin
    for run in record.runs:
        run.over = max(run.start, end if run.over is None else run.over)
    starts = [min(run.start, run.turn or run.start) for run in record.runs]
    start = min([*starts, *(one.start for one in record.outside)], default=end)
    stops = [*map(_over, record.runs), *(one.stop for one in record.outside)]
    stop = max(stops, default=end)
    lanes = _lanes(record, start, stop)
    empties = [*_empties(record)]
    waits = _waits(lanes, empties)
    lost = dict.fromkeys(WHY, 0.0)
    for wait in waits:
        lost[wait.empty.why] += wait.lost
    every = sum(gap[1] - gap[0] for lane in lanes for gap in lane.gaps)
    lost["rest"] = max(0.0, every - sum(lost.values()))
    return Account(record, start, stop, lanes, empties, waits, lost)


def _over(run: Run) -> float:
    assert run.over is not None
    return run.over


def _lanes(record: Record, start: float, stop: float) -> list[Lane]:
    """
    Return the lanes: each guest is in the first in which no other one ran.
    """
    runs = [one for one in record.runs if one.kind in {"guest", "shared"}]
    rows: list[list[Run]] = [[] for _ in range(record.jobs if runs else 0)]
    for run in sorted(runs, key=lambda run: run.start):
        for row in rows:
            if not row or _over(row[-1]) <= run.start:
                row.append(run)
                break
        else:
            rows.append([run])
    lanes = []
    for row in rows:
        edges = [start, *(edge for run in row for edge in (run.start, _over(run)))]
        gaps = [
            (one, other)
            for one, other in zip(edges[::2], [*edges[1::2], stop], strict=True)
            if one < other
        ]
        lanes.append(Lane(row, sum(_over(run) - run.start for run in row), gaps))
    return lanes


def _empties(record: Record) -> Iterator[Empty]:
    """
    Yield the times in which a lane that stands empty does so for a reason, in order.
    """
    spans: list[tuple[int, Empty]] = []
    spans += [
        (0, Empty(one.start, one.stop, one.action, _words(one), one.nodeid))
        for one in record.fixtures
    ]
    spans += [
        (1, Empty(one.start, one.stop, "outside", "", one.nodeid))
        for one in record.outside
    ]
    spans += [
        (2, Empty(run.start, _over(run), "hosts", "", run.nodeid))
        for run in record.runs
        if run.kind == "host"
    ]
    spans += [(3, one) for one in _stops(record)]
    yield from _told_apart(spans)


def _stops(record: Record) -> Iterator[Empty]:
    """
    Yield the times in which no test might start, with what was set up after them.
    """
    starts = {run.nodeid: run.start for run in record.runs}
    fixtures = sorted(record.fixtures)
    times = [one.start for one in fixtures]
    for stop in record.stops:
        why, what = str(stop.why), stop.shares
        if why == "turn":
            first = bisect_left(times, stop.start)
            last = bisect_left(times, starts.get(stop.nodeid, stop.stop))
            found = dict.fromkeys(map(_words, fixtures[first:last]))
            if found:
                why, what = "fixtures", ", ".join(found)
        yield Empty(stop.start, stop.stop, why, what, stop.nodeid)


def _words(fixture: Fixture) -> str:
    return f"{fixture.scope} fixture {fixture.name}"


def _told_apart(spans: Sequence[tuple[int, Empty]]) -> Iterator[Empty]:
    """
    Yield the parts of *spans* that do not overlap, in order.

    Of those that do, the one with the lowest number counts, and then the inner one.
    """
    edges = sorted({edge for _, one in spans for edge in (one.start, one.stop)})
    waiting = sorted(spans, key=lambda span: span[1].start, reverse=True)
    active: list[tuple[int, Empty]] = []
    latest: Empty | None = None
    shown: Empty | None = None
    for start, stop in itertools.pairwise(edges):
        while waiting and waiting[-1][1].start <= start:
            active.append(waiting.pop())
        active = [span for span in active if span[1].stop > start]
        if not active:
            continue
        found = min(active, key=lambda span: (span[0], -span[1].start))[1]
        if latest is not None and shown is found and latest.stop == start:
            latest = latest._replace(stop=stop)
            continue
        if latest is not None:
            yield latest
        latest, shown = found._replace(start=start, stop=stop), found
    if latest is not None:
        yield latest


def _waits(lanes: list[Lane], empties: list[Empty]) -> list[Wait]:
    """
    Return what was lost in each of *empties*, if anything was.
    """
    counts, lost = [0] * len(empties), [0.0] * len(empties)
    stops = [one.stop for one in empties]
    for lane in lanes:
        for start, stop in lane.gaps:
            for place in range(bisect_left(stops, start), len(empties)):
                one = empties[place]
                if one.start >= stop:
                    break
                part = min(stop, one.stop) - max(start, one.start)
                if part > 0:
                    counts[place] += 1
                    lost[place] += part
    return [
        Wait(one, min(count, len(lanes)), seconds)
        for one, count, seconds in zip(empties, counts, lost, strict=True)
        if seconds > 0
    ]
