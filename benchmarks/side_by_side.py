"""
Benchmark of tests side by side, against pytest-xdist with as many processes.

Usage: python benchmarks/side_by_side.py [options]

Measures whole sessions, round by round, each way next to the others: tests that sleep,
tests that do nothing, a suite whose collection takes long, and a session fixture that
takes long. Prints the medians, and whether each bar is met.

Exits 1 if a bar is missed, 2 if something could not be measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from accounting import Accounting, Failed
from environments import Environments
from figures import Cost
from page import table
from suites import session

SLEEP = """
import time
import pytest

@pytest.mark.parametrize("number", range(200))
def test_sleeps(number):
    time.sleep(0.05)
"""

TRIVIAL = """
import pytest

@pytest.mark.parametrize("number", range(300))
def test_nothing(number):
    pass
"""

COLLECTION = """
import time
import pytest

# What imports and parametrisation take in a large suite.
until = time.process_time() + 3
while time.process_time() < until:
    pass

@pytest.mark.parametrize("number", range(2000))
def test_short(number):
    until = time.process_time() + 0.005
    while time.process_time() < until:
        pass
"""

FIXTURE = """
import time
import pytest

@pytest.fixture(scope="session")
def server():
    time.sleep(2)

@pytest.mark.parametrize("number", range(20))
def test_with(server, number):
    time.sleep(0.05)
"""

#: What is compared: the environment, and the arguments for N jobs.
WAYS: Mapping[str, tuple[str, Callable[[int], list[str]]]] = {
    "side by side": ("ours", lambda jobs: ["--nsisolate", f"--nsisolate-jobs={jobs}"]),
    "plain": ("plain", lambda _: []),
    "xdist": ("pytest-xdist", lambda jobs: ["-n", str(jobs)]),
    "xdist, forked": ("pytest-xdist", lambda jobs: ["-n", str(jobs), "--forked"]),
}
OURS, PLAIN, XDIST, FORKED = WAYS


class Work(NamedTuple):
    """
    A suite, and how it is run.
    """

    module: str
    jobs: tuple[int, ...]
    ways: tuple[str, ...] = (OURS, XDIST, FORKED)


WORKS = {
    "200 tests that sleep 50 ms": Work(SLEEP, (1, 2, 4, 8, 16, 32)),
    "300 tests that do nothing": Work(TRIVIAL, (1, 2, 4, 8, 16, 32)),
    "2,000 tests of 5 ms, 3 s to collect": Work(COLLECTION, (2,), (OURS, XDIST)),
    "20 tests, a session fixture of 2 s": Work(FIXTURE, (4,)),
}

Figures = dict[tuple[str, str, int], Cost]


def main() -> int:
    """
    Do as the module's docstring says, and return the exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter")
    parser.add_argument("--only", default="", help="works with this in their names")
    options = parser.parse_args()
    os.umask(0o022)
    accounting = Accounting()
    try:
        with tempfile.TemporaryDirectory(
            prefix="nsisolate-bench-", ignore_cleanup_errors=True
        ) as base:
            environments = Environments(Path(base), options.python, accounting)
            figures, empty = _measured(options, accounting, environments, Path(base))
    except Failed as why:
        print(f"could not be measured:\n{why}", file=sys.stderr)
        return 2
    finally:
        accounting.close()
    heads = ("work", "jobs", "way", "wall", "processor time")
    print(
        table(
            heads,
            [
                (work, str(jobs), way, f"{cost.wall:.0f} ms", f"{cost.cpu:.0f} ms")
                for (work, way, jobs), cost in figures.items()
            ],
        )
    )
    missed = _verdicts(figures, empty)
    return int(missed)


def _measured(
    options: argparse.Namespace,
    accounting: Accounting,
    environments: Environments,
    base: Path,
) -> tuple[Figures, Cost]:
    """
    Return the medians, and that of a plain session without tests.
    """
    rounds: dict[tuple[str, str, int], list[Cost]] = {}
    empty: list[Cost] = []
    nothing = base / "nothing"
    nothing.mkdir()
    (nothing / "test_one.py").write_text("def test_one(): pass\n")
    chosen = {name: work for name, work in WORKS.items() if options.only in name}
    for number, work in enumerate(chosen.values()):
        place = base / f"work{number}"
        place.mkdir()
        (place / "test_work.py").write_text(work.module)
        (place / "pytest.ini").write_text("[pytest]\n")
    for _ in range(options.rounds):
        plain = environments.interpreter("plain")
        empty.append(accounting.run(session(plain, "test_one.py"), nothing))
        for number, (name, work) in enumerate(chosen.items()):
            for jobs in work.jobs:
                for way in work.ways:
                    environment, arguments = WAYS[way]
                    command = session(
                        environments.interpreter(environment), *arguments(jobs)
                    )
                    cost = accounting.run(command, base / f"work{number}")
                    rounds.setdefault((name, way, jobs), []).append(cost)
    figures = {key: _median(costs) for key, costs in rounds.items()}
    return figures, _median(empty)


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.wall for cost in costs),
    )


def _verdicts(figures: Figures, empty: Cost) -> bool:
    """
    Print whether each bar is met, and return whether one is missed.
    """
    sleep, trivial, collection, _ = WORKS
    missed = False
    bars: list[tuple[str, tuple[str, str, int], Callable[[Cost], float], float]] = [
        (
            f"{sleep}, 8 jobs: at most 1.35 of what sleep takes, and a plain start",
            (sleep, OURS, 8),
            lambda one: (one.wall - empty.wall) / (200 * 50 / 8),
            1.35,
        ),
        (
            f"{sleep}, 8 jobs: wall of xdist",
            (sleep, OURS, 8),
            lambda one: one.wall / figures[sleep, XDIST, 8].wall,
            0.9,
        ),
        (
            f"{trivial}, 2 jobs: wall of one job",
            (trivial, OURS, 2),
            lambda one: one.wall / figures[trivial, OURS, 1].wall,
            0.75,
        ),
        (
            f"{collection}, 2 jobs: wall of xdist",
            (collection, OURS, 2),
            lambda one: one.wall / figures[collection, XDIST, 2].wall,
            1.0,
        ),
        (
            f"{collection}, 2 jobs: processor time of xdist",
            (collection, OURS, 2),
            lambda one: one.cpu / figures[collection, XDIST, 2].cpu,
            0.6,
        ),
    ]
    for name, key, value, most in bars:
        if key in figures:
            is_met = value(figures[key]) <= most
            missed |= not is_met
            verdict = "met" if is_met else "MISSED"
            print(f"{name}: {value(figures[key]):.2f}, bar {most}: {verdict}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
