"""
The colours of the page of a time line: all can be told from what is behind them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pytest_nsisolate

PAGE = Path(pytest_nsisolate.__file__).parent / "reporting" / "timeline.html"

#: The colours of texts, and of what has a meaning in the picture.
TEXTS = ("text", "soft", "link", "bad")
SIGNS = ("setup", "call", "teardown", "rest", "wait", "host", "mark", "edge")


def palettes() -> list[dict[str, str]]:
    """
    Return the colours of the light page and of the dark one.
    """
    blocks = re.findall(r":root \{(.+?)\}", PAGE.read_text(), re.DOTALL)
    return [dict(re.findall(r"--(\w+): #([0-9a-f]+);", block)) for block in blocks]


def luminance(colour: str) -> float:
    """
    Return how bright *colour* is. Source: WCAG 2.2, relative luminance.
    """
    whole = colour if len(colour) == 6 else "".join(one * 2 for one in colour)
    parts = [int(whole[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """
    Return the contrast of two colours. Source: WCAG 2.2, contrast ratio.
    """
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_contrast(mode: str) -> None:
    """
    Texts have the contrast of WCAG 1.4.3, level AA, and signs that of 1.4.11.
    """
    light, dark = palettes()
    colours = light if mode == "light" else dark

    assert {*TEXTS, *SIGNS, "page", "card", "line"} == {*colours}
    for behind in ("page", "card"):
        weak = [
            name for name in TEXTS if contrast(colours[name], colours[behind]) < 4.5
        ]
        assert weak == [], behind
    assert [one for one in SIGNS if contrast(colours[one], colours["page"]) < 3] == []
