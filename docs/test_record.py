"""
The picture of a recorded run, drawn again.
"""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import record


def test_time_line(tmp_path: Path) -> None:
    """
    The picture has a row for each lane, and each test with its call once.
    """
    runs = {}
    for title, jobs in (("one", 1), ("three", 3)):
        folder = tmp_path / title
        folder.mkdir()
        runs[title] = record.record(folder, jobs)

    drawn = record.draw(runs)

    ET.fromstring(drawn)
    shown = [
        "one: ",
        "three: ",
        "pytest",
        "lane 1",
        "pytest",
        "lane 1",
        "lane 2",
        "lane 3",
    ]
    for text in shown:
        assert drawn.count(f">{text}") == shown.count(text)
    # One of each is in the legend.
    for kind in ("guest", "call"):
        assert drawn.count(f'<rect class="{kind}"') == 2 * 9 + 1
    for number, run in enumerate(runs.values()):
        assert len(run["rows"]) == (2, 4)[number]
        assert [one[2] for one in run["tests"]].count(1) == 9 or number


@pytest.mark.parametrize("text", ["One after the other", "Side by side, three jobs"])
def test_picture_is_there(text: str) -> None:
    """
    The picture that the pages show is one that the program has drawn.
    """
    assert f">{text}: " in record.PICTURE.read_text()
