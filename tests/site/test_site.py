"""
The site: each of its pages, opened in a headless Chromium.

This takes ``tox -e site``, with Debian's packages chromium and chromium-driver.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import WIDTHS, Browser, Visit, browse
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(DOCS).with_suffix(".html").as_posix()
    for path in DOCS.rglob("*.md")
    if "_build" not in path.parts
)

#: The page that Sphinx adds.
ADDED = ["search.html"]

#: Where links to the repository would lead.
REPOSITORY = "https://github.com/pytest-nsisolate/pytest-nsisolate"
ELSEWHERE = {f"{REPOSITORY}/{view}/main/": ROOT for view in ("blob", "edit", "raw")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Provide the folder of the site, built from this checkout.
    """
    folder = tmp_path_factory.mktemp("site") / "html"
    doctrees = folder.with_name("doctrees")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", doctrees, DOCS, folder],
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[Browser]:
    """
    Provide a Chromium for the site.
    """
    with browse(site) as browser:
        yield browser


@pytest.fixture(scope="module")
def visits() -> dict[str, Visit]:
    """
    Provide what became of the pages that have been opened, none yet.
    """
    return {}


def test_every_page_is_opened(browser: Browser) -> None:
    """
    The tests below open all pages of the site.
    """
    assert browser.pages() == sorted([*PAGES, *ADDED])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", [*PAGES, *ADDED])
def test_page_is_sound(
    browser: Browser, visits: dict[str, Visit], page: str, width: int
) -> None:
    """
    A page is no wider than its window, shows its pictures and has no error.
    """
    visits[page] = visit = browser.visit(page, width)

    assert not visit.faults, "\n".join(visit.faults)


def test_links_lead_somewhere(browser: Browser, visits: dict[str, Visit]) -> None:
    """
    Each link to a page, an anchor, a picture or a file of the repository has its aim.
    """
    for page in browser.pages():
        if page not in visits:
            visits[page] = browser.visit(page, WIDTHS[-1])
    links = {link for visit in visits.values() for link in visit.links}

    assert any(link.startswith(tuple(ELSEWHERE)) for link in links)
    assert any("#" in link and link.startswith(browser.root) for link in links)
    broken = browser.broken_links(visits.values(), ELSEWHERE)
    assert not broken, "\n".join(broken)


def test_search_finds_a_page(browser: Browser) -> None:
    """
    The search finds the page on the marker by one of its keywords.
    """
    browser.show("search.html?q=overlay_size", WIDTHS[-1])
    wait = WebDriverWait(browser.driver, 30)

    wait.until(
        lambda driver: driver.find_elements(
            By.CSS_SELECTOR, '#search-results a[href*="reference/marker.html"]'
        )
    )


def test_commands_are_copied_without_output(browser: Browser) -> None:
    """
    The button of a console block copies its command: no prompt and no output.
    """
    browser.show("tutorial.html", WIDTHS[-1])
    block = browser.driver.find_element(By.CSS_SELECTOR, ".highlight-console")
    button = block.find_element(By.CSS_SELECTOR, "button.copybtn")
    # Smooth, it would still scroll while the pointer moves.
    scroll = 'arguments[0].scrollIntoView({behavior: "instant"})'
    browser.driver.execute_script(scroll, block)
    ActionChains(browser.driver).move_to_element(block).click(button).perform()
    field = browser.driver.find_element(By.CSS_SELECTOR, "input[name=q]")
    field.send_keys(Keys.CONTROL, "v")
    command, *output = block.find_element(By.TAG_NAME, "pre").text.splitlines()

    assert output
    assert command == f"$ {field.get_property('value')}"


def test_output_has_no_button(browser: Browser) -> None:
    """
    A block that is all output cannot be copied, unlike one of Python.
    """
    browser.show("reference/options.html", WIDTHS[-1])
    buttons = ".highlight-text button.copybtn"
    assert browser.driver.find_elements(By.CSS_SELECTOR, ".highlight-text")
    assert browser.driver.find_elements(By.CSS_SELECTOR, buttons) == []

    browser.show("tutorial.html", WIDTHS[-1])
    buttons = ".highlight-python button.copybtn"
    assert browser.driver.find_elements(By.CSS_SELECTOR, buttons)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "page", ["explanation/comparison.html", "reference/options.html"]
)
def test_tables_fit(browser: Browser, page: str, width: int) -> None:
    """
    A table needs no box to scroll in: on a telephone, its rows are lists.
    """
    browser.show(page, width)
    boxes = browser.driver.find_elements(By.CSS_SELECTOR, ".table-wrapper")

    assert boxes
    assert [box.text[:80] for box in boxes if scrolls(box)] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_errors_are_read_whole(browser: Browser, width: int) -> None:
    """
    An error is not cut where a window ends.
    """
    browser.show("reference/errors.html", width)
    blocks = browser.driver.find_elements(By.CSS_SELECTOR, "pre.is-error")

    assert len(blocks) > 50
    assert [block.text for block in blocks if scrolls(block)] == []
    assert blocks[0].text.splitlines()[1].startswith("why: ")


def test_keys_reach_what_scrolls(browser: Browser) -> None:
    """
    Blocks and pictures that are wider than a telephone can be scrolled with the keys.
    """
    browser.show("explanation/cost.html", WIDTHS[0])
    boxes = browser.driver.find_elements(By.CSS_SELECTOR, "article pre, .plot")
    wide = [box for box in boxes if scrolls(box)]

    assert {box.tag_name for box in wide} == {"div", "pre"}
    assert {box.get_property("tabIndex") for box in wide} == {0}


def test_roles_are_whole(browser: Browser) -> None:
    """
    A table is one for those who hear it, also as a list, and each heading has a level.
    """
    browser.show("reference/options.html", WIDTHS[0])
    find = browser.driver.find_elements
    roles = ("table", "rowgroup", "row", "cell")

    for parent, part in itertools.pairwise(roles):
        assert find(By.CSS_SELECTOR, f"article [role={parent}] > [role={part}]")
    assert find(By.CSS_SELECTOR, "[role=heading]")
    assert not find(By.CSS_SELECTOR, "[role=heading]:not([aria-level])")


def test_page_for_addresses_that_lead_nowhere(browser: Browser) -> None:
    """
    That page, shown at any depth of the site, leads to the first one and has its style.
    """
    text = (browser.folder / "404.html").read_text()

    assert 'href="/index.html"' in text
    assert 'href="/_static/site.css' in text


def test_link_to_a_page_says_what_it_is(browser: Browser) -> None:
    """
    A page names itself to programs that show something of it beside a link.
    """
    browser.show("reference/options.html", WIDTHS[-1])
    metas = browser.driver.find_elements(By.CSS_SELECTOR, "meta[property^='og:']")
    told = {
        one.get_attribute("property"): one.get_attribute("content") for one in metas
    }

    assert told["og:title"] == "Options"
    assert told["og:description"].startswith("This page lists the options")


def scrolls(box: Any) -> bool:
    """
    Say whether *box* is less wide than what is in it.
    """
    return bool(box.get_property("scrollWidth") > box.get_property("clientWidth"))
