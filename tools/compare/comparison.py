"""
The comparison: makes the peers ready, asks all questions, prints and writes tables.

``__main__.py`` starts it, on a machine that ends with it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import functools
import os
import platform
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import container
import page
from accounting import Accounting, Failed
from costs import COST, cost
from peers import CONTAINER, NOTHING, PEERS, Peer
from processes import CannotRun
from questions import TABLES, Question
from trials import Contained, Installed, Trial

#: How many peers are tried at the same time. Some wait for a test that hangs.
_AT_ONCE = 4


def main() -> int:
    """
    Do as ``__main__.py`` says, and return the exit code.
    """
    options = _options()
    if options.check:
        found = page.faults(page.PAGE.read_text())
        print(*found or ["the page has the form that is written here"], sep="\n")
        return 1 if found else 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.umask(0o022)
    work = Path(options.work)
    work.chmod(0o755)
    (work / "suites").mkdir()
    wanted = [one for one in PEERS if one.name in (options.peers or _names())]
    with contextlib.ExitStack() as stack:
        try:
            plain = Installed(NOTHING, work, options.python)
        except CannotRun as why:
            print(f"pytest could not be run: {why}")
            return 1
        ready: dict[str, Trial] = {}
        reasons: dict[str, str] = {}
        pool = stack.enter_context(ThreadPoolExecutor(_AT_ONCE))
        made = pool.map(lambda peer: _ready(peer, work, options.python, stack), wanted)
        for peer, one in zip(wanted, made, strict=True):
            if isinstance(one, Trial):
                ready[peer.name] = one
            else:
                reasons[peer.name] = one
            print(f"{peer.name}: {reasons.get(peer.name, 'ready')}", flush=True)
        trials = [ready.get(peer.name) for peer in PEERS]
        good = _finds(plain, options.questions)
        rows: dict[str, dict[str, list[str]]] = {}
        for title, asked in TABLES.items():
            rows[title] = {}
            for question in asked:
                if not options.questions or question.key in options.questions:
                    answer = functools.partial(_cell, plain, question)
                    cells = [*pool.map(answer, trials)]
                    rows[title][question.title] = cells
                    print(f"{question.key}: {' | '.join(cells)}", flush=True)
        if not options.questions or COST in options.questions:
            # Not before the engine, which may have other cgroups.
            accounting = Accounting()
            stack.callback(accounting.close)
            taken = cost(plain, accounting)
            cells = [_cost(trial, accounting) for trial in trials]
            rows[page.COSTS] = {page.COST.format(plain=taken): cells}
    versions = {
        peer.name: _version(ready.get(peer.name), reasons.get(peer.name, "not asked"))
        for peer in PEERS
    }
    tables = page.Tables(_when(plain), versions, rows)
    text = page.text_of(tables)
    print(text)
    if options.write:
        old = page.PAGE.read_text()
        if options.peers or options.questions:
            text = page.text_of(page.merged(old, tables))
        page.PAGE.write_text(page.written(old, text))
    unclear = any(
        page.UNCLEAR in cells for table in rows.values() for cells in table.values()
    )
    return 0 if good and not unclear else 1


def _ready(
    peer: Peer, work: Path, interpreter: str, stack: contextlib.ExitStack
) -> Trial | str:
    """
    Return *peer*, ready to run, or why it is not.
    """
    try:
        if peer.name == CONTAINER:
            engine = stack.enter_context(container.started(work))
            return Contained(peer, work / "suites", engine)
        return Installed(peer, work, interpreter)
    except CannotRun as why:
        return _short(str(why))


def _finds(plain: Trial, wanted: Sequence[str]) -> bool:
    """
    Say whether the probes find of plain pytest what is known.
    """
    good = True
    for question in (one for asked in TABLES.values() for one in asked):
        if not question.plain or (wanted and question.key not in wanted):
            continue
        found = question.answer(plain, plain, question.key)
        if found != question.plain:
            print(f"{question.key}: plain pytest: {found}, not {question.plain}")
            good = False
    return good


def _cell(plain: Trial, question: Question, trial: Trial | None) -> str:
    """
    Return the cell of one peer.
    """
    if trial is None:
        return page.NOT_RUN
    try:
        return question.answer(trial, plain, question.key)
    except CannotRun as why:
        print(f"{trial.peer.name}, {question.key}: {why}", flush=True)
        return page.UNCLEAR


def _cost(trial: Trial | None, accounting: Accounting) -> str:
    """
    Return the cell of one peer about costs.
    """
    if trial is None:
        return page.NOT_RUN
    try:
        return cost(trial, accounting)
    except Failed as why:
        print(f"{trial.peer.name}, {COST}: {why}", flush=True)
        return page.UNCLEAR


def _version(trial: Trial | None, reason: str) -> str:
    """
    Return what is said of a peer.
    """
    if trial is None:
        return f": not run, because {reason}"
    usual = " ".join([*trial.peer.usual.prefix, "pytest", *trial.peer.usual.arguments])
    if trial.peer.name == CONTAINER:
        usual = CONTAINER
    known = trial.peer.name != CONTAINER and trial.peer.package == "pytest"
    version = "" if known else f" {trial.version}"
    return f"{version} with pytest {trial.pytest}: `{usual}`"


def _when(plain: Trial) -> str:
    """
    Return when and where this happens.
    """
    today = dt.datetime.now(dt.timezone.utc).date()
    who = "root" if container.is_root() else "an ordinary user"
    return (
        f"Tried on {today} by {who}, with Python {plain.interpreter}, "
        f"Linux {platform.release().partition('-')[0]} and {os.cpu_count()} processors."
    )


def _short(text: str) -> str:
    return " ".join(text.split())[:200]


def _names() -> list[str]:
    return [one.name for one in PEERS]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compare", allow_abbrev=False)
    add = parser.add_argument
    add("--python", default="/usr/bin/python3", help="Interpreter that all users reach")
    add("--peer", dest="peers", action="append", choices=_names(), help="Only this")
    add("--question", dest="questions", action="append", default=[], help="Only this")
    add("--write", action="store_true", help=f"Write the tables into {page.PAGE.name}")
    add("--check", action="store_true", help="Only check the form of what is written")
    add("work", nargs="?", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work is None and not options.check:
        parser.error("start it as python3 tools/compare")
    return options


if __name__ == "__main__":
    sys.exit(main())
