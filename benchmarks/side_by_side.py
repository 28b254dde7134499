"""
Tests side by side, against pytest-xdist with as many processes.

Whole sessions are compared: what people wait for, what the processors do, and how much
memory all processes have together. Each suite is run in each way, next to the others.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from figures import Cost, Limit, median
from rows import Bench, say
from suites import session

#: How many tests of a suite there are if ``--tests`` has its default.
_USUAL = 300

_SLEEP = """
import time
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_sleeps(number):
    time.sleep(0.05)
"""

_NOTHING = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_nothing(number):
    pass
"""

_COLLECTION = """
import time
import pytest

# What imports and parametrisation take in a large suite.
until = time.process_time() + {seconds}
while time.process_time() < until:
    pass

@pytest.mark.parametrize("number", range({tests}))
def test_short(number):
    until = time.process_time() + 0.005
    while time.process_time() < until:
        pass
"""

#: Where the fixture writes a line each time that it is set up.
_SET_UPS = "set-ups"

_FIXTURE = f"""
import time
import pytest

@pytest.fixture(scope="session")
def server():
    with open("{_SET_UPS}", "a") as file:
        print("set up", file=file)
    time.sleep({{seconds}})

@pytest.mark.parametrize("number", range({{tests}}))
def test_with(server, number):
    time.sleep(0.05)
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """
    A suite, and with how many jobs it is run.
    """

    name: str
    words: str
    """What the table says of its tests, with a place for the seconds."""
    module: str
    """Its module, with places for the number of tests and the seconds."""
    tests: int
    jobs: tuple[int, ...]
    seconds: float = 0
    """How long its collection or its fixture takes."""

    def of(self, tests: int) -> Work:
        """
        Return this suite with fewer tests and jobs, if *tests* are fewer than usual.
        """
        if tests >= _USUAL:
            return self
        return dataclasses.replace(
            self,
            tests=max(min(self.tests, 4), self.tests * tests // _USUAL),
            jobs=tuple(one for one in self.jobs if one <= _FIRST_IMPRESSION),
            seconds=self.seconds * tests / _USUAL,
        )

    def filled(self, text: str) -> str:
        """
        Return *text* with what belongs in its places.
        """
        return text.format(tests=self.tests, seconds=f"{self.seconds:.2g}")

    @property
    def title(self) -> str:
        """
        What the table calls it.
        """
        many = "tests" if self.tests > 1 else "test"
        return f"{self.tests:,} {many} {self.filled(self.words)}"


SLEEP, NOTHING, GROWING = "sleep", "nothing", "growing"
COLLECTION, FIXTURE = "collection", "fixture"
LANES = (1, 2, 4, 8, 16, 32)

#: How many jobs there are at most, if there are fewer tests than usual. Bars take so
#: many.
_FIRST_IMPRESSION = 8

#: With how many jobs the number of tests grows.
FEW = 2

_DO_NOTHING = "doing nothing"

WORKS = (
    Work(
        name=SLEEP,
        words="sleeping 50 ms each",
        module=_SLEEP,
        tests=200,
        jobs=LANES,
    ),
    Work(name=NOTHING, words=_DO_NOTHING, module=_NOTHING, tests=300, jobs=LANES),
    *(
        Work(name=GROWING, words=_DO_NOTHING, module=_NOTHING, tests=tests, jobs=(FEW,))
        for tests in (1, 30, 1000, 3000)
    ),
    Work(
        name=COLLECTION,
        words="of 5 ms, {seconds} s to collect",
        module=_COLLECTION,
        tests=2000,
        jobs=(2,),
        seconds=3,
    ),
    Work(
        name=FIXTURE,
        words="of 50 ms, with a session fixture of {seconds} s",
        module=_FIXTURE,
        tests=20,
        jobs=(4,),
        seconds=2,
    ),
)

#: What is compared: the environment, and the arguments for N jobs.
WAYS: Mapping[str, tuple[str, Callable[[int], list[str]]]] = {
    "plain": ("plain", lambda _: []),
    "side by side": ("ours", lambda jobs: ["--nsisolate", f"--nsisolate-jobs={jobs}"]),
    "pytest-xdist": ("pytest-xdist", lambda jobs: ["-n", str(jobs)]),
    "the same with pytest-forked": (
        "pytest-xdist",
        lambda jobs: ["-n", str(jobs), "--forked"],
    ),
}
PLAIN, OURS, XDIST, FORKED = WAYS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Beside:
    """
    What a suite took in one way, with one number of jobs.
    """

    work: str
    """The name of the suite."""
    title: str
    """What the table calls it."""
    tests: int
    way: str
    jobs: int
    """A plain session has one, and is there once for each suite."""
    rounds: tuple[Cost, ...]
    memory: float | None
    """The most that all processes had together, in MiB, if it could be measured."""
    set_ups: int
    """How often the session fixture was set up in a session; 0: there is none."""

    @property
    def median(self) -> Cost:
        """
        The median of each time.
        """
        return median(self.rounds)


def measure(bench: Bench) -> list[Beside]:
    """
    Measure all suites in all ways.

    The sessions in which memory is measured come first. They also fill caches.
    """
    works = [work.of(bench.tests) for work in WORKS]
    sessions = [(work, way, jobs) for work in works for way, jobs in ways_of(work)]
    say(f"{len(sessions)} sessions for memory")
    memory = [_peak(bench, *one) for one in sessions]
    costs: list[list[Cost]] = [[] for _ in sessions]
    for number in range(bench.rounds):
        say(f"{len(sessions)} sessions, round {number + 1} of {bench.rounds}")
        for one, found in zip(sessions, costs, strict=True):
            place, command = _session(bench, *one)
            found.append(bench.accounting.run(command, place, **bench.variables()))
    return [
        Beside(
            work=work.name,
            title=work.title,
            tests=work.tests,
            way=way,
            jobs=jobs,
            rounds=tuple(found),
            memory=peak,
            set_ups=set_ups,
        )
        for (work, way, jobs), found, (peak, set_ups) in zip(
            sessions, costs, memory, strict=True
        )
    ]


def ways_of(work: Work) -> Iterator[tuple[str, int]]:
    """
    Yield the ways in which *work* is run, with the number of jobs.
    """
    yield PLAIN, 1
    for jobs in work.jobs:
        for way in (OURS, XDIST, FORKED):
            yield way, jobs


def _session(bench: Bench, work: Work, way: str, jobs: int) -> tuple[Path, list[str]]:
    """
    Return where the session runs, and its command.
    """
    environment, arguments = WAYS[way]
    interpreter = bench.environments.interpreter(environment)
    place = bench.suites.of(work.filled(work.module))
    return place, session(interpreter, *arguments(jobs))


def _peak(bench: Bench, work: Work, way: str, jobs: int) -> tuple[float | None, int]:
    """
    Return how much memory a session takes, and how often its fixture is set up.
    """
    place, command = _session(bench, work, way, jobs)
    notes = place / _SET_UPS
    notes.unlink(missing_ok=True)
    peak = bench.accounting.peak(command, place, **bench.variables())
    return peak, len(notes.read_text().splitlines()) if notes.exists() else 0


#: Finds what was measured: by suite, way and number of jobs.
Find = Callable[[str, str, int], Beside]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gain(Limit):
    """
    The most that tests side by side may take.
    """

    of: Callable[[Find], Sequence[float] | float | None]
    """What is limited; of several figures, from one round each, the median."""


def _ratios(
    ours: Beside, theirs: Beside, figure: Callable[[Cost], float]
) -> list[float]:
    """
    Return the ratios round by round: an equally busy machine had both.
    """
    return [
        figure(one) / figure(other)
        for one, other in zip(ours.rounds, theirs.rounds, strict=True)
    ]


def _wall(cost: Cost) -> float:
    return cost.wall


def _cpu(cost: Cost) -> float:
    return cost.cpu


def _to_sleep(find: Find) -> list[float]:
    # The first suite that grows has one test.
    ours, start = find(SLEEP, OURS, 8), find(GROWING, PLAIN, 1)
    ideal = ours.tests * 50 / 8
    return [
        (one.wall - plain.wall) / ideal
        for one, plain in zip(ours.rounds, start.rounds, strict=True)
    ]


def _memory(find: Find) -> float | None:
    ours, theirs = find(COLLECTION, OURS, 2).memory, find(COLLECTION, XDIST, 2).memory
    return ours / theirs if ours and theirs else None


GAINS = (
    Gain(
        what="sleeping tests, 8 jobs: wall time without a plain start, "
        "to an eighth of what they sleep",
        limit=1.35,
        unit="times",
        of=_to_sleep,
    ),
    Gain(
        what="sleeping tests, 8 jobs: wall time, to pytest-xdist",
        limit=0.9,
        unit="times",
        of=lambda find: _ratios(find(SLEEP, OURS, 8), find(SLEEP, XDIST, 8), _wall),
    ),
    Gain(
        what="tests doing nothing, 2 jobs: wall time, to one job",
        limit=0.75,
        unit="times",
        of=lambda find: _ratios(find(NOTHING, OURS, 2), find(NOTHING, OURS, 1), _wall),
    ),
    Gain(
        what="a long collection, 2 jobs: wall time, to pytest-xdist",
        limit=1,
        unit="times",
        of=lambda find: _ratios(
            find(COLLECTION, OURS, 2), find(COLLECTION, XDIST, 2), _wall
        ),
    ),
    Gain(
        what="a long collection, 2 jobs: processor time, to pytest-xdist",
        limit=0.6,
        unit="times",
        of=lambda find: _ratios(
            find(COLLECTION, OURS, 2), find(COLLECTION, XDIST, 2), _cpu
        ),
    ),
    Gain(
        what="a long collection, 2 jobs: memory, to pytest-xdist",
        limit=0.6,
        unit="times",
        of=_memory,
    ),
    Gain(
        what="a session fixture, 4 jobs: how often it is set up",
        limit=1,
        unit="times",
        of=lambda find: find(FIXTURE, OURS, 4).set_ups,
    ),
)


def gained(gain: Gain, besides: Sequence[Beside]) -> list[float]:
    """
    Return the figure that *gain* is for; none if it was not measured.
    """

    def find(work: str, way: str, jobs: int) -> Beside:
        key = work, way, jobs
        return next(one for one in besides if (one.work, one.way, one.jobs) == key)

    if not besides:
        return []
    value = gain.of(find)
    if value is None:
        return []
    return [statistics.median(value) if isinstance(value, Sequence) else value]
