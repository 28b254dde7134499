"""
The picture of a run with one job and with three, from what pytest recorded.

Usage: python3 docs/record.py

Runs the example of docs/how-to/see-where-time-goes.md both ways and writes
docs/pictures/time-line.svg.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

DOCS = Path(__file__).parent
PAGE = DOCS / "how-to/see-where-time-goes.md"
PICTURE = DOCS / "pictures/time-line.svg"

_WIDTH, _LEFT, _ROW = 360, 52, 20

_STYLE = """\
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .head { font-weight: bold }
  .faint { font-size: 11px; fill: #59636e }
  .middle { text-anchor: middle }
  .paper { fill: #ffffff; stroke: #d1d9e0 }
  .guest { fill: #aab2bb }
  .call { fill: #2f6fb7 }
  .fixture { fill: #e2b04a }
  .empty { fill: url(#hatch) }
  .hatch { stroke: #c08a1e; stroke-width: 1.2 }
  .line { stroke: #d1d9e0 }
  @media (prefers-color-scheme: dark) {
   text { fill: #e6edf3 }
   .faint { fill: #9ba6b2 }
   .paper { fill: #12161c; stroke: #3d444d }
   .guest { fill: #5a636d }
   .call { fill: #6aaaf0 }
   .fixture { fill: #b98a2b }
   .line { stroke: #3d444d }
  }
"""

_HATCH = """\
 <defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse"
  patternTransform="rotate(45)"><line class="hatch" y2="5"/></pattern></defs>
"""


def record(folder: Path, jobs: int) -> dict[str, Any]:
    """
    Run the example in *folder* with this many *jobs*, and return what is in its page.
    """
    found = re.search(r"# content of (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    folder.joinpath(found[1]).write_text(found[2])
    options = [f"--nsisolate-jobs={jobs}", "--nsisolate-timeline=line.html"]
    plugins = ["-p", "nsisolate", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, *options, found[1]]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    page = folder.joinpath("line.html").read_text("utf-8")
    text = page.partition('<script id="data" type="application/json">')[2]
    data: dict[str, Any] = json.loads(text.partition("</script>")[0])
    return data


def draw(runs: dict[str, dict[str, Any]]) -> str:
    """
    Return the picture of *runs*, by their titles, all on the same scale.
    """
    longest = max(_end(run) - _start(run) for run in runs.values())
    tick = next(iter(runs.values()))["tick"]
    halves = [half / 2 for half in range(int(longest * tick / 0.5) + 1)]
    scale = (_WIDTH - _LEFT - 12) / longest
    body, y = [], 10.0
    for title, run in runs.items():
        seconds = (_end(run) - _start(run)) * run["tick"]
        body.append(_text(8, y + 12, f"{title}: {seconds:.1f} s", "head"))
        end = y + 20 + _ROW * len(run["rows"])
        for half in halves:
            x = _LEFT + half / tick * scale
            body.append(f'<path class="line" d="M{x:.1f} {y + 20:.1f} V{end:.1f}"/>')
        body += _rows(run, y + 20, scale)
        y = end + 14
    for half in halves:
        x = _LEFT + half / tick * scale
        body.append(_text(x, y, f"{half:g} s", "faint middle"))
    y += 14
    for place, (kind, words) in enumerate(
        {
            "call": "a test",
            "guest": "start and end of its guest",
            "fixture": "a fixture, outside",
            "empty": "a lane that stands empty",
        }.items()
    ):
        x, line = (8, 130)[place % 2], y + 18 * (place // 2)
        body.append(_box(kind, x, line, 12, 12))
        body.append(_text(x + 17, line + 10, words))
    release = ".".join(platform.release().split(".")[:2])
    machine = f"Linux {release}, {len(os.sched_getaffinity(0))} processors"
    body.append(_text(8, y + 52, f"Python {platform.python_version()}, {machine}"))
    high = round(y + 62)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {high}" '
        f'width="{_WIDTH * 1.5:g}" height="{high * 1.5:g}">\n'
        f" <title>{escape(' and '.join(runs))}</title>\n"
        f" <style>\n{_STYLE} </style>\n{_HATCH}"
        f' <rect class="paper" width="{_WIDTH}" height="{high}"/>\n'
        + "".join(f" {one}\n" for one in body)
        + "</svg>\n"
    )


def _start(run: dict[str, Any]) -> int:
    starts = [one[3] for one in run["tests"]]
    return int(min(starts + [mark[1] for mark in _fixtures(run)]))


def _end(run: dict[str, Any]) -> int:
    stops = [one[3] + one[4] for one in run["tests"]]
    return int(max(stops + [mark[2] for mark in _fixtures(run)]))


def _fixtures(run: dict[str, Any]) -> list[list[Any]]:
    return [mark for mark in run["marks"] if not mark[3].endswith(" outside")]


def _rows(run: dict[str, Any], top: float, scale: float) -> Iterator[str]:
    """
    Yield the row of pytest and those of the lanes of *run*.
    """
    start = _start(run)

    def box(kind: str, row: int, since: float, until: float) -> str:
        x, width = _LEFT + (since - start) * scale, (until - since) * scale
        return _box(kind, x, top + row * _ROW + 2, max(width, 0.5), _ROW - 4)

    for number, row in enumerate(run["rows"]):
        yield _text(8, top + number * _ROW + 14, row["name"])
    lanes = range(1, len(run["rows"]))
    for _, since, until, *_ in run["empties"]:
        yield from (box("empty", lane, max(since, start), until) for lane in lanes)
    for _, _, lane, since, took, _, phases, *_ in run["tests"]:
        yield box("guest", lane, since, since + took)
        calls = [
            span for kind, *span in zip(*[iter(phases)] * 3, strict=True) if kind == 1
        ]
        yield from (box("call", lane, since + a, since + a + b) for a, b in calls)
    for row, since, until, *_ in _fixtures(run):
        yield box("fixture", row, since, until)


def _box(kind: str, x: float, y: float, width: float, high: float) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{high:.1f}"'
    return f'<rect class="{kind}" {where}/>'


def _text(x: float, y: float, text: str, kind: str = "faint") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def main() -> None:
    """
    Write the picture.
    """
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            "One after the other": record(Path(folder), 1),
            "Side by side, three jobs": record(Path(folder), 3),
        }
    PICTURE.write_text(draw(runs))


if __name__ == "__main__":
    main()
