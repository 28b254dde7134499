"""
The same tests run twice, plain and isolated, and the two runs compared.

A plugin, so that its asserts are explained and its fixture is there.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

#: What differs from run to run, plain or not, and what is put in its place.
_NORMAL = (
    (r"nsisolate: .*", "nsisolate: …"),
    (r"\d+\.\d+ ?s\b", "0s"),
    (r"0s \(\d+:\d\d:\d\d\)", "0s"),
    (r"0x[0-9a-f]{6,}", "0x"),
    (r"(=+|-+|_+)(?= )|(?<= )(=+|-+|_+)", "="),
    (r'(?<= time=")[^"]*"|(?<= timestamp=")[^"]*"', '"'),
)

#: To import Hypothesis anew for each run would take longer than the run.
WITHOUT = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")

_RECORDER = Path(__file__).with_name("recorder.py")

#: Lines of --durations, which are in the order of their times.
_DURATION = re.compile(r"0s (setup|call|teardown) ")


@dataclasses.dataclass(frozen=True)
class Run:
    """
    One of the two runs.
    """

    result: pytest.RunResult
    events: list[list[Any]]
    warnings: list[list[Any]]
    places: list[bool]

    @property
    def reports(self) -> list[dict[str, str]]:
        """
        What the reports say, in order.
        """
        return [event[1] for event in self.events if event[0] == "report"]

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """
        Phase and outcome of the reports, in order.
        """
        return [(report["when"], report["outcome"]) for report in self.reports]

    @property
    def stdout(self) -> str:
        """
        What the terminal shows.
        """
        return self.result.stdout.str()


#: Takes arguments for pytest, and *apart*; returns the isolated run.
Twins = Callable[..., Run]


def normal(text: str) -> list[str]:
    """
    Return the lines of *text* without what differs from run to run.
    """
    for pattern, replacement in _NORMAL:
        text = re.sub(pattern, replacement, text)
    lines = text.splitlines()
    timed = sorted(line for line in lines if _DURATION.match(line))
    return [line for line in lines if not _DURATION.match(line)] + timed


def differing(what: str, isolated: Sequence[Any], plain: Sequence[Any]) -> list[str]:
    """
    Say where the two sequences differ.
    """
    found = []
    for number, (one, other) in enumerate(itertools.zip_longest(isolated, plain)):
        if one == other:
            continue
        pairs = [("", one, other)]
        if what == "event" and one and other and one[0] == other[0] == "report":
            names = sorted({*one[1], *other[1]} - {"$report_type"})
            pairs = [
                (f" {name}", one[1].get(name), other[1].get(name)) for name in names
            ]
        found += [
            f"{what} {number}{name}: isolated {a!r}, plain {b!r}"
            for name, a, b in pairs
            if a != b
        ]
    return found


def run_once(
    pytester: pytest.Pytester, arguments: Sequence[str], *, apart: bool = False
) -> Run:
    """
    Run pytest with the recorder, in this process or *apart* from it.
    """
    path = pytester.path
    (path / "recorder.py").write_text(_RECORDER.read_text())
    pytester.syspathinsert()
    common = [*WITHOUT, "-p", "recorder", f"--basetemp={path}/base"]
    with warnings.catch_warnings():
        # Those of the inner pytest are its own.
        warnings.simplefilter("default")
        if apart:
            result = pytester.runpytest_subprocess(*common, *arguments, timeout=60)
        else:
            result = pytester.runpytest_inprocess(
                *common, *arguments, no_reraise_ctrlc=True
            )
    record = path / "record.json"
    told = json.loads(record.read_text())
    record.unlink()
    places = record.with_suffix(".places").read_text().split()
    return Run(result, told["events"], told["warnings"], [p == "True" for p in places])


def run_twins(pytester: pytest.Pytester, *arguments: str, apart: bool = False) -> Run:
    """
    Run pytest plain and isolated; fail if anything that is seen differs.

    Returns:
        The isolated run.
    """
    plain = run_once(pytester, ["--no-nsisolate", *arguments], apart=apart)
    isolated = run_once(pytester, ["--nsisolate", *arguments], apart=apart)
    assert all(plain.places)
    assert not any(isolated.places)
    assert len(isolated.places) == len(plain.places)
    differences = [
        *differing("event", isolated.events, plain.events),
        # Warnings of what is borrowed come after the others.
        *differing("warning", sorted(isolated.warnings), sorted(plain.warnings)),
        *differing("exit code", [isolated.result.ret], [plain.result.ret]),
        *differing("line", normal(isolated.stdout), normal(plain.stdout)),
        *differing(
            "line of stderr",
            normal(isolated.result.stderr.str()),
            normal(plain.result.stderr.str()),
        ),
    ]
    assert not differences, "\n".join(differences[:30])
    return isolated


def reports_of(pytester: pytest.Pytester, *arguments: str) -> list[pytest.TestReport]:
    """
    Return the reports of one isolated run, as they are.
    """
    recorder = pytester.inline_run("--nsisolate", *WITHOUT, *arguments)
    return list(recorder.getreports("pytest_runtest_logreport"))


@pytest.fixture
def twins(pytester: pytest.Pytester) -> Twins:
    """
    Run what the test has made, plain and isolated, and hold the two to be the same.
    """
    return lambda *arguments, apart=False: run_twins(pytester, *arguments, apart=apart)
