"""
What the pages say is printed is printed.

In README.md and in each page of the documentation, from top to bottom: a block that
begins with ``# content of NAME`` becomes the file NAME, and a ``console`` block is run,
command by command, and must print what stands there. A line ``...`` stands for any
number of lines. What differs from machine to machine is left out of the comparison.

Commands that are not to be run here stand in ``shell`` blocks.
"""

import dataclasses
import difflib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DOCS = Path(__file__).parent
PAGES = sorted(
    path
    for path in [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
    if "_build" not in path.parts
)

#: The project directory that the pages show.
SHOWN_HOME = "/home/you/project"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CONTENT = re.compile(r"# content of (\S+)\n")
_DIFFERS = [
    # The machine, and who runs pytest on it.
    (r"^platform linux .*", "platform linux"),
    (r"^(rootdir|configfile|plugins|cachedir): .*\n", ""),
    (r"\(no user namespace,", "(user namespace,"),
    (r"('mnt'), 'user'\)", r"\1)"),
    (r"pid_on_host=\d+", "pid_on_host=1000"),
    (r"0x[0-9a-f]{8,}", "0x0"),
    (r"\b\d+\.\d\ds\b", "0.00s"),
    (r"\b\d+\.\d s\b", "0.0 s"),
    (r"\b\d+\.\d MiB\b", "0.0 MiB"),
    (r"\buid \d+\b", "uid 0"),
    # Widths that depend on those.
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
    """What stands behind the fence."""
    text: str
    """Its lines."""
    line: int
    """The line of the page that it begins in."""


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
    Yield the commands in *block*, each with what it should print.
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
        for name, value in os.environ.items()
        # In CI, which pytest knows by the last two, it cuts no line short.
        if not name.startswith(("PYTEST_", "COV_", "CI", "BUILD_NUMBER"))
    }
    environment = kept | {
        "PATH": f"{tools}:{os.environ.get('PATH', os.defpath)}",
        "COLUMNS": "80",
        "TERM": "dumb",
        # Other plugins that happen to be installed have a say in the output.
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
    Say whether *printed* is *shown*, in which a line ``...`` stands for any lines.
    """
    parts = re.split(r"^\.\.\.\n", normalise(shown), flags=re.MULTILINE)
    pattern = r"(?:.*\n)*?".join(re.escape(part) for part in parts)
    return re.fullmatch(pattern, normalise(printed)) is not None


def write_content(block: Block, directory: Path) -> None:
    """
    Make the file that *block* is the content of, if it is one.
    """
    found = _CONTENT.match(block.text)
    if found:
        (directory / found[1]).write_text(block.text)


# What the examples leave on purpose is left in a sandbox.
@pytest.mark.isolated
@pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(DOCS.parent))
)
def test_page_shows_what_is_printed(page: Path, tmp_path: Path) -> None:
    """
    Each command on the page prints what the page shows below it.
    """
    directory = tmp_path / "project"
    directory.mkdir()
    for block in blocks_of(page):
        write_content(block, directory)
        if block.language != "console":
            continue
        for command, shown in commands_of(block):
            printed = run(command, directory)
            if is_as_shown(printed, shown):
                continue
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


def test_python_blocks_are_python() -> None:
    """
    Each block of Python on each page compiles.
    """
    for page in PAGES:
        for block in blocks_of(page):
            if block.language == "python":
                compile(block.text, f"{page.name}:{block.line}", "exec")


def test_pages_are_found() -> None:
    """
    There are pages, and blocks to run on them: nothing above passes for want of any.
    """
    languages = [block.language for page in PAGES for block in blocks_of(page)]

    assert len(PAGES) > 10
    assert languages.count("console") > 10
