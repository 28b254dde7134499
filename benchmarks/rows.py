"""
The rows of the tables: what is run for each, and what is subtracted from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from accounting import Accounting, Failed
from environments import Environments
from figures import ROOT, ROOTLESS, START, START_BARE, Cost, Growth, Point, added, each
from suites import (
    FORKS,
    ISOLATED,
    LOOK,
    MACHINES,
    MESSAGES,
    OVERLAID,
    PARENTS,
    SHARED,
    STARTS,
    WAYS,
    Suites,
    Way,
    session,
)

#: How many pages a fork writes to: about as many as a guest does.
PAGES = 1000

#: How many times as many rounds there are of what comes once in a session, and of what
#: is small for each test.
ONCE, SMALL = 6, 3

FORK = "fork of pytest"
FORK_HEAVY = "fork of pytest with 90 MB"
FORK_PAGES = f"fork of pytest that writes to {PAGES:,} pages"
SANDBOX_ROOT = "namespaces and mounts in C, as root"
SANDBOX_ROOTLESS = "namespaces and mounts in C, rootless"

INTERPRETER = "start of a Python that imports nothing"
TALK = "a word to another process, and four messages back"

FLOOR = (
    FORK,
    FORK_HEAVY,
    FORK_PAGES,
    SANDBOX_ROOT,
    SANDBOX_ROOTLESS,
    INTERPRETER,
    TALK,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bench:
    """
    What all measurements of one interpreter have in common.
    """

    accounting: Accounting
    environments: Environments
    suites: Suites
    base: Path
    rounds: int
    tests: int
    growth: int
    user: str | None
    """Who runs what is rootless; None is who runs this."""

    @property
    def python(self) -> str:
        """
        The version of Python.
        """
        return self.environments.version

    @property
    def kinds(self) -> dict[str, str | None]:
        """
        The ways of this plugin, and the user for each.
        """
        rootless = {ROOTLESS: self.user}
        return {ROOT: None, **rootless} if os.geteuid() == 0 else rootless

    def run(
        self,
        environment: str,
        suite: Path,
        *arguments: str,
        user: str | None = None,
        **variables: str,
    ) -> Cost:
        """
        Run a session and return what it took.
        """
        interpreter = self.environments.interpreter(environment)
        command = session(interpreter, *arguments)
        return self.accounting.run(
            command, suite, user, **self.variables(), **variables
        )

    def variables(self) -> dict[str, str]:
        """
        Return the environment variables for every session.
        """
        return {"TMPDIR": str(self.base / "tmp")}

    def counted(self, times: int = 1) -> Iterator[bool]:
        """
        Yield for each round whether it counts: the first fills caches.

        Args:
            times: How many times as many rounds are needed, as for differences that are
                small beside the noise.
        """
        yield False
        for _ in range(self.rounds * times):
            yield True

    def conditions(self) -> Iterator[tuple[str, str, str]]:
        """
        Yield each parent, its conftest and the machine, which is busy where it says so.
        """
        for parent, conftest in PARENTS.items():
            for machine in MACHINES:
                say(f"Python {self.python}, {parent} parent, {machine} machine")
                load = self.accounting.load() if machine == "busy" else None
                with load or contextlib.nullcontext():
                    yield parent, conftest, machine

    def why(self, failed: Failed) -> str:
        """
        Return the line of what was printed that says why it failed.
        """
        lines = [line for line in str(failed).splitlines() if line.strip()] or ["?"]
        errors = [line[1:] for line in lines if line.startswith("E ")]
        text = (errors or lines)[-1].strip().replace(str(self.base), "")
        return text.replace("|", "/")


def start(bench: Bench) -> list[Point]:
    """
    Measure what the plugin adds to a session that isolates nothing.

    This comes first: an environment keeps the bytecode that was written there.
    """
    points = []
    for name, variables in (
        (START_BARE, {"PYTHONDONTWRITEBYTECODE": "1"}),
        (START, {}),
    ):
        for parent, conftest, machine in bench.conditions():
            suite = bench.suites.trivial(1, conftest)
            without, with_it = [], []
            for counts in bench.counted(ONCE):
                one = bench.run("plain", suite, **variables)
                other = bench.run("ours", suite, **variables)
                if counts:
                    without.append(one)
                    with_it.append(other)
            points.append(
                Point(
                    row="start",
                    name=name,
                    python=bench.python,
                    parent=parent,
                    machine=machine,
                    rounds=added(with_it, without, 1),
                )
            )
    return points


def first(bench: Bench) -> list[Point]:
    """
    Measure what the first isolated test of a session adds to the session.
    """
    points = []
    for parent, conftest, machine in bench.conditions():
        suite = bench.suites.trivial(1, conftest)
        for name, user in bench.kinds.items():
            plain, isolated = [], []
            for counts in bench.counted(ONCE):
                one = bench.run("ours", suite, user=user)
                other = bench.run("ours", suite, "--nsisolate", user=user)
                if counts:
                    plain.append(one)
                    isolated.append(other)
            points.append(
                Point(
                    row="first",
                    name=name,
                    python=bench.python,
                    parent=parent,
                    machine=machine,
                    rounds=added(isolated, plain, 1),
                )
            )
    return points


def shared(bench: Bench) -> list[Point]:
    """
    Measure what a further test in a shared sandbox adds to a plain session.

    Sessions of many tests are compared with sessions of one, so that the start of the
    session and the first isolated test do not count.
    """
    points = []
    for parent, conftest, machine in bench.conditions():
        many, one = (
            bench.suites.trivial(tests, conftest) for tests in (bench.tests, 1)
        )
        many_shared, one_shared = (
            bench.suites.trivial(tests, conftest, SHARED) for tests in (bench.tests, 1)
        )
        for name, user in bench.kinds.items():
            plain: list[Cost] = []
            isolated: list[Cost] = []
            for counts in bench.counted(SMALL):
                ours = (
                    bench.run("ours", many_shared, user=user),
                    bench.run("ours", one_shared, user=user),
                )
                theirs = (
                    bench.run("plain", many, user=user),
                    bench.run("plain", one, user=user),
                )
                if counts:
                    isolated += added(ours[:1], ours[1:], 1)
                    plain += added(theirs[:1], theirs[1:], 1)
            points.append(
                Point(
                    row="shared",
                    name=name,
                    python=bench.python,
                    parent=parent,
                    machine=machine,
                    tests=bench.tests,
                    rounds=added(isolated, plain, bench.tests - 1),
                )
            )
    return points


def overlay(bench: Bench) -> list[Point]:
    """
    Measure what an overlay of the rootdir adds to an isolated test.
    """
    points = []
    for parent, conftest, machine in bench.conditions():
        without = bench.suites.trivial(bench.tests, conftest, ISOLATED)
        suite = bench.suites.trivial(bench.tests, conftest, OVERLAID)
        for name, user in bench.kinds.items():
            plain: list[Cost] = []
            overlaid: list[Cost] = []
            for counts in bench.counted(SMALL):
                one = bench.run("ours", without, user=user)
                other = bench.run("ours", suite, user=user)
                if counts:
                    plain.append(one)
                    overlaid.append(other)
            points.append(
                Point(
                    row="overlay",
                    name=name,
                    python=bench.python,
                    parent=parent,
                    machine=machine,
                    tests=bench.tests,
                    rounds=added(overlaid, plain, bench.tests),
                )
            )
    return points


def isolated(bench: Bench) -> list[Point]:
    """
    Measure what an isolated test adds to a plain session, here and with the peers.
    """
    ways, reasons = _working(bench)
    points = []
    for parent, conftest, machine in bench.conditions():
        costs = _rounds(bench, ways, conftest)
        for way in WAYS:
            rounds, tests = costs.get(way.name, ((), 0))
            points.append(
                Point(
                    row="isolated",
                    name=way.name,
                    python=bench.python,
                    parent=parent,
                    machine=machine,
                    tests=tests,
                    rounds=rounds,
                    reason=reasons.get(way.name, ""),
                )
            )
    return points


def _working(bench: Bench) -> tuple[list[Way], dict[str, str]]:
    """
    Return the ways that work, and why the others do not.
    """
    ways, reasons = [], {}
    for way in WAYS:
        if way.takes_root and os.geteuid():
            reasons[way.name] = "takes root"
        elif way.prefix and shutil.which(way.prefix[0]) is None:
            reasons[way.name] = f"{way.prefix[0]} is not installed"
        else:
            try:
                _session(bench, way, "", 2)
            except Failed as why:
                if way.environment == "ours":
                    raise
                reasons[way.name] = bench.why(why)
            else:
                ways.append(way)
    return ways, reasons


def _rounds(
    bench: Bench, ways: list[Way], conftest: str
) -> dict[str, tuple[tuple[Cost, ...], int]]:
    """
    Return what a test adds in each way, round by round, and how many tests there were.
    """
    counts = {way.name: way.count(bench.tests) for way in ways}
    plain: list[Cost] = []
    costs: dict[str, list[Cost]] = {name: [] for name in counts}
    for counted in bench.counted():
        suite = bench.suites.trivial(bench.tests, conftest)
        cost = each(bench.run("plain", suite), bench.tests)
        if counted:
            plain.append(cost)
        for way in ways:
            tests = counts[way.name]
            cost = each(_session(bench, way, conftest, tests), tests)
            if counted:
                costs[way.name].append(cost)
    return {
        name: (added(costs[name], plain, 1), tests) for name, tests in counts.items()
    }


def _session(bench: Bench, way: Way, conftest: str, tests: int) -> Cost:
    """
    Run *tests* in one *way*.
    """
    interpreter = bench.environments.interpreter(way.environment)
    suite = bench.suites.trivial(tests, conftest, way.head)
    user = bench.user if way.rootless else None
    command = way.command(interpreter, tests)
    return bench.accounting.run(command, suite, user, **bench.variables())


def floor(bench: Bench) -> list[Point]:
    """
    Measure what cannot be avoided.

    That is forks of pytest, sandboxes made in C, the start of an interpreter for the
    launcher, and messages between two processes.
    """
    return [*_repeated(bench), *_sandboxes(bench)]


def _repeated(bench: Bench) -> list[Point]:
    """
    Measure what a test of pytest does many times.
    """
    points = []
    for name, parent, module, pages in (
        (FORK, "bare", FORKS, 0),
        (FORK_HEAVY, "90 MB", FORKS, 0),
        (FORK_PAGES, "bare", FORKS, PAGES),
        (INTERPRETER, "bare", STARTS, 0),
        (TALK, "bare", MESSAGES, 0),
    ):
        suite = bench.suites.of(module, PARENTS[parent])
        # One that is short is done more often, to stand out from the noise.
        number = bench.tests * (20 if name == TALK else 1)
        none: list[Cost] = []
        many: list[Cost] = []
        for counts in bench.counted():
            for times, costs in ((0, none), (number, many)):
                cost = bench.run("plain", suite, TIMES=str(times), PAGES=str(pages))
                if counts:
                    costs.append(cost)
        points.append(
            Point(
                row="floor",
                name=name,
                python=bench.python,
                parent=parent,
                tests=number,
                rounds=added(many, none, number),
            )
        )
    return points


def _sandboxes(bench: Bench) -> list[Point]:
    """
    Measure sandboxes that a program in C makes.
    """
    program = bench.base / "floor"
    source = Path(__file__).parent / "floor.c"
    reason = "" if shutil.which("cc") else "there is no C compiler"
    if not reason:
        bench.accounting.run(["cc", "-O2", "-o", str(program), str(source)], bench.base)
    points = []
    for name, user, extra in (
        (SANDBOX_ROOT, None, []),
        (SANDBOX_ROOTLESS, bench.user, ["user"]),
    ):
        why = "takes root" if not extra and os.geteuid() else reason
        none: list[Cost] = []
        many: list[Cost] = []
        for counts in () if why else bench.counted():
            for count, costs in ((0, none), (bench.tests, many)):
                command = [str(program), str(count), *extra]
                cost = bench.accounting.run(command, bench.base, user)
                if counts:
                    costs.append(cost)
        points.append(
            Point(
                row="floor",
                name=name,
                python=bench.python,
                tests=bench.tests,
                rounds=added(many, none, bench.tests),
                reason=why,
            )
        )
    return points


def growth(bench: Bench) -> Growth:
    """
    Measure how much more memory is kept for an isolated test than for a plain one.

    Sessions of many tests are compared with sessions of a tenth of them: what is loaded
    once does not count.
    """
    many, few = bench.growth, bench.growth // 10
    kept = []
    for environment, arguments in (("ours", ["--nsisolate"]), ("plain", [])):
        ends = []
        for tests in (many, few):
            suite = bench.suites.trivial(tests, LOOK)
            seen = bench.base / "seen"
            bench.run(environment, suite, *arguments, SEEN=str(seen))
            ends.append(int(seen.read_text()) * os.sysconf("SC_PAGE_SIZE"))
        kept.append((ends[0] - ends[1]) / (many - few))
    return Growth(python=bench.python, tests=many, each=kept[0] - kept[1])


def say(text: str) -> None:
    """
    Tell the person who waits what is being measured.
    """
    print(text, file=sys.stderr, flush=True)
