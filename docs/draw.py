"""
The pictures of the documentation, made from the descriptions below.

Usage: python3 docs/draw.py

Writes docs/pictures/*.svg. Each has a background of its own, for light and for dark
screens, and text that can be read where it is 360 pixels wide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

DOCS = Path(__file__).parent
PICTURES = DOCS / "pictures"

_WIDTH = 360

_STYLE = """\
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .code { font: 11px ui-monospace, monospace }
  .head { font-weight: bold }
  .small { font-size: 11px }
  .faint { fill: #59636e }
  .middle { text-anchor: middle }
  .end { text-anchor: end }
  text.bad { fill: #b3261e }
  .paper { fill: #ffffff; stroke: #d1d9e0 }
  .machine { fill: #f0f4f8; stroke: #59636e; stroke-width: 1.5 }
  .part { fill: #ffffff; stroke: #59636e }
  .ours { fill: #dbeafe; stroke: #1d5fa8; stroke-width: 1.5 }
  .theirs { fill: #c3cad2 }
  .mine { fill: #1d5fa8 }
  .line { fill: none; stroke: #59636e; stroke-width: 1.5 }
  .tip { fill: #59636e }
  .dashed { stroke-dasharray: 4 3 }
  .mark { fill: none; stroke-width: 2.5 }
  .mark.good { stroke: #116329 }
  .mark.bad { stroke: #b3261e }
  @media (prefers-color-scheme: dark) {
   text { fill: #e6edf3 }
   .faint { fill: #9ba6b2 }
   text.bad { fill: #ff8f86 }
   .paper { fill: #12161c; stroke: #3d444d }
   .machine { fill: #1d242c; stroke: #9ba6b2 }
   .part { fill: #12161c; stroke: #9ba6b2 }
   .ours { fill: #15304f; stroke: #6cb0ff }
   .theirs { fill: #4a535d }
   .mine { fill: #4493f8 }
   .line { stroke: #9ba6b2 }
   .tip { fill: #9ba6b2 }
   .mark.good { stroke: #6fdd8b }
   .mark.bad { stroke: #ff8f86 }
  }
"""


class Picture(NamedTuple):
    """
    A picture, and what it says to those who cannot see it.
    """

    title: str
    words: str
    height: int
    shapes: Sequence[str]

    def svg(self) -> str:
        """
        Return it as the text of a file.
        """
        size = f'viewBox="0 0 {_WIDTH} {self.height}"'
        # As wide as text on a large screen can use; pages make it narrower.
        large = f'width="{_WIDTH * 1.5:g}" height="{self.height * 1.5:g}"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {large} role="img">',
            f" <title>{escape(self.title)}</title>",
            f" <desc>{escape(self.words)}</desc>",
            f" <style>\n{_STYLE} </style>",
            f" {box(0.5, 0.5, _WIDTH - 1, self.height - 1, 'paper', round_=8)}",
            *(f" {shape}" for shape in self.shapes),
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


def box(
    x: float, y: float, width: float, height: float, kind: str, *, round_: int = 5
) -> str:
    """
    Return a box whose left upper corner is at *x*, *y*.
    """
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" '
        f'height="{height:g}" rx="{round_}"/>'
    )


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """
    Return *words* whose line begins at *x*, *y*, or elsewhere, if *kind* says so.
    """
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:g}" y="{y:g}">{escape(words)}</text>'


def arrow(*points: tuple[float, float], kind: str = "") -> str:
    """
    Return a line through *points* with a tip; its last part is along an axis.
    """
    (before_x, before_y), (x, y) = points[-2:]
    right, down = _sign(x - before_x), _sign(y - before_y)
    tip = [
        (x, y),
        (x - 7 * right - 4 * down, y - 7 * down - 4 * right),
        (x - 7 * right + 4 * down, y - 7 * down + 4 * right),
    ]
    # The line ends within the tip.
    ends = [*points[:-1], (x - 4 * right, y - 4 * down)]
    return (
        f'<path class="line {kind}" d="{_path(ends)}"/>'
        f'<path class="tip" d="{_path(tip)}z"/>'
    )


def line(*points: tuple[float, float], kind: str = "") -> str:
    """
    Return a line through *points*.
    """
    return f'<path class="line {kind}" d="{_path(points)}"/>'


def tick(x: float, y: float) -> str:
    """
    Return the mark of what is well, centred at *x*, *y*.
    """
    points = [(x - 5, y), (x - 1, y + 4), (x + 6, y - 5)]
    return f'<path class="mark good" d="{_path(points)}"/>'


def cross(x: float, y: float) -> str:
    """
    Return the mark of what went wrong, centred at *x*, *y*.
    """
    one = [(x - 5, y - 5), (x + 5, y + 5)]
    other = [(x - 5, y + 5), (x + 5, y - 5)]
    return f'<path class="mark bad" d="{_path(one)}{_path(other)}"/>'


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in points)


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def clash() -> Picture:
    """
    Draw two tests that clash, and the same on machines of their own.
    """
    tests = ("test_camera", "test_viewer")
    shapes = [
        text(12, 22, "pytest: one machine for all tests", "head"),
        box(10, 32, 340, 96, "machine"),
    ]
    for place, name in enumerate(tests):
        x = 20 + 170 * place
        shapes += [
            box(x, 42, 150, 26, "part"),
            text(x + 10, 59, name, "code"),
            (cross if place else tick)(x + 134, 55),
        ]
    shapes += [
        box(110, 94, 140, 24, "part"),
        text(180, 110, "/dev/shm/frame", "code middle"),
        arrow((140, 68), (140, 94)),
        arrow((220, 68), (220, 94)),
        text(132, 86, "makes it", "small end faint"),
        text(229, 86, "FileExistsError", "code bad"),
        text(12, 154, "@pytest.mark.isolated: a machine for each", "head"),
    ]
    for place, name in enumerate(tests):
        x = 10 + 174 * place
        shapes += [
            box(x, 164, 166, 96, "ours"),
            box(x + 8, 174, 150, 26, "part"),
            text(x + 18, 191, name, "code"),
            tick(x + 142, 187),
            box(x + 13, 226, 140, 24, "part"),
            text(x + 83, 242, "/dev/shm/frame", "code middle"),
            arrow((x + 83, 200), (x + 83, 226)),
            text(x + 91, 218, "makes it", "small faint"),
        ]
    return Picture(
        "Two tests that clash, and the same isolated",
        "On one machine, test_camera makes /dev/shm/frame, and test_viewer, which "
        "makes it too, fails with FileExistsError. Isolated, each has a machine with "
        "its own /dev/shm/frame, and both pass.",
        270,
        shapes,
    )


def processes() -> Picture:
    """
    Draw the processes that run an isolated test.
    """
    shapes = [
        box(12, 14, 140, 46, "part"),
        text(82, 33, "supervisor", "head middle"),
        text(82, 50, "pytest itself", "small middle faint"),
        box(222, 14, 126, 46, "part"),
        text(285, 33, "launcher", "head middle"),
        text(285, 50, "a bare Python", "small middle faint"),
        arrow((152, 37), (222, 37)),
        text(187, 30, "asks", "small middle faint"),
        box(12, 120, 336, 108, "ours"),
        text(180, 218, "sandbox: ipc, uts, pid and mnt namespaces", "small middle"),
        box(24, 134, 150, 62, "part"),
        text(99, 153, "guest", "head middle"),
        text(99, 170, "a fork of pytest,", "small middle faint"),
        text(99, 185, "runs one test", "small middle faint"),
        box(216, 134, 120, 62, "part"),
        text(276, 153, "init, PID 1", "head middle"),
        text(276, 170, "makes it, and ends", "small middle faint"),
        text(276, 185, "all that is in it", "small middle faint"),
        arrow((48, 60), (48, 134)),
        text(55, 94, "forks", "small faint"),
        arrow((124, 134), (124, 60), kind="dashed"),
        text(131, 94, "reports,", "small faint"),
        text(131, 108, "as they come", "small faint"),
        arrow((285, 60), (285, 134)),
        text(292, 94, "forks", "small faint"),
    ]
    return Picture(
        "The processes of an isolated test",
        "The supervisor, which is pytest itself, asks the launcher, a bare Python, "
        "for a sandbox. The launcher forks init, PID 1 of the sandbox. The supervisor "
        "forks the guest, which enters the sandbox, runs one test and sends its "
        "reports back.",
        240,
        shapes,
    )


def boxes() -> Picture:
    """
    Draw a test with two boxes and the link between them.
    """
    shapes = [
        box(12, 12, 336, 34, "part"),
        text(24, 33, "a test", "head"),
        text(76, 33, "db, web and link are what it has made", "small faint"),
    ]
    calls = ((12, "db", "db.popen([...])"), (214, "web", "web.run(connect)"))
    for x, name, call in calls:
        shapes += [
            arrow((x + 18, 46), (x + 18, 96)),
            text(x + 26, 75, call, "code"),
            box(x, 96, 134, 92, "ours"),
            text(x + 67, 115, f"box {name}", "head middle"),
            text(x + 67, 133, f"hostname {name}", "small middle faint"),
            text(x + 67, 148, "own processes, IPC,", "small middle faint"),
            text(x + 67, 163, "ports and addresses", "small middle faint"),
            text(x + 67, 180, f"link.address({name})", "code middle"),
        ]
    shapes += [
        line((146, 176), (170, 176)),
        line((190, 176), (214, 176)),
        cross(180, 176),
        text(180, 120, "link", "head middle"),
        text(180, 150, "down()", "code middle"),
        text(180, 164, "up()", "code middle"),
    ]
    return Picture(
        "Two boxes and a link",
        "A test has made the boxes db and web, and a link. It starts a process in db "
        "and calls a function in web. Each box has a hostname, processes, IPC objects, "
        "ports and addresses of its own. The link between them can be cut with "
        "link.down() and restored with link.up().",
        200,
        shapes,
    )


def costs() -> Picture:
    """
    Draw what a test adds, from the figures on the page about cost.
    """
    page = (DOCS / "explanation/cost.md").read_text()
    table = page.partition("**Each test, on Python 3.11 in a bare pytest**")[2]
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in table.strip().partition("\n\n")[0].splitlines()[2:]
    ]
    found = [(_name(first), float(wall.split()[0])) for first, _, _, wall, *_ in rows]
    measured = re.search(r"^Medians of .*?measured (on .*?)\. ", page, re.MULTILINE)
    assert measured is not None
    most = max(value for _, value in found)
    shapes = [text(12, 22, "Milliseconds that a test adds", "head")]
    for place, (name, value) in enumerate(found):
        y = 36 + 34 * place
        kind = "mine" if name.startswith("pytest-nsisolate") else "theirs"
        width = 270 * value / most
        shapes += [
            text(12, y + 9, name, "small"),
            box(12, y + 14, width, 11, kind, round_=2),
            text(18 + width, y + 24, f"{value:g}", "small"),
        ]
    end = 36 + 34 * len(found)
    day, _, machine = measured[1].partition(" with ")
    shapes += [
        text(
            12,
            end + 14,
            f"Wall time on a quiet machine, measured {day},",
            "small faint",
        ),
        text(12, end + 30, machine.replace(" and ", ", "), "small faint"),
    ]
    spoken = ", ".join(f"{name} {value:g}" for name, value in found)
    return Picture(
        "What a test costs",
        f"Milliseconds of wall time that a test adds: {spoken}.",
        end + 42,
        shapes,
    )


def _name(first: str) -> str:
    return re.sub("^isolated, ", "pytest-nsisolate, ", first.partition(" (")[0])


def facts() -> Picture:
    """
    Draw what the project says of itself, where other projects have badges.
    """
    project = (DOCS.parent / "pyproject.toml").read_text()
    pythons = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    licence = re.search(r'^license = "(\w+) AND ([\w.-]+)"$', project, re.MULTILINE)
    corners = re.search(r"pytest\{(\d)(\d), (\d)(\d)\}", _of_tox())
    kernels = (DOCS / "reference/compatibility.md").read_text()
    kernel = re.search(r"^\| (\d+\.\d+)\S* \| a user ", kernels, re.MULTILINE)
    assert licence is not None
    assert corners is not None
    assert kernel is not None
    said = {
        "Linux": f"{kernel[1]} and later",
        "Python": f"{pythons[0]} to {pythons[-1]}",
        "pytest": f"{corners[1]}.{corners[2]} to {corners[3]}.{corners[4]}",
        "licence": f"{licence[1]} and {licence[2]}",
    }
    shapes = []
    for place, (name, value) in enumerate(said.items()):
        x, y = 8 + 174 * (place % 2), 8 + 28 * (place // 2)
        shapes += [
            box(x, y, 170, 22, "machine", round_=4),
            text(x + 8, y + 15, name, "small faint"),
            text(x + 162, y + 15, value, "small end"),
        ]
    spoken = "; ".join(f"{name} {value}" for name, value in said.items())
    return Picture("What it runs on, and the licence", f"{spoken}.", 66, shapes)


def _of_tox() -> str:
    return (DOCS.parent / "tox.ini").read_text()


#: What draws each picture, by its name.
DRAWN: dict[str, Callable[[], Picture]] = {
    "boxes": boxes,
    "clash": clash,
    "costs": costs,
    "facts": facts,
    "processes": processes,
}


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for name, draw in DRAWN.items():
        (PICTURES / f"{name}.svg").write_text(draw().svg())
