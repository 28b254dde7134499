"""
The page that ``--nsisolate-timeline`` writes, used without a mouse and without eyes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from browser import WIDTHS, Browser, browse
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

SUITE = """
import pytest

pytestmark = pytest.mark.isolated

@pytest.mark.parametrize("number", range(3))
def test_one(number):
    assert number != 1
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """
    Provide a Chromium for the page of a run of three tests.
    """
    folder = tmp_path_factory.mktemp("pages")
    (folder / "test_three.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "--nsisolate-timeline=line.html"]
    plain = {name: one for name, one in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        command, cwd=folder, env=plain, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    with browse(folder) as browser:
        yield browser


@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_sound(browser: Browser, width: int) -> None:
    """
    The page is no wider than its window and has no error.
    """
    assert browser.visit("line.html", width).faults == ()


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_are_heard(browser: Browser, width: int) -> None:
    """
    A screen reader finds tables with rows and cells, also where rows look like lists.
    """
    browser.show("line.html", width)
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})
    nodes = [one for one in tree["nodes"] if not one["ignored"]]
    roles = Counter(one["role"]["value"] for one in nodes)
    heads = {
        one["name"]["value"] for one in nodes if one["role"]["value"] == "columnheader"
    }
    find = browser.driver.find_elements

    assert roles["table"] == len(find(By.TAG_NAME, "table")) > 2
    assert roles["row"] == len(find(By.TAG_NAME, "tr"))
    assert roles["cell"] == len(find(By.TAG_NAME, "td"))
    assert {"Test", "Lane", "Took"} <= heads
    assert roles["main"] == 1


def test_keys_go_from_test_to_test(browser: Browser) -> None:
    """
    The tab key leads to the picture, arrows to each test, and what it did is said.
    """
    browser.show("line.html", WIDTHS[-1])
    active = browser.driver.switch_to
    for _ in range(20):
        active.active_element.send_keys(Keys.TAB)
        if active.active_element.tag_name == "canvas":
            break
    picture = active.active_element
    info = browser.driver.find_element(By.CSS_SELECTOR, "[role=status]")

    said = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT):
        picture.send_keys(key)
        said.append(info.text)
    names = [text.partition(" ")[0].rpartition("::")[2] for text in said]
    assert names == ["test_one[0]", "test_one[1]", "test_one[2]", "test_one[1]"]
    assert "Failed." in said[1]
    picture.send_keys(Keys.TAB)
    assert active.active_element.tag_name != "canvas"
