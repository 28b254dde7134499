"""
What the look at a page finds: one small page for each kind of fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import WIDTHS, Browser, Visit, browse

PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
SOUND = f"""
<h1 id="top">Sound</h1>
<p><a href="#top">up</a> <a href="sound.html#top">here</a> <img src="there.svg">
{PICTURE} <a href="https://example.invalid/not-followed">away</a></p>
<div style="overflow-x: auto"><pre>{"wide " * 200}</pre></div>
<div style="position: fixed; left: 95%; width: 50em">a drawer that is not open</div>
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """
    Provide a Chromium for the pages of these tests.
    """
    folder = tmp_path_factory.mktemp("pages")
    (folder / "there.svg").write_text(PICTURE)
    # Chromium asks for it on its own.
    (folder / "favicon.ico").touch()
    with browse(folder) as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser) -> Callable[..., Visit]:
    """
    Provide a function that writes a page and opens it.
    """

    def visit(body: str, page: str = "page.html", width: int = WIDTHS[0]) -> Visit:
        """
        Return what a reader sees of a page with this *body*.
        """
        (browser.folder / page).write_text(
            '<!DOCTYPE html><meta charset="utf-8"><title>A page</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<body>{body}</body>"
        )
        return browser.visit(page, width)

    return visit


@pytest.mark.parametrize("width", WIDTHS)
def test_sound_page_has_no_fault(
    browser: Browser, visit: Callable[..., Visit], width: int
) -> None:
    """
    Nothing is found on a page whose wide parts scroll by themselves.
    """
    seen = visit(SOUND, "sound.html", width)

    assert seen.faults == ()
    assert browser.broken_links([seen], {}) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (
            '<p>thin</p><div><p id="broad" style="width: 800px">broad</p></div>',
            '808 pixels wide instead of 390: <p id="broad"',
        ),
        (
            f'<p class="unbroken">{"x" * 200}</p>',
            'pixels wide instead of 390: <p class="unbroken"',
        ),
        (
            '<script>console.error("it is broken")</script>',
            "it is broken",
        ),
        (
            "<script>throw new Error('uncaught')</script>",
            "Uncaught Error: uncaught",
        ),
        (
            '<img src="missing.svg">',
            "/missing.svg - Failed to load resource: the server responded with a",
        ),
        (
            '<img src="data:image/png;base64,bm90IGEgcGljdHVyZQ==">',
            "no picture: data:image/png",
        ),
        (
            '<link rel="stylesheet" href="https://example.invalid/a.css">',
            "net::ERR_NAME_NOT_RESOLVED",
        ),
    ],
    ids=["wide", "unbroken", "error", "uncaught", "missing", "garbled", "network"],
)
def test_fault_is_found(visit: Callable[..., Visit], body: str, fault: str) -> None:
    """
    A page with a fault is not sound, and what is found says what it is.
    """
    faults = visit(body).faults

    assert faults
    assert fault in "\n".join(faults)


def test_what_is_wide_on_a_telephone_alone(visit: Callable[..., Visit]) -> None:
    """
    A page is looked at in the width that was asked for.
    """
    body = '<div style="width: 800px">broad</div>'

    assert visit(body, width=WIDTHS[0]).faults
    assert visit(body, width=WIDTHS[1]).faults == ()


@pytest.mark.parametrize(
    "link",
    [
        '<a href="missing.html">',
        '<a href="missing/">',
        '<a href="sound.html#missing">',
        '<a href="#missing">',
        '<a href="https://example.invalid/blob/missing.txt?plain=1">',
        '<picture><source srcset="missing.svg" media="print"></picture>',
    ],
)
def test_broken_link_is_found(
    browser: Browser, visit: Callable[..., Visit], tmp_path: Path, link: str
) -> None:
    """
    A link to a file or an anchor that does not exist is broken.
    """
    elsewhere = {"https://example.invalid/blob/": tmp_path}
    (tmp_path / "there.txt").touch()
    there = "https://example.invalid/blob/there.txt?plain=1"
    page = visit(f'<p>{link}</p><p><a href="{there}">there</a></p>')
    broken = browser.broken_links([visit(SOUND, "sound.html"), page], elsewhere)

    assert len(broken) == 1
    assert "missing" in broken[0]
    assert broken[0].startswith("page.html: ")
