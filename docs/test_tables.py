"""
The tables on the pages: each column tells readers something.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if "_build" not in path.parts
)

_TABLE = re.compile(r"(?:^\|.*\|\n)+", re.MULTILINE)
_CELL = re.compile(r"(?<!\\)\|")


def tables_of(text: str) -> Iterator[list[list[str]]]:
    """
    Yield the tables in *text*, each as a list of rows of cells, its heading first.
    """
    for table in _TABLE.findall(text):
        head, line, *rows = table.splitlines()
        assert set(line) <= set("|-: "), f"no heading: {head}"
        yield [
            [cell.strip() for cell in _CELL.split(row)[1:-1]] for row in [head, *rows]
        ]


def silent_columns(text: str) -> list[str]:
    """
    Return the headings of columns in which all cells are empty, or all are ``None``.
    """
    return [
        column[0]
        for rows in tables_of(text)
        for column in zip(*rows, strict=True)
        if set(column[1:]) <= {"", "-"} or set(column[1:]) == {"`None`"}
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_column_says_something(page: Path) -> None:
    """
    No table has a column of empty cells, or of ``None`` alone.
    """
    assert silent_columns(page.read_text()) == []


def test_a_column_of_none_is_found() -> None:
    """
    A column of ``None`` is found, and a row without all its cells is an error.
    """
    table = "| Keyword | Default |\n|---|---|\n| `a` | `None` |\n| `b` | `None` |\n"

    assert silent_columns(table) == ["Default"]
    assert silent_columns(table.replace("`None`", "`1`")) == []
    with pytest.raises(ValueError, match="shorter"):
        silent_columns(f"{table}| `c` |\n")
