"""
The commands on the pages, run to check that they print what the pages show.

README.md and each page of the documentation are read from top to bottom. A block that
begins with ``# content of NAME`` becomes the file NAME. A ``console`` block is run
command by command and must print what it shows. A line ``...`` stands for any number of
lines. The comparison leaves out what differs from machine to machine.

The commands of an example are run in a copy of its folder.

Commands that must not be run here are in ``shell`` blocks.
"""

import dataclasses
import difflib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from environment import unchanging

import pytest_nsisolate

DOCS = Path(__file__).parent
PAGES = sorted(
    path
    for path in [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
    if "_build" not in path.parts
)
EXAMPLES = [page for page in PAGES if page.match("docs/examples/*/README.md")]

#: The project directory shown on the pages.
SHOWN_HOME = "/home/you/project"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CONTENT = re.compile(r"# content of (\S+)\n")
_DIFFERS = [
    # The machine and the user that runs pytest on it.
    (r"^platform linux .*", "platform linux"),
    (r"^(rootdir|configfile|plugins|cachedir): .*\n", ""),
    (r"\(no user namespace,", "(user namespace,"),
    (r"('mnt'), 'user'\)", r"\1)"),
    (r"pid_on_host=\d+", "pid_on_host=1000"),
    (r"0x[0-9a-f]{8,}", "0x0"),
    (r"\b\d+\.\d+( ?)s\b", r"0.0\1s"),
    (r"\b\d+(\.\d)? MiB\b", "0 MiB"),
    (r"\buid \d+\b", "uid 0"),
    # Process ids inside: mostly the first ones after init, but those of processes
    # above pytest are left out.
    (r": process \d+\b", ": process 0"),
    (r"^( +)\d+ (.* of processor time, )", r"\1 0 \2"),
    # Python 3.14 and later name the thread.
    (r"(thread 0x0) \[.*\]", r"\1"),
    # Widths that depend on the above.
    (r"([=_-])\1{3,}", r"\1\1\1"),
    (r"[ \t]+", " "),
    (r" ?\n+", "\n"),
]


@dataclasses.dataclass(frozen=True)
class Block:
    """
    A fenced block of a page.
    """

    language: str
    """The word after the opening fence."""
    text: str
    """Its lines."""
    line: int
    """The number of its first line on the page."""


def blocks_of(page: Path) -> Iterator[Block]:
    """
    Yield the fenced blocks of *page*.
    """
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start(2)) + 1
        yield Block(found[1], found[2], line)


def commands_of(block: Block) -> Iterator[tuple[str, str]]:
    """
    Yield the commands in *block*, each with its expected output.
    """
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def run(command: str, directory: Path) -> str:
    """
    Return what *command* prints in *directory*, where ``pytest`` is this pytest.
    """
    tools = directory.parent / "bin"
    tools.mkdir(exist_ok=True)
    script = tools / "pytest"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pytest "$@"\n')
    script.chmod(0o755)
    kept = {
        name: value
        for name, value in unchanging().items()
        if not name.startswith(("PYTEST_", "COV_"))
    }
    environment = kept | {
        "PATH": f"{tools}:{os.environ.get('PATH', os.defpath)}",
        "COLUMNS": "80",
        "TERM": "dumb",
        # Other plugins that happen to be installed would change the output.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "-p nsisolate -p no:cacheprovider --color=no",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.stdout.decode().replace(str(directory), SHOWN_HOME)


def normalise(output: str) -> str:
    """
    Return *output* without what differs from machine to machine.
    """
    text = output.strip() + "\n"
    for pattern, replacement in _DIFFERS:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def is_as_shown(printed: str, shown: str) -> bool:
    """
    Say whether *printed* matches *shown*, where a line ``...`` stands for any lines.
    """
    parts = re.split(r"^\.\.\.\n", normalise(shown), flags=re.MULTILINE)
    pattern = r"(?:.*\n)*?".join(re.escape(part) for part in parts)
    return re.fullmatch(pattern, normalise(printed)) is not None


def write_content(block: Block, directory: Path) -> None:
    """
    Write the file whose content *block* is, if it is such a block.
    """
    found = _CONTENT.match(block.text)
    if found:
        (directory / found[1]).write_text(block.text)


def check(page: Path, directory: Path) -> None:
    """
    Run the commands on *page* in *directory*, and compare what they print.
    """
    for block in blocks_of(page):
        write_content(block, directory)
        if block.language != "console":
            continue
        for command, shown in commands_of(block):
            printed = run(command, directory)
            if is_as_shown(printed, shown):
                continue
            # An example may need servers, for instance.
            if page in EXAMPLES and " skipped in " in printed:
                pytest.skip(f"{page.parent.name} needs what is not installed")
            lines = difflib.unified_diff(
                normalise(shown).splitlines(),
                normalise(printed).splitlines(),
                "shown",
                "printed",
                lineterm="",
            )
            diff = "\n".join(lines)
            pytest.fail(
                f"{page.name}:{block.line}: $ {command}\n{diff}\n\n{printed}",
                pytrace=False,
            )


def name_of(page: Path) -> str:
    """
    Return the path of *page* in the repository.
    """
    return str(page.relative_to(DOCS.parent))


# A sandbox takes along what is left on purpose.
@pytest.mark.isolated
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in EXAMPLES], ids=name_of
)
def test_page_shows_what_is_printed(page: Path, tmp_path: Path) -> None:
    """
    Each command on the page prints what the page shows below it.
    """
    directory = tmp_path / "project"
    directory.mkdir()
    check(page, directory)


@pytest.mark.kernel
@pytest.mark.isolated(leaks="ignore")
@pytest.mark.parametrize("page", EXAMPLES, ids=name_of)
def test_example_shows_what_is_printed(page: Path, tmp_path: Path) -> None:
    """
    Each command on the page of an example does so in the folder of the example.
    """
    directory = tmp_path / "project"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(page.parent, directory, ignore=ignore)
    check(page, directory)


def test_python_blocks_are_python() -> None:
    """
    Each block of Python on each page compiles.
    """
    for page in PAGES:
        for block in blocks_of(page):
            if block.language == "python":
                compile(block.text, f"{page.name}:{block.line}", "exec")


def test_outputs_are_those_of_a_user() -> None:
    """
    Each page shows what most readers see, who are not root.
    """
    roots = re.compile(r"\(no user namespace,|'mnt'\)|\buid 0\b")
    shown = [
        f"{page.name}:{block.line}"
        for page in PAGES
        for block in blocks_of(page)
        if block.language == "console" and roots.search(block.text)
    ]

    assert shown == []


def test_outputs_are_of_this_version() -> None:
    """
    Where pytest names the plugin, the pages show the version that they describe.
    """
    shown = {
        (page.name, version)
        for page in PAGES
        for version in re.findall(r"\bnsisolate-(\d[\w.]*)", page.read_text())
    }

    assert shown
    assert {version for _, version in shown} == {pytest_nsisolate.__version__}, shown


def test_pages_are_found() -> None:
    """
    There are pages with blocks to run, so the tests above do not pass for lack of any.
    """
    languages = [block.language for page in PAGES for block in blocks_of(page)]

    assert len(PAGES) > 10
    assert languages.count("console") > 10
