"""
The page on other ways to isolate tests: its tables, written and read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from peers import PEERS
from questions import TABLES

PAGE = Path(__file__).resolve().parents[2] / "docs/explanation/comparison.md"

BEGIN = "% Written by: python3 tools/compare --write"
END = "% End of what is written."

#: The title of the table of costs, and of its row.
COSTS = "What it costs"
COST = "a test that does nothing; in plain pytest {plain}"

#: The cell of a peer that is not there.
NOT_RUN = "not run"

#: The cell where a probe told nothing, which must not be published.
UNCLEAR = "unclear"

#: What a test takes.
_COSTS = re.compile(r"[\d.]+ ms")

#: When and where it was tried.
_WHEN = re.compile(
    r"Tried on \d{4}-\d\d-\d\d by (root|an ordinary user), with Python 3\.\d+\.\d+, "
    r"Linux \d+\.\d+\.\d+ and \d+ processors\."
)

#: A peer, its version, and that of pytest.
_VERSION = re.compile(r"\* \*\*(?P<peer>[^*]+)\*\*(?P<rest>.*)")


class Tables(NamedTuple):
    """
    What was found.
    """

    when: str
    """The day and the machine."""
    versions: Mapping[str, str]
    """What is said of each peer: its version, or why it was not run."""
    rows: Mapping[str, Mapping[str, Sequence[str]]]
    """By table and row, the cells in the order of the peers."""


def expected_rows() -> dict[str, list[str]]:
    """
    Return the rows of each table, by its title.
    """
    rows = {title: [one.title for one in asked] for title, asked in TABLES.items()}
    return rows | {COSTS: [COST]}


def text_of(tables: Tables) -> str:
    """
    Return *tables* in Markdown.
    """
    lines = [tables.when, ""]
    lines += [f"* **{peer}**{said}" for peer, said in tables.versions.items()]
    names = [peer.name for peer in PEERS]
    for title, rows in tables.rows.items():
        lines += ["", f"**{title}**", ""]
        lines += [_row(["", *names]), _row(["---"] * (len(names) + 1))]
        lines += [_row([first, *cells]) for first, cells in rows.items()]
    return "\n".join(lines)


def tables_of(text: str) -> Tables:
    """
    Return the tables that `text_of` has written as *text*.
    """
    when = text.strip().partition("\n")[0]
    versions = {found["peer"]: found["rest"] for found in _VERSION.finditer(text)}
    rows: dict[str, dict[str, list[str]]] = {}
    for part in re.split(r"^\*\*(?=.*\*\*$)", text, flags=re.MULTILINE)[1:]:
        title, _, table = part.partition("**\n")
        found = [line.strip("| \n").split(" | ") for line in table.strip().split("\n")]
        rows[title] = {first: cells for first, *cells in found[2:]}
    return Tables(when, versions, rows)


def merged(page: str, new: Tables) -> Tables:
    """
    Return the tables of *page* with the cells that *new* has.
    """
    old = tables_of(generated(page))
    if old.when != new.when:
        raise SystemExit(f"the page is of another day or machine: {old.when}")
    asked = [NOT_RUN not in new.versions[peer.name] for peer in PEERS]
    versions = {
        name: new.versions[name] if is_new else said
        for (name, said), is_new in zip(old.versions.items(), asked, strict=True)
    }
    rows = {
        title: {
            first: [
                after if is_new else before
                for before, after, is_new in zip(
                    cells, new.rows.get(title, {}).get(first, cells), asked, strict=True
                )
            ]
            for first, cells in table.items()
        }
        for title, table in old.rows.items()
    }
    return Tables(old.when, versions, rows)


def faults(page: str) -> list[str]:
    """
    Return in what the generated part of *page* has not the form that this tool writes.
    """
    text = generated(page)
    tables = tables_of(text)
    names = [peer.name for peer in PEERS]
    found = []
    if text_of(tables) != text:
        found.append("it is not written as this tool writes it")
    if not _WHEN.fullmatch(tables.when):
        found.append(f"this says not when and where: {tables.when}")
    if [*tables.versions] != names:
        found.append(f"these are not the peers: {', '.join(tables.versions)}")
    rows = {
        title: [_COSTS.sub("{plain}", first) for first in cells]
        for title, cells in tables.rows.items()
    }
    if rows != expected_rows():
        found.append(f"these are not the rows: {rows}")
    for first, cells in (one for rows in tables.rows.values() for one in rows.items()):
        there = [NOT_RUN not in tables.versions.get(name, "") for name in names]
        if [cell != NOT_RUN for cell in cells] != there or UNCLEAR in cells:
            found.append(f"{first}: {', '.join(cells)}")
    return found


def generated(page: str) -> str:
    """
    Return the part of *page* that is written by this tool.
    """
    found = _part().search(page)
    if found is None:
        raise SystemExit(f"{PAGE.name} must have these lines once: {BEGIN}; {END}")
    return found[1]


def written(page: str, text: str) -> str:
    """
    Return *page* with *text* in place of what was written before.
    """
    generated(page)
    return _part().sub(lambda _: f"{BEGIN}\n\n{text}\n\n{END}", page)


def _part() -> re.Pattern[str]:
    begin, end = re.escape(BEGIN), re.escape(END)
    return re.compile(f"^{begin}$\n+(.*?)\n+^{end}$", re.MULTILINE | re.DOTALL)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
