"""
The page of a time line, read as a browser and its script read it.
"""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple


class Span(NamedTuple):
    """
    What the picture shows of a test, a fixture outside, or an empty lane.
    """

    start: int
    stop: int
    lane: str
    text: str
    """The id of a test, or words."""
    outcome: str = ""
    phases: tuple[str, ...] = ()
    turn: int | None = None
    held: int | None = None
    shares: str = ""
    nodeid: str = ""
    """The test that a fixture or an empty lane is about."""

    def overlaps(self, other: Span) -> bool:
        """
        Say whether both were there at the same time.
        """
        return self.start < other.stop and other.start < self.stop


class Page(HTMLParser):
    """
    A page of a time line.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        #: The attributes of each script, and the text of all that is no script.
        self.scripts: list[dict[str, str | None]] = []
        self.text = ""
        self.elements: list[str] = []
        self._data = ""
        self._inside = ""
        self.feed(path.read_text("utf-8"))
        data: Any = json.loads(self._data)
        self.lanes = [one["name"] for one in data["rows"]]
        files = data["files"]

        def name(file: int, rest: str) -> str:
            return f"{files[file]}::{rest}" if rest else str(files[file])

        self.tests = []
        for one in data["tests"]:
            file, rest, row, start, took, outcome, phases, *more = one
            turn, held, shares = (*more, None, None, None)[:3]
            self.tests.append(
                Span(
                    start,
                    start + took,
                    self.lanes[row],
                    name(file, rest),
                    data["outcomes"][outcome],
                    tuple(("setup", "call", "teardown")[one] for one in phases[::3]),
                    None if turn is None else start + turn,
                    None if held is None else start + held,
                    "" if shares is None else data["shares"][shares],
                )
            )
            ends = [a + b for a, b in zip(phases[1::3], phases[2::3], strict=True)]
            assert sorted(phases[1::3]) == phases[1::3]
            assert all(0 <= end <= took for end in ends)
        self.marks = [
            Span(start, stop, self.lanes[row], text, nodeid=name(*rest))
            for row, start, stop, text, *rest in data["marks"]
        ]
        self.empties = [
            Span(
                start,
                stop,
                str(place),
                ": ".join(filter(None, [data["why"][why], what])),
                nodeid=name(*rest),
            )
            for place, start, stop, why, what, *rest in data["empties"]
        ]
        assert all(0 <= one.start <= one.stop <= data["end"] for one in self.spans())

    def spans(self) -> list[Span]:
        """
        Return all that the picture shows.
        """
        return self.tests + self.marks + self.empties

    def test(self, name: str) -> Span:
        """
        Return the only test whose id ends with *name*.
        """
        (found,) = (one for one in self.tests if one.text.endswith(f"::{name}"))
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """
        Note an element.
        """
        self.elements.append(tag)
        if tag in {"script", "style"}:
            self._inside = tag
        if tag == "script":
            self.scripts.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        """
        Note the end of a script.
        """
        if tag in {"script", "style"}:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        """
        Take in text.
        """
        if not self._inside:
            self.text += data
        elif self._inside == "script" and self.scripts[-1].get("id") == "data":
            self._data += data
