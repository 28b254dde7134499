"""
The packages whose suites are run, each built from source in an environment of its own.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from commands import run
from packages import CHECKOUT, environment, fetch, install, unpack, versions

#: Their test_memory.py calls ``sys.stdin.fileno()`` while it is imported, and skips a
#: test unless that is 0. pytest's capture puts an object there that has no fileno(),
#: and with descriptor 0 closed sys.stdin is None. So it takes -s and an open descriptor
#: 0; of any kind, a terminal, a pipe and /dev/null are all the same to it. The plugin
#: treats a terminal specially (it leaves the guest in its process group), so it is a
#: terminal here.
WANT_TERMINAL = frozenset({"posix_ipc"})


@dataclasses.dataclass(frozen=True)
class Suite:
    """
    A package with its test suite, built and ready.
    """

    name: str
    version: str
    python: Path
    """Interpreter of the environment that has the package, pytest and the plugin."""
    source: Path
    """Top directory of the source distribution."""
    terminal: bool
    """Whether to run it with -s and a terminal on descriptor 0."""


def build(name: str, python: str, work: Path, *, terminal: bool) -> Suite:
    """
    Fetch the source distribution of *name*; install it, pytest and this project.

    Args:
        name: Name of the package on the package index, and of its module.
        python: Interpreter for the environment.
        work: Directory to do it in.
        terminal: Whether to run the suite on a terminal even if it does not want one.

    Raises:
        CannotRun: A step failed or took too long.
    """
    place = work / name
    interpreter = environment(python, place / "venv")
    archive = fetch(interpreter, name, name, place / "dist")
    install(interpreter, "pytest", CHECKOUT, archive)
    names = [name, "pytest", "pytest-nsisolate"]
    known = versions(interpreter, names)
    facts = [f"{n} {v}" for n, v in zip(names, known, strict=True)]
    print(", ".join([*facts, run([interpreter, "-V"], 60).strip()]), flush=True)
    source = unpack(archive, place / "source")
    wanted = terminal or name in WANT_TERMINAL
    return Suite(name, known[0], interpreter, source, wanted)
