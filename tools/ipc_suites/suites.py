"""
The packages whose suites are run, each built from source in an environment of its own.
"""

from __future__ import annotations

import dataclasses
import shutil
import tarfile
from pathlib import Path
from typing import Any

from commands import run

#: Where this script lies, and the plugin that it tries.
CHECKOUT = Path(__file__).resolve().parents[2]

#: Their test_memory.py calls ``sys.stdin.fileno()`` while it is imported, and skips a
#: test unless that is 0. pytest's capture puts an object there that has no fileno(),
#: and with descriptor 0 closed sys.stdin is None. So it takes -s and an open descriptor
#: 0; of any kind, a terminal, a pipe and /dev/null are all the same to it. The plugin
#: treats a terminal specially (it leaves the guest in its process group), so it is a
#: terminal here.
WANT_TERMINAL = frozenset({"posix_ipc"})

_TIME = 300.0


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
    run([python, "-m", "venv", place / "venv"], _TIME)
    interpreter = place / "venv/bin/python"
    pip = [interpreter, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    # Not ":all:", which builds the tools for building from source as well.
    only_source = ["--no-deps", "--no-binary", name]
    run([*pip, "download", *only_source, "--dest", place / "dist", name], _TIME)
    (archive,) = (place / "dist").iterdir()
    run([*pip, "install", "pytest", CHECKOUT, archive], _TIME)
    ask = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
    names = [name, "pytest", "pytest-nsisolate"]
    versions = run([interpreter, "-c", ask, *names], _TIME).split()
    facts = [f"{n} {v}" for n, v in zip(names, versions, strict=True)]
    print(", ".join([*facts, run([interpreter, "-V"], _TIME).strip()]), flush=True)
    source = _unpack(archive, place / "source")
    wanted = terminal or name in WANT_TERMINAL
    return Suite(name, versions[0], interpreter, source, wanted)


def _unpack(archive: Path, place: Path) -> Path:
    # The argument came with 3.12 and some later versions of those before.
    safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    shutil.unpack_archive(archive, place, **safe)
    (top,) = place.iterdir()
    # Archives may keep files for their owner alone; every lane's user reads these.
    for path in [top, *top.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return top
