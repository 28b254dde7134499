"""
The front page: its pictures, and the comparison with others.
"""

import re
import subprocess
import sys
from pathlib import Path

import draw
import pytest

DOCS = Path(__file__).parent
PAGES = [DOCS.parent / "README.md", *DOCS.rglob("*.md")]

#: A picture as README and as the other pages show it, with what is said of it.
_SHOWN = re.compile(
    r"!\[(?P<words>[^]]+)\]\(docs/pictures/(?P<name>\w+)\.svg\)"
    r"|^:::\{image\} \S*pictures/(?P<own>\w+)\.svg\n:alt: (?P<alt>.*)$",
    re.MULTILINE,
)


@pytest.mark.parametrize("name", draw.DRAWN)
def test_picture_is_as_drawn(name: str) -> None:
    """
    Each picture is what ``python3 docs/draw.py`` writes today.
    """
    drawn = draw.DRAWN[name]().svg()

    assert (draw.PICTURES / f"{name}.svg").read_text() == drawn, "docs/draw.py"


def test_each_picture_is_shown_and_told() -> None:
    """
    Each picture is on a page, which says in words what it shows.
    """
    shown = {
        found["name"] or found["own"]: found["words"] or found["alt"]
        for page in PAGES
        for found in _SHOWN.finditer(page.read_text())
    }

    assert shown == {name: picture().words for name, picture in draw.DRAWN.items()}
    # docs/record.py draws the time line.
    names = {path.stem for path in draw.PICTURES.iterdir()}
    assert names == {*draw.DRAWN, "time-line"}


@pytest.mark.parametrize("name", [*draw.DRAWN, "time-line"])
def test_picture_is_complete_and_quiet(name: str) -> None:
    """
    No picture loads anything, and each has colours for light and for dark screens.
    """
    svg = (draw.PICTURES / f"{name}.svg").read_text()

    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]
    assert "@media (prefers-color-scheme: dark)" in svg


def test_comparison_has_the_form_that_its_tool_writes() -> None:
    """
    The tables have all rows and peers, each with a version and a date, or a reason.
    """
    command = [sys.executable, str(DOCS.parent / "tools/compare"), "--check"]
    done = subprocess.run(
        command, capture_output=True, check=False, text=True, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
