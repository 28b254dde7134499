"""
Results of a suite's run, and the differences between two of them.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from commands import CannotRun

#: Addresses and durations, which change with each run.
_CHANGING = re.compile(r"0x[0-9a-f]+|\b\d+\.\d+ ?m?s\b")


@dataclasses.dataclass(frozen=True)
class Difference:
    """
    Something that one run has and another lacks.
    """

    kind: str
    """One of `KINDS`."""
    about: str
    """The test or file."""
    text: str
    """The difference."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.about}: {self.text}"


KINDS = ("outcomes", "warnings", "coverage")


@dataclasses.dataclass(frozen=True)
class Result:
    """
    The results of one run.
    """

    seconds: float
    outcomes: dict[str, tuple[str, ...]]
    """The phases of each test: outcome, category and reason of skips."""
    reasons: dict[str, str]
    """The first line of the reason of each test that did not pass."""
    warnings: dict[str, int]
    """How often each was issued, by test, place, category and message."""
    covered: dict[str, frozenset[str]]
    """The lines and branches of each file that ran."""
    one_job: str
    """Why tests ran one after the other, if they should have run side by side."""


def read(
    record: Path,
    coverage: Path | None,
    *,
    seconds: float,
    isolated: bool,
    one_job: str,
) -> Result:
    """
    Return what the plugin `record` and coverage.py wrote.

    Raises:
        CannotRun: There is nothing, or tests did not run where they should have.
    """
    try:
        reports, warnings, places = json.loads(record.read_text())
    except OSError as error:
        raise CannotRun(f"the run wrote no record: {error}") from None
    host = os.readlink("/proc/self/ns/ipc")
    if not places or isolated == (host in places):
        raise CannotRun(f"tests ran in {places}, and the host is {host}")
    phases: dict[str, list[str]] = collections.defaultdict(list)
    reasons: dict[str, str] = {}
    for test, phase, why in reports:
        phases[test].append(_steady(phase))
        if why:
            reasons[test] = f"({_steady(why)})"
    return Result(
        seconds=seconds,
        outcomes={test: tuple(sorted(found)) for test, found in phases.items()},
        reasons=reasons,
        warnings=collections.Counter(_steady(text) for text in warnings),
        covered={} if coverage is None else _covered(coverage),
        one_job=one_job,
    )


def compare(
    isolated: Result, plains: Sequence[Result]
) -> tuple[list[Difference], list[Difference]]:
    """
    Return how *isolated* differs from all *plains*, and how these differ.
    """
    different: list[Difference] = []
    unstable: list[Difference] = []
    results = [isolated, *plains]
    for test in _sorted(result.outcomes for result in results):
        here, *there = (result.outcomes.get(test, ()) for result in results)
        apart = _of(there[0], here if len(set(there)) == 1 else there[-1])
        text = f"plain {apart}, isolated {_of(here, there[0])}"
        whys = [result.reasons.get(test, "") for result in results]
        found = Difference("outcomes", test, " ".join([text, *filter(None, whys[:1])]))
        _sort_in(found, here, there, different, unstable)
    for warning in _sorted(result.warnings for result in results):
        number, *numbers = (result.warnings.get(warning, 0) for result in results)
        test, _, message = warning.partition(": ")
        text = f"plain {numbers}, isolated {number} times: {message}"
        found = Difference("warnings", test, " ".join(text.split()))
        _sort_in(found, number, numbers, different, unstable)
    for file in _sorted(result.covered for result in results):
        had, *sets = (result.covered.get(file, frozenset()) for result in results)
        always, ever = frozenset.intersection(*sets), frozenset.union(*sets)
        for title, places, found_list in (
            ("only plain", always - had, different),
            ("only isolated", had - ever, different),
            ("not always", ever - always, unstable),
        ):
            if places:
                text = f"{title}: {', '.join(sorted(places, key=_numbers))}"
                found_list.append(Difference("coverage", file, text))
    return different, unstable


def _sort_in(
    found: Difference,
    here: object,
    there: Sequence[object],
    different: list[Difference],
    unstable: list[Difference],
) -> None:
    if any(one != there[0] for one in there):
        unstable.append(found)
    elif here != there[0]:
        different.append(found)


def _sorted(keys: Iterable[Iterable[str]]) -> list[str]:
    return sorted(set(itertools.chain.from_iterable(keys)))


def _covered(report: Path) -> dict[str, frozenset[str]]:
    """
    Return the lines and branches in *report*, the JSON of coverage.py.
    """
    covered = {}
    for file, facts in json.loads(report.read_text())["files"].items():
        lines = {str(line) for line in facts["executed_lines"]}
        branches = {f"{a}->{b}" for a, b in facts["executed_branches"]}
        covered[file] = frozenset(lines | branches)
    return covered


def _of(phases: tuple[str, ...], others: tuple[str, ...]) -> str:
    """
    Return the *phases* that are not in *others*.
    """
    left = collections.Counter(phases) - collections.Counter(others)
    return " and ".join(left.elements()) or "nothing"


def _steady(text: str) -> str:
    return _CHANGING.sub("…", text)


def _numbers(place: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", place))
