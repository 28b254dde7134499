"""
The figures as text: tables for the page on cost, and what is printed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from figures import (
    BARS,
    ROOT,
    ROOTLESS,
    START,
    START_BARE,
    Cost,
    Growth,
    Limit,
    Point,
    held_to,
    ratio,
    verdict,
)
from rows import FLOOR
from side_by_side import (
    FEW,
    GAINS,
    GROWING,
    NOTHING,
    OURS,
    PLAIN,
    SLEEP,
    Beside,
    gained,
)
from side_by_side import WAYS as WAYS_BESIDE
from suites import MACHINES, PARENTS, WAYS

#: Where the page and its plot are.
PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "cost.md"
PLOT = PAGE.with_suffix(".svg")
PLOT_BESIDE = PAGE.with_name("side-by-side.svg")

#: What is written stands between these lines, which are comments in MyST.
BEGIN = "% Written by: python benchmarks --write"
BEGIN_BESIDE = "% Written by: python benchmarks --only side-by-side --write"
END = "% End of what is written."

#: The rows of the table about sessions: their words, and the point of each.
SESSIONS = {
    "the plugin, where nothing is isolated": ("start", START),
    "the same, where Python writes no bytecode": ("start", START_BARE),
    "the first isolated test, as root": ("first", ROOT),
    "the first isolated test, rootless": ("first", ROOTLESS),
    "a further test in a shared sandbox, as root": ("shared", ROOT),
    "a further test in a shared sandbox, rootless": ("shared", ROOTLESS),
    "an overlay for an isolated test, as root": ("overlay", ROOT),
    "an overlay for an isolated test, rootless": ("overlay", ROOTLESS),
}

#: From here on, one digit after the point means something, or none.
_TEN, _HUNDRED = 10, 100

#: The words for the peers that need some.
_NOTES = {
    "pytest-isolated, one group": "one process for all tests",
    "pytest-isolated, a group each": "a session for each test",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """
    All that was measured, and how.
    """

    points: Sequence[Point]
    growths: Sequence[Growth]
    setting: str
    """The versions, the machine and how often, in a sentence or two."""
    besides: Sequence[Beside] = ()
    """What was measured side by side."""

    @property
    def pythons(self) -> list[str]:
        """
        The versions of Python.
        """
        found = [one.python for one in self.points]
        found += [one.python for one in self.growths]
        return list(dict.fromkeys(found))

    def point(
        self,
        row: str,
        name: str,
        python: str,
        parent: str | None = None,
        machine: str = "quiet",
    ) -> Point | None:
        """
        Return the point that is asked for, if it was measured.
        """
        for point in self.points:
            if (
                (point.row, point.name) == (row, name)
                and (point.python, point.machine) == (python, machine)
                and parent in (None, point.parent)
            ):
                return point
        return None

    def misses(self) -> int:
        """
        Return how many bars are missed.
        """
        values: list[tuple[Limit, list[float]]] = [
            (bar, held_to(bar, self.points, self.growths)) for bar in BARS
        ]
        values += [(gain, gained(gain, self.besides)) for gain in GAINS]
        return sum(verdict(*one) == "MISSED" for one in values)


def text(results: Results) -> str:
    """
    Return all tables of what was measured, for the terminal.
    """
    parts = [of_isolation(results)] if results.points or results.growths else []
    return "\n".join(parts + ([of_beside(results)] if results.besides else []))


def of_beside(results: Results) -> str:
    """
    Return the tables about tests side by side.
    """
    parts = [f"{results.setting}\n", of_works(results), "**Bars**\n"]
    return "\n".join([*parts, of_gains(results)])


def of_isolation(results: Results) -> str:
    """
    Return the tables about what isolation costs.
    """
    parts = [f"{results.setting}\n"]
    for what, tables in (
        ("Each test", of_tests),
        ("Once, or where isolation is shared", of_sessions),
    ):
        for python in results.pythons:
            for parent in PARENTS:
                bare = parent == "bare"
                where = "a bare pytest" if bare else f"a pytest that holds {parent}"
                parts += [f"**{what}, on Python {python} in {where}**\n"]
                parts += [tables(results, python, parent)]
    parts += ["**Memory that is kept for each isolated test**\n", of_growth(results)]
    parts += ["**What cannot be avoided**\n", of_floor(results)]
    parts += ["**Bars**\n", of_bars(results)]
    return "\n".join(parts)


def of_tests(results: Results, python: str, parent: str) -> str:
    """
    Return the table of what an isolated test adds.
    """
    heads = ["isolated test", "tests", *_by_machine()]
    rows = []
    for way in WAYS:
        note = f" ({_NOTES[way.name]})" if way.name in _NOTES else ""
        cells: list[str] = []
        tests = ""
        for machine in MACHINES:
            point = results.point("isolated", way.name, python, parent, machine)
            if point is not None and point.rounds:
                tests = str(point.tests)
                cells += _with_ratios(point.median, ratio(point, results.points))
            else:
                cells += [point.reason if point else "not measured", ""]
        rows.append([way.name + note, tests, *cells])
    return table(heads, rows)


def of_sessions(results: Results, python: str, parent: str) -> str:
    """
    Return the table of what comes once in a session, or is shared.
    """
    rows = []
    for words, (row, name) in SESSIONS.items():
        cells = [words]
        for machine in MACHINES:
            cells += _times(results.point(row, name, python, parent, machine))
        rows.append(cells)
    return table(["added", *_by_machine()], rows)


def of_growth(results: Results) -> str:
    """
    Return the table of how memory grows.
    """
    found = {one.python: f"{one.each:.0f} bytes" for one in results.growths}
    kept = [found.get(python, "not measured") for python in results.pythons]
    return table([f"Python {python}" for python in results.pythons], [kept])


def of_floor(results: Results) -> str:
    """
    Return the table of what cannot be avoided.
    """
    rows = []
    for name in FLOOR:
        cells = [name]
        for python in results.pythons:
            cells += _times(results.point("floor", name, python))
        rows.append(cells)
    return table(_by_python("floor", results), rows)


def of_bars(results: Results) -> str:
    """
    Return the table of the bars, and whether they are met.
    """
    rows = [
        _of_limit(bar, held_to(bar, results.points, results.growths)) for bar in BARS
    ]
    return table(["bar", "measured", "at most", ""], rows)


def of_gains(results: Results) -> str:
    """
    Return the same table for the bars of tests side by side.
    """
    rows = [_of_limit(gain, gained(gain, results.besides)) for gain in GAINS]
    return table(["gain", "measured", "at most", ""], rows)


def of_works(results: Results) -> str:
    """
    Return the table of sessions side by side, and in other ways.
    """
    rows: dict[tuple[str, int], dict[str, str]] = {}
    plain: dict[str, str] = {}
    for one in results.besides:
        if one.way == PLAIN:
            plain[one.title] = _taken(one)
        else:
            rows.setdefault((one.title, one.jobs), {})[one.way] = _taken(one)
    lines = []
    for (title, jobs), cells in rows.items():
        # A plain session is the same, whatever the number of jobs.
        first = plain.pop(title, "")
        others = [cells[way] for way in WAYS_BESIDE if way != PLAIN]
        lines.append([title, str(jobs), first, *others])
    return table(["work", "jobs", *WAYS_BESIDE], lines)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    Return a table in Markdown.
    """
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def alternative(results: Results) -> str:
    """
    Return in words what the plot shows.
    """
    python = results.pythons[0]
    parts = []
    for way in WAYS:
        point = results.point("isolated", way.name, python, "bare")
        if point is not None and point.rounds:
            cost = point.median
            parts.append(f"{way.name} {_short(cost.cpu)} and {_short(cost.wall)}")
    return (
        f"Milliseconds of processor and wall time that a test adds on Python {python}, "
        f"quiet machine: {'; '.join(parts)}."
    )


def alternative_beside(results: Results) -> str:
    """
    Return in words what the plot of tests side by side shows.
    """
    parts = []
    for title, grows, lines in curves(results.besides):
        places = [f"{getattr(one, grows):,}" for one in lines[OURS]]
        of_each = [
            f"{way} {', '.join(_short(one.median.wall / 1000) for one in line)}"
            for way, line in lines.items()
            if way != PLAIN
        ]
        parts.append(f"{title}; {grows}: {', '.join(places)}; {'; '.join(of_each)}.")
    return f"Seconds of wall time. {' '.join(parts)}"


def curves(
    besides: Sequence[Beside],
) -> Iterator[tuple[str, str, dict[str, list[Beside]]]]:
    """
    Yield what is drawn: a title, what grows, and the points of each way.
    """
    for work in (SLEEP, NOTHING):
        found = [one for one in besides if one.work == work]
        yield found[0].title, "jobs", _by_way(found)
    found = [
        one
        for one in besides
        if one.work in {NOTHING, GROWING}
        and one.jobs == (1 if one.way == PLAIN else FEW)
    ]
    found.sort(key=lambda one: one.tests)
    yield f"tests doing nothing, {FEW} jobs", "tests", _by_way(found)


def _by_way(besides: Iterable[Beside]) -> dict[str, list[Beside]]:
    lines: dict[str, list[Beside]] = {}
    for one in besides:
        lines.setdefault(one.way, []).append(one)
    return lines


def written(page: str, results: Results) -> str:
    """
    Return *page* with what was measured in place of the former figures.
    """
    if results.points or results.growths:
        figure = _figure(PLOT, alternative(results))
        page = _replaced(page, BEGIN, figure + of_isolation(results))
    if results.besides:
        figure = _figure(PLOT_BESIDE, alternative_beside(results))
        page = _replaced(page, BEGIN_BESIDE, figure + of_beside(results))
    return page


def _figure(plot: Path, words: str) -> str:
    return f":::{{image}} {plot.name}\n:alt: {words}\n:::\n\n"


def _replaced(page: str, begin: str, text: str) -> str:
    """
    Return *page* with *text* between *begin* and the end that follows.
    """
    pattern = re.compile(
        f"^{re.escape(begin)}$.*?^{re.escape(END)}$", re.MULTILINE | re.DOTALL
    )
    new, count = pattern.subn(lambda _: f"{begin}\n\n{text}\n{END}", page)
    if count != 1:
        raise SystemExit(f"{PAGE.name} must have these lines once: {begin}; {END}")
    return new


def _of_limit(limit: Limit, values: Sequence[float]) -> list[str]:
    """
    Return the row of *limit* in the table of its kind.
    """
    ends = sorted({_short(value) for value in values}, key=float)
    span = " to ".join(ends[:1] + ends[1:][-1:])
    most = f"{limit.limit:g} {limit.unit}"
    return [limit.what, span, most, verdict(limit, values)]


def _taken(one: Beside) -> str:
    """
    Return the cell of a session: both times, memory, and how often it was set up.
    """
    cpu, wall = one.median
    parts = [f"{_short(wall / 1000)} s", f"{_short(cpu / 1000)} s"]
    if one.memory is not None:
        parts.append(f"{one.memory:.0f} MiB")
    if one.set_ups:
        times = "once" if one.set_ups == 1 else f"{one.set_ups} times"
        parts.append(f"set up {times}")
    return ", ".join(parts)


def _by_machine() -> list[str]:
    """
    Return the heads of two columns for each machine.
    """
    return [
        f"{machine}: {time}" for machine in MACHINES for time in ("processor", "wall")
    ]


def _by_python(first: str, results: Results) -> list[str]:
    """
    Return the heads of a table with two columns for each version of Python.
    """
    heads = [first]
    for python in results.pythons:
        heads += [f"{python}: processor", f"{python}: wall"]
    return heads


def _times(point: Point | None) -> list[str]:
    """
    Return the two cells of *point*.
    """
    if point is None or not point.rounds:
        return [point.reason if point else "not measured", ""]
    return [f"{_short(value)} ms" for value in point.median]


def _with_ratios(cost: Cost, ratios: Cost | None) -> list[str]:
    """
    Return two cells with the ratio to the reference in brackets.
    """
    if ratios is None:
        return [f"{_short(value)} ms" for value in cost]
    return [
        f"{_short(value)} ms ({_short(times)} times)"
        for value, times in zip(cost, ratios, strict=True)
    ]


def _short(value: float) -> str:
    """
    Return *value* with as many digits as mean something.
    """
    digits = 0 if abs(value) >= _HUNDRED else 1 if abs(value) >= _TEN else 2
    return f"{value:.{digits}f}"
