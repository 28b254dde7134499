"""
The record of a run: when each test ran, and what happened around it.

It is kept while tests run, and read when they have. All times are in seconds since the
epoch, as the clock stood at the beginning.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Literal, NamedTuple, TypeAlias

#: How a test ran: in a guest of its own, in one that tests share, on the host, or not
#: at all, since it was skipped or refused.
Kind: TypeAlias = Literal["guest", "shared", "host", "none"]

#: What became of a test, by the reports so far; "dropped" if there is none.
Outcome: TypeAlias = Literal[
    "passed", "failed", "error", "skipped", "xfailed", "xpassed", "rerun", "dropped"
]

PHASES = ("setup", "call", "teardown")

#: Why no test may start though a lane is free.
Why: TypeAlias = Literal[
    "group", "host", "alone", "nproc", "marker", "turn", "fixtures", "end"
]


@dataclasses.dataclass(slots=True)
class Run:
    """
    One run of one test.
    """

    nodeid: str
    kind: Kind
    start: float
    """When its guest was released; of a test without a guest, when its turn came."""
    turn: float | None = None
    """When its turn came, if it has."""
    held: float | None = None
    """When it had to wait for its turn, if it had to."""
    over: float | None = None
    """When its guest had run it; None while it has not."""
    outcome: Outcome = "dropped"
    phases: list[tuple[str, float, float]] = dataclasses.field(default_factory=list)
    """Its phases, each with its start and stop."""
    shares: str = ""
    """What it shares its sandbox with, in words."""


class Outside(NamedTuple):
    """
    A phase of an isolated test outside of its guest, for what it borrows.
    """

    start: float
    stop: float
    phase: str
    nodeid: str


class Fixture(NamedTuple):
    """
    The setup of a fixture outside of guests, or its finalisation.
    """

    start: float
    stop: float
    action: Literal["set up", "finalised"]
    name: str
    scope: str
    nodeid: str
    """The test at whose turn it was."""


class Stop(NamedTuple):
    """
    A time in which no test might start, though a lane was free.
    """

    start: float
    stop: float
    why: Why
    nodeid: str
    """The test that had to wait; empty if there was none left."""
    shares: str
    """What it shares with a test that ran, in words."""


@dataclasses.dataclass(slots=True)
class Record:
    """
    What one process of pytest has recorded.
    """

    begin: float
    """When pytest had read its options."""
    process: str = ""
    """Which process of pytest-xdist it is; empty without it."""
    jobs: int = 0
    """How many isolated tests might run at the same time; 0: none was to run."""
    collected: float | None = None
    """When the tests were collected."""
    end: float | None = None
    runs: list[Run] = dataclasses.field(default_factory=list)
    outside: list[Outside] = dataclasses.field(default_factory=list)
    fixtures: list[Fixture] = dataclasses.field(default_factory=list)
    stops: list[Stop] = dataclasses.field(default_factory=list)

    def dumped(self) -> str:
        """
        Return the record as text in ASCII, whatever the ids of tests have in them.
        """
        values = {name: getattr(self, name) for name in self.__slots__}
        values["runs"] = [
            [getattr(one, name) for name in one.__slots__] for one in self.runs
        ]
        return json.dumps(values)


def loaded(text: str) -> Record:
    """
    Return the record that was dumped as *text*.
    """
    values = json.loads(text)
    values["runs"] = [Run(*one) for one in values["runs"]]
    for name, kind in (("outside", Outside), ("fixtures", Fixture), ("stops", Stop)):
        values[name] = [kind(*one) for one in values[name]]
    return Record(**values)
