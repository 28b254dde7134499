"""
The page of a time line: a summary that needs no script, and a picture that does.

It is one file, which asks no network for anything. What tests are called is text of
whoever wrote them: it can hold markup, and characters that no file can.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import Any

from pytest_nsisolate.linux.stdlib import time
from pytest_nsisolate.reporting.lost_time import WHY, Account, account_of
from pytest_nsisolate.reporting.record import PHASES, Record, Run
from pytest_nsisolate.settings.options import TIMELINE_BEGINS

#: How many rows the tables of the longest have.
_LONGEST = 10

#: The times of the picture are whole numbers of these, in seconds.
_TICK = 1e-4

#: How many characters of the id of a test are shown.
_SHOWN = 300

#: The head of a column: the time of each lane counts.
_ADDED = "Added up"

#: The heads of the list of all tests, whose rows a script makes.
_ALL = ("Test", "Lane", "Began", "Took", "Setup", "Call", "Teardown", "Outcome")

#: In milliseconds.
_SECOND, _MINUTE = 1000, 60000

_OUTCOMES = (
    *("passed", "failed", "error", "skipped", "xfailed", "xpassed"),
    *("rerun", "dropped", "unfinished"),
)


def page(own: Record, records: list[Record], lost: list[str]) -> str:
    """
    Return the page.

    Args:
        own: The record of the process that writes it.
        records: Those of all processes that ran tests.
        lost: The processes of pytest-xdist that left none.
    """
    accounts = [account_of(one) for one in sorted(records, key=lambda one: one.process)]
    parts = {
        "begins": TIMELINE_BEGINS.decode(),
        "when": _text(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(own.begin))),
        "summary": _summary(own, accounts, lost),
        "tables": _tables(own, accounts),
        "list": _table_element(_ALL, "all-title", "", ' id="rows"'),
        "data": _Picture(own, accounts).data(),
    }
    template = Path(__file__).with_name("timeline.html").read_text("utf-8")
    pieces = re.split(r"\{\{(\w+)\}\}", template)
    # What is put in is not looked at again.
    pieces[1::2] = [parts[name] for name in pieces[1::2]]
    return "".join(pieces)


def _plain(text: str) -> str:
    """
    Return *text* with what is not to be in a file, or cannot be seen, as escapes.
    """
    if not text.isprintable():
        text = "".join(
            one
            if one.isprintable() or unicodedata.category(one) == "Zs"
            else one.encode("unicode_escape").decode()
            for one in text
        )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _text(text: str) -> str:
    return html.escape(_plain(text))


def _name(nodeid: str) -> str:
    # Text in another direction stays within.
    return f"<bdi>{_text(nodeid)}</bdi>"


def _duration(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    if milliseconds < _SECOND:
        return f"{milliseconds} ms"
    if milliseconds < 2 * _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole > 0 else "0%"


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _took(run: Run) -> float:
    return (run.over or run.start) - run.start


def _guests(account: Account) -> list[Run]:
    return [run for lane in account.lanes for run in lane.runs]


def _summary(own: Record, accounts: list[Account], lost: list[str]) -> str:
    """
    Return the list of what matters most.
    """
    end = own.end or own.begin
    runs = [run for one in accounts for run in one.record.runs]
    guests = [run for one in accounts for run in _guests(one)]
    whole = end - own.begin
    lines = []
    if own.collected is not None:
        before = _duration(own.collected - own.begin)
        start = f", of which {before} before the tests were collected"
    else:
        start = ""
    lines.append(f"The run took <b>{_duration(whole)}</b>{start}.")
    lines.append(f"{_tests(runs)}.")
    if not guests:
        lines.append(
            "<b>No test was isolated in this run.</b> So there are no lanes. Mark "
            "tests with <code>@pytest.mark.isolated</code>, or add "
            "<code>--nsisolate</code>."
        )
    else:
        lines += _about_lanes(accounts, guests)
    if lost:
        which = _text(", ".join(lost))
        lines.append(f"Nothing is known of {which}, which ended early.")
    return "".join(f"<li>{line}</li>\n" for line in lines)


def _tests(runs: list[Run]) -> str:
    kinds = Counter(str(run.kind) for run in runs)
    kinds["guest"] += kinds.pop("shared", 0)
    texts = {
        "guest": ("test ran isolated", "tests ran isolated"),
        "host": ("test ran on the host", "tests ran on the host"),
        "none": ("did not start", "did not start"),
    }
    said = [_count(kinds[kind], *texts[kind]) for kind in texts if kinds[kind]]
    outcomes = Counter(map(_outcome, runs))
    bad = [f"{outcomes[one]:,} {one}" for one in _OUTCOMES[1:] if outcomes[one]]
    line = ", ".join(said) or "No test ran"
    return f"{line}: {', '.join(bad)}" if bad else line


def _about_lanes(accounts: list[Account], guests: list[Run]) -> list[str]:
    work = sum(map(_took, guests))
    start = min(one.start for one in accounts if one.lanes)
    stop = max(one.stop for one in accounts if one.lanes)
    lanes = sum(len(one.lanes) for one in accounts)
    room = sum(len(one.lanes) * (one.stop - one.start) for one in accounts)
    busy = (
        f"{_count(lanes, 'lane was', 'lanes were')} busy for "
        f"<b>{_share(work, room)}</b> of the time: "
        f"{_duration(work)} of isolated tests in {_duration(stop - start)}."
    )
    lines = [busy]
    lost = _lost(accounts)
    if lost:
        why, seconds = max(lost.items(), key=lambda one: one[1])
        lines.append(
            f"Lanes stood empty for {_duration(sum(lost.values()))}, added up. Most of "
            f"that, {_duration(seconds)}: {WHY[why]}."
        )
    longest = max(guests, key=_took)
    lines.append(
        f"The longest test took {_duration(_took(longest))}: {_name(longest.nodeid)}."
    )
    return lines


def _lost(accounts: list[Account]) -> dict[str, float]:
    """
    Return what was lost by its reason, the most first.
    """
    sums = {why: sum(one.lost[why] for one in accounts) for why in WHY}
    found = sorted(sums.items(), key=lambda one: -one[1])
    return {why: seconds for why, seconds in found if seconds >= _TICK}


def _outcome(run: Run) -> str:
    if run.turn is None:
        # It ran ahead when the session stopped.
        return "dropped"
    is_whole = any(phase == "teardown" for phase, *_ in run.phases)
    is_good = run.outcome in {"dropped", "passed"}
    return "unfinished" if is_good and not is_whole else run.outcome


def _tables(own: Record, accounts: list[Account]) -> str:
    """
    Return the tables, without those that would be empty.
    """
    tables = []
    rows: list[list[str]] = []
    for account in accounts:
        whole = account.stop - account.start
        rows += [
            [
                _text(_lane_name(account, number)),
                f"{len(lane.runs):,}",
                _duration(lane.busy),
                _meter(lane.busy, whole),
                _duration(max(0.0, whole - lane.busy)),
            ]
            for number, lane in enumerate(account.lanes, 1)
        ]
    tables.append(_table("Lanes", ["Lane", "Tests", "Busy", "Share", "Empty"], rows))
    lost = _lost(accounts)
    every = sum(lost.values())
    rows = [
        [_text(WHY[why]), _duration(seconds), _meter(seconds, every)]
        for why, seconds in lost.items()
    ]
    title = "Why lanes stood empty"
    tables.append(_table(title, ["Reason", _ADDED, "Share"], rows))
    waits = [(wait, one) for one in accounts for wait in one.waits]
    rows = [
        [
            _since(own, wait.empty.start),
            _duration(wait.empty.stop - wait.empty.start),
            str(wait.lanes),
            _duration(wait.lost),
            _text(": ".join(filter(None, [WHY[wait.empty.why], wait.empty.what]))),
            _name(wait.empty.nodeid),
        ]
        for wait, _ in nlargest(_LONGEST, waits, key=lambda one: one[0].lost)
    ]
    heads = ["At", "For", "Lanes", _ADDED, "Reason", "Test"]
    tables.append(_table("Longest waits", heads, rows))
    runs = [run for one in accounts for run in one.record.runs if run.kind != "none"]
    rows = [
        [
            _name(run.nodeid),
            _duration(_took(run)),
            *(_duration(_phase(run, name)) for name in PHASES),
            _text(_outcome(run)),
        ]
        for run in nlargest(_LONGEST, runs, key=_took)
    ]
    heads = ["Test", "Took", "Setup", "Call", "Teardown", "Outcome"]
    tables.append(_table("Longest tests", heads, rows))
    made = [fixture for one in accounts for fixture in one.record.fixtures]
    rows = [
        [
            _text(one.name),
            _text(one.scope),
            one.action,
            _duration(one.stop - one.start),
            _name(one.nodeid),
        ]
        for one in nlargest(_LONGEST, made, key=lambda one: one.stop - one.start)
    ]
    heads = ["Fixture", "Scope", "What", "Took", "At the turn of"]
    tables.append(_table("Longest fixtures outside of sandboxes", heads, rows))
    held = [run for run in runs if run.held is not None]
    rows = [
        [_name(run.nodeid), _duration(_held(run))]
        for run in nsmallest(_LONGEST, held, key=lambda run: -_held(run))
    ]
    title = "Tests that had to wait for their turn in the middle"
    tables.append(_table(title, ["Test", "Waited"], rows))
    return "".join(tables)


def _held(run: Run) -> float:
    assert run.held is not None
    return max(0.0, (run.turn or run.over or run.held) - run.held)


def _phase(run: Run, name: str) -> float:
    return sum(stop - start for phase, start, stop in _phases(run) if phase == name)


def _phases(run: Run) -> list[tuple[str, float, float]]:
    """
    Return the phases of *run* as far as they were in its guest.
    """
    over = run.over or run.start
    found, after = [], run.start
    for phase, start, stop in run.phases:
        # That of a guest that ended early was reported when its turn came.
        first = max(after, start) if start <= min(stop, over) else after
        after = min(max(first, stop), over)
        found.append((phase, first, after))
    return found


def _lane_name(account: Account, number: int) -> str:
    return f"{account.record.process} lane {number}".strip()


def _since(own: Record, moment: float) -> str:
    return f"{max(0.0, moment - own.begin):.1f} s"


def _meter(part: float, whole: float) -> str:
    share = min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0
    return f'<i class="bar" style="--part:{share:.3f}"></i>{share:.0%}'


def _table(title: str, heads: list[str], rows: Iterable[list[str]]) -> str:
    """
    Return a table, or nothing if it has no *rows*, whose cells are markup.
    """
    body = "".join(
        '<tr role="row">'
        + "".join(
            f'<td role="cell" data-head="{html.escape(head)}">{cell}</td>'
            for head, cell in zip(heads, row, strict=True)
        )
        + "</tr>\n"
        for row in rows
    )
    if not body:
        return ""
    name = title.lower().replace(" ", "-")
    return (
        f'<section><h2 id="{name}">{html.escape(title)}</h2>\n'
        f"{_table_element(heads, name, body)}</section>\n"
    )


def _table_element(heads: Sequence[str], title: str, body: str, more: str = "") -> str:
    """
    Return a table named by the element *title*, with *more* attributes of its body.

    A telephone shows its rows as lists. The roles say that it is a table all the same.
    """
    top = "".join(
        f'<th role="columnheader" scope="col">{html.escape(head)}</th>'
        for head in heads
    )
    return (
        f'<table role="table" aria-labelledby="{title}"><thead role="rowgroup">'
        f'<tr role="row">{top}</tr></thead>\n'
        f'<tbody role="rowgroup"{more}>{body}</tbody></table>'
    )


class _Picture:
    """
    What the picture shows, in few characters: lists whose places have a meaning.

    Args:
        own: The record of the process that writes it.
        accounts: Those of all processes that ran tests.
    """

    def __init__(self, own: Record, accounts: list[Account]) -> None:
        self._own = own
        self._accounts = accounts
        self._end = max([own.end or own.begin, *(one.stop for one in accounts)])
        # Numbers stand for texts that come often.
        self._files: dict[str, int] = {}
        self._shares: dict[str, int] = {}

    def data(self) -> str:
        """
        Return it as JSON that is safe within a script element.
        """
        rows: list[dict[str, object]] = []
        tests: list[list[Any]] = []
        marks: list[list[Any]] = []
        empties: list[list[Any]] = []
        for place, account in enumerate(self._accounts):
            record, outer = account.record, len(rows)
            names = [f"{record.process} pytest".strip()]
            names += [_lane_name(account, one + 1) for one in range(len(account.lanes))]
            rows += [{"name": name, "place": place} for name in names]
            host = [run for run in record.runs if run.kind == "host"]
            lines = [host, *(lane.runs for lane in account.lanes)]
            for number, line in enumerate(lines, outer):
                tests += [self._test(run, number) for run in line]
            for phase in record.outside:
                marks.append([outer, *self._span(phase), f"{phase.phase} outside"])
                marks[-1] += self._name(phase.nodeid)
            for one in record.fixtures:
                what = f"{one.scope} fixture {one.name} {one.action}"
                marks.append([outer, *self._span(one), _plain(what)])
                marks[-1] += self._name(one.nodeid)
            for empty in account.empties:
                why = [*WHY].index(empty.why)
                empties.append([place, *self._span(empty), why, _plain(empty.what)])
                empties[-1] += self._name(empty.nodeid)
        text = json.dumps(
            {
                "tick": _TICK,
                "end": self._ticks(self._end),
                "rows": rows,
                "files": [*self._files],
                "shares": [*self._shares],
                "outcomes": _OUTCOMES,
                "why": [*WHY.values()],
                "tests": tests,
                "marks": marks,
                "empties": empties,
            },
            separators=(",", ":"),
        )
        for sign in "<>&":
            text = text.replace(sign, f"\\u{ord(sign):04x}")
        return text

    def _test(self, run: Run, row: int) -> list[Any]:
        """
        Return a test; what is missing at the end does not apply.
        """
        start, stop = self._span((run.start, run.over or run.start))
        phases: list[int] = []
        for phase, *span in _phases(run):
            first, last = self._span(span)
            phases += [PHASES.index(phase), first - start, last - first]
        turn = None if run.turn is None else max(0, self._ticks(run.turn) - start)
        held = None if run.held is None else self._ticks(run.held) - start
        shares = None
        if run.shares:
            shares = self._shares.setdefault(_plain(run.shares), len(self._shares))
        outcome = _OUTCOMES.index(_outcome(run))
        found: list[Any] = [*self._name(run.nodeid), row, start, stop - start]
        found += [outcome, phases, turn, held, shares]
        while found[-1] is None:
            found.pop()
        return found

    def _name(self, nodeid: str) -> list[int | str]:
        """
        Return the number of the file of a test, and the rest of its id.
        """
        path, _, rest = nodeid.partition("::")
        return [self._files.setdefault(_plain(path), len(self._files)), _plain(rest)]

    def _span(self, times: Sequence[Any]) -> tuple[int, int]:
        return self._ticks(times[0]), self._ticks(times[1])

    def _ticks(self, moment: float) -> int:
        return round(max(0.0, min(moment, self._end) - self._own.begin) / _TICK)
