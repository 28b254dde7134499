"""
A headless Chromium that opens the pages of a folder and tells what is wrong with them.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urldefrag

from selenium import webdriver

#: The widths of a page, in pixels: that of a telephone and that of a desk.
WIDTHS = (390, 1400)

# Where both are installed, chromedriver is that of Chrome.
_PROGRAMS = ("google-chrome", "chromium", "chromium-browser")

# Elements that are fixed, or scroll in a box of their own, do not make a page wide.
_LOOK = """
const root = document.scrollingElement, edge = root.clientWidth;
const clips = element => getComputedStyle(element).overflowX !== "visible";
const is_fixed = element => getComputedStyle(element).position === "fixed";
function right(element) {
  const box = element.getBoundingClientRect();
  const text = clips(element) ? 0 : box.left + element.scrollWidth;
  return Math.max(box.right, text) + scrollX;
}
function sticks_out(element) {
  if (right(element) <= edge || is_fixed(element)) return false;
  for (let e = element.parentElement; e && e !== document.body; e = e.parentElement)
    if (clips(e) || is_fixed(e)) return false;
  return true;
}
function name(element) {
  const text = element.textContent.trim().replace(/\\s+/g, " ").slice(0, 40);
  return element.cloneNode(false).outerHTML.slice(0, 120) + (text && ` (${text})`);
}
let widest = null;
if (root.scrollWidth > edge)
  for (const element of document.body.querySelectorAll("*"))
    if (sticks_out(element) && (!widest || right(element) >= right(widest)))
      widest = element;
const all = selector => [...document.querySelectorAll(selector)];
const srcset = e => (e.srcset || "").split(",").map(one => one.trim().split(" ")[0]);
const files = all("img, source").flatMap(e => [e.src, ...srcset(e)]).filter(Boolean);
const unseen = all("img").filter(e => e.complete && !e.naturalWidth);
return {
  width: root.scrollWidth,
  edge: edge,
  widest: widest && name(widest),
  anchors: all("[id], a[name]").map(element => element.id || element.name),
  links: all("a[href]").map(element => element.href),
  files: files.map(one => new URL(one, document.baseURI).href),
  unseen: unseen.map(element => element.src),
};
"""


@dataclass(frozen=True)
class Visit:
    """
    A page as Chromium has shown it.
    """

    page: str
    """Its path in the folder."""
    faults: tuple[str, ...]
    """What is wrong with it, but for its links."""
    anchors: frozenset[str]
    """What a link can have behind its ``#``."""
    links: frozenset[str]
    """Where its links and pictures lead to, as whole URLs."""


class Browser:
    """
    A running Chromium, and the server from which it gets the files of a folder.
    """

    def __init__(self, driver: webdriver.Chrome, folder: Path, root: str) -> None:
        self.driver = driver
        self.folder = folder
        self.root = root

    def pages(self) -> list[str]:
        """
        Return the paths of all pages in the folder.
        """
        found = self.folder.rglob("*.html")
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def show(self, page: str, width: int, scheme: str = "light") -> None:
        """
        Open *page* in a window of this *width*, for a reader who likes this *scheme*.
        """
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1}
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**metrics, "mobile": False}
        )
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": features}
        )
        self.driver.get(self.root + page)

    def visit(self, page: str, width: int) -> Visit:
        """
        Open *page* in a window of this *width* and look at it.
        """
        self.driver.get_log("browser")
        self.show(page, width)
        seen = self.driver.execute_script(_LOOK)
        faults = [
            f"console: {entry['message']}"
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE"
        ]
        faults += [f"no picture: {url}" for url in seen["unseen"]]
        if seen["width"] > seen["edge"]:
            faults.append(
                f"{seen['width']} pixels wide instead of {seen['edge']}: "
                f"{seen['widest']}"
            )
        return Visit(
            page,
            tuple(fault.replace(self.root, "/") for fault in faults),
            frozenset(seen["anchors"]),
            frozenset(seen["links"] + seen["files"]),
        )

    def broken_links(
        self, visits: Collection[Visit], elsewhere: Mapping[str, Path]
    ) -> list[str]:
        """
        Return the links in *visits* that lead nowhere, each with its page.

        Of the links that leave the folder, those that begin with a key of *elsewhere*
        are looked up in the directory there. The others are not followed.
        """
        anchors = {visit.page: visit.anchors for visit in visits}

        def leads_nowhere(link: str) -> bool:
            """
            Say whether there is no such file, or no such anchor in it.
            """
            url, anchor = urldefrag(link)
            url = unquote(url.partition("?")[0])
            for start, directory in elsewhere.items():
                if url.startswith(start):
                    return not (directory / url.removeprefix(start)).exists()
            if not url.startswith(self.root):
                return False
            path = url.removeprefix(self.root)
            if path.endswith("/") or not path:
                path += "index.html"
            if not (self.folder / path).is_file():
                return True
            return bool(anchor) and unquote(anchor) not in anchors.get(path, {anchor})

        return [
            f"{visit.page}: {link.replace(self.root, '/')}"
            for visit in visits
            for link in sorted(visit.links)
            if leads_nowhere(link)
        ]


class _Handler(http.server.SimpleHTTPRequestHandler):
    """
    A handler of requests that prints none, and whose answers are not kept.
    """

    def end_headers(self) -> None:
        """
        Let each page be fetched anew: it may have been written a moment ago.
        """
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """
        Print nothing.
        """


def program(*names: str) -> str:
    """
    Return the path of the first of these programs that is installed.
    """
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise FileNotFoundError(f"none of these is installed: {', '.join(names)}")
    return found


@contextlib.contextmanager
def browse(folder: Path) -> Iterator[Browser]:
    """
    Run a Chromium for the pages in *folder*.
    """
    # Its path must be short: Chromium makes a socket in it.
    with tempfile.TemporaryDirectory(prefix="nsi") as own, _serve(folder) as root:
        driver = webdriver.Chrome(*_settings(own))
        try:
            yield Browser(driver, folder, root)
        finally:
            driver.quit()


@contextlib.contextmanager
def _serve(folder: Path) -> Iterator[str]:
    """
    Serve *folder* to this machine, and provide the URL of its top.
    """
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def _settings(own: str) -> tuple[webdriver.ChromeOptions, webdriver.ChromeService]:
    """
    Return the settings of a Chromium that writes to the directory *own* alone.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = program(*_PROGRAMS)
    for argument in (
        "headless=new",
        # It does not run as root otherwise, and sees only pages that were made here.
        "no-sandbox",
        f"user-data-dir={own}",
        # What a page wants from another machine is an error in the console.
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "disable-background-networking",
        "disable-component-update",
        "disable-gpu",
        # As on a telephone, they take no width from the page.
        "hide-scrollbars",
        "no-first-run",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    names = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
    environment = {**os.environ, **dict.fromkeys(names, own)}
    return options, webdriver.ChromeService(program("chromedriver"), env=environment)
