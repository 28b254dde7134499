"""
Twin runs: the same tests plain and isolated, and their comparison.

This is a plugin, so that its asserts are explained and its fixture is found.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

#: What differs from run to run, plain or not, and what to put in its place.
_NORMAL = (
    # Words of --stepwise about its cache.
    (r"\(cache from .* ago,", "(cache"),
    # A guest has other descriptors open than pytest.
    (r"\bfileno = \d+", "fileno ="),
    (r"\boldfd=\d+", "oldfd="),
    (r"nsisolate: .*", "nsisolate: …"),
    (r"cache--(no-)?nsisolate", "cache"),
    (r"\d+\.\d+ ?s\b", "0s"),
    (r" *\b[\d.]+ms$", " 0ms"),
    (r"0s \(\d+:\d\d:\d\d\)", "0s"),
    (r"0x[0-9a-f]{6,}", "0x"),
    (r"(=+|-+|_+)(?= )|(?<= )(=+|-+|_+)", "="),
    (r'(?<= time=")[^"]*"|(?<= timestamp=")[^"]*"', '"'),
)

#: Importing Hypothesis anew for each run would take longer than the run.
WITHOUT_HYPOTHESIS = ("-p", "no:hypothesispytest")
WITHOUT = (*WITHOUT_HYPOTHESIS, "-p", "no:cacheprovider")

_RECORDER = Path(__file__).with_name("recorder.py")

#: A line of --durations; these lines are sorted by time.
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
    file: str

    @property
    def reports(self) -> list[dict[str, str]]:
        """
        Return the contents of the reports, in order.
        """
        return [event[1] for event in self.events if event[0] == "report"]

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """
        Return phase and outcome of the reports, in order.
        """
        return [(report["when"], report["outcome"]) for report in self.reports]

    @property
    def stdout(self) -> str:
        """
        Return what the terminal shows.
        """
        return self.result.stdout.str()


#: Takes arguments for pytest, *apart* and *file*; returns the isolated run.
Twins = Callable[..., Run]

#: Takes names of plugins for ``-p``; returns a `Twins` with those plugins.
WithPlugins = Callable[..., Twins]

#: Takes the arguments of each session in turn; returns the isolated runs.
TwinSessions = Callable[..., list[Run]]


def normal(text: str) -> list[str]:
    """
    Return the lines of *text* without what differs from run to run.
    """
    for pattern, replacement in _NORMAL:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    lines = text.splitlines()
    timed = sorted(line for line in lines if _DURATION.match(line))
    return [line for line in lines if not _DURATION.match(line)] + timed


def differing(what: str, isolated: Sequence[Any], plain: Sequence[Any]) -> list[str]:
    """
    Describe where the two sequences differ.
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
    pytester: pytest.Pytester,
    arguments: Sequence[str],
    *,
    apart: bool = False,
    file: str | None = None,
    without: Sequence[str] = WITHOUT,
) -> Run:
    """
    Run pytest with the recorder, in this process or *apart* from it.

    Args:
        pytester: The fixture with the tests.
        arguments: Arguments for pytest.
        apart: Whether to run in a process of its own.
        file: Name of a file that the run writes and that is to be compared too.
        without: Arguments that switch off the plugins that are not needed.
    """
    path = pytester.path
    (path / "recorder.py").write_text(_RECORDER.read_text())
    pytester.syspathinsert()
    common = [*without, "-p", "recorder", f"--basetemp={path}/base"]
    with warnings.catch_warnings():
        # The inner pytest has warnings of its own.
        warnings.simplefilter("default")
        if apart:
            result = pytester.runpytest_subprocess(*common, *arguments, timeout=600)
        else:
            result = pytester.runpytest_inprocess(
                *common, *arguments, no_reraise_ctrlc=True
            )
    told = json.loads(_taken(path / "record.json"))
    places = [place == "True" for place in _taken(path / "record.places").split()]
    text = "" if file is None else _taken(path / file)
    return Run(result, told["events"], told["warnings"], places, text)


def _taken(path: Path) -> str:
    """
    Return the contents of the file, and remove it.
    """
    text = path.read_text()
    path.unlink()
    return text


def compare(isolated: Run, plain: Run) -> None:
    """
    Fail if any visible part of the two runs differs.
    """
    assert all(plain.places)
    assert not any(isolated.places)
    if os.environ.get("NSISOLATE_JOBS"):
        # Side by side, tests may run that come after the end of the session.
        assert len(isolated.places) >= len(plain.places)
    else:
        assert len(isolated.places) == len(plain.places)
    differences = [
        *differing("event", isolated.events, plain.events),
        # Warnings of borrowed fixtures come after the others.
        *differing("warning", sorted(isolated.warnings), sorted(plain.warnings)),
        *differing("exit code", [isolated.result.ret], [plain.result.ret]),
        *differing("line", normal(isolated.stdout), normal(plain.stdout)),
        *differing(
            "line of stderr",
            normal(isolated.result.stderr.str()),
            normal(plain.result.stderr.str()),
        ),
        *differing("line of the file", normal(isolated.file), normal(plain.file)),
    ]
    assert not differences, "\n".join(differences[:30])


def run_twins(
    pytester: pytest.Pytester,
    *arguments: str,
    apart: bool = False,
    file: str | None = None,
) -> Run:
    """
    Run pytest plain and isolated; fail if any visible part differs.

    Returns:
        The isolated run.
    """
    plain, isolated = (
        run_once(pytester, [switch, *arguments], apart=apart, file=file)
        for switch in ("--no-nsisolate", "--nsisolate")
    )
    compare(isolated, plain)
    return isolated


def run_twin_sessions(pytester: pytest.Pytester, *sessions: Sequence[str]) -> list[Run]:
    """
    Run several sessions in turn, plain and isolated, each way with its own cache.

    Returns:
        The isolated runs.
    """
    plain, isolated = (
        [
            run_once(
                pytester,
                [switch, f"-ocache_dir=cache{switch}", *one],
                without=WITHOUT_HYPOTHESIS,
            )
            for one in sessions
        ]
        for switch in ("--no-nsisolate", "--nsisolate")
    )
    for one, other in zip(isolated, plain, strict=True):
        compare(one, other)
    return isolated


def reports_of(pytester: pytest.Pytester, *arguments: str) -> list[pytest.TestReport]:
    """
    Return the reports of one isolated run, unchanged.
    """
    recorder = pytester.inline_run("--nsisolate", *WITHOUT, *arguments)
    return list(recorder.getreports("pytest_runtest_logreport"))


@pytest.fixture
def twins(pytester: pytest.Pytester) -> Twins:
    """
    Run the test's files plain and isolated, and expect the two to be equal.
    """
    return functools.partial(run_twins, pytester)


@pytest.fixture
def twin_sessions(pytester: pytest.Pytester) -> TwinSessions:
    """
    Run sessions that depend on the one before, and expect plain and isolated equal.
    """
    return functools.partial(run_twin_sessions, pytester)


@pytest.fixture
def with_plugins(pytester: pytest.Pytester) -> WithPlugins:
    """
    Do as `twins`, with the named plugins and in a process of its own.
    """

    def with_plugins(*plugins: str) -> Twins:
        """
        Name the plugins.
        """
        named = [part for name in ("nsisolate", *plugins) for part in ("-p", name)]
        return lambda *arguments: run_twins(pytester, *named, *arguments, apart=True)

    return with_plugins
