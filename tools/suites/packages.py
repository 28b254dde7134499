"""
Source distributions, and the environments that they are installed in.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands import run

#: The checkout with this script and the plugin to try.
CHECKOUT = Path(__file__).resolve().parents[2]

_TIME = 600.0


def environment(python: str, place: Path) -> Path:
    """
    Make a virtual environment in *place* and return its interpreter.
    """
    run([python, "-m", "venv", place], _TIME)
    interpreter = place / "bin/python"
    # --group is new in pip 25.1.
    install(interpreter, "--upgrade", "pip>=25.1")
    return interpreter


def fetch(interpreter: Path, name: str, wanted: str, place: Path) -> Path:
    """
    Fetch the source distribution of *name* into the directory *place*, and return it.

    Args:
        interpreter: An interpreter that has pip.
        name: The name of the package on the package index.
        wanted: The same, or with a version: ``name==version``.
        place: The target directory, which must not exist.
    """
    # Not ":all:", which would also build the build tools from source.
    only_source = ["--no-deps", "--no-binary", name]
    _pip(interpreter, "download", *only_source, "--dest", place, wanted)
    (archive,) = place.iterdir()
    return archive


def wheel(interpreter: Path, place: Path) -> Path:
    """
    Build the wheel of this project in *place* from its current state, and return it.
    """
    _pip(interpreter, "wheel", "--no-deps", "--wheel-dir", place, CHECKOUT)
    (built,) = place.glob("pytest_nsisolate-*.whl")
    return built


def install(interpreter: Path, *what: object) -> None:
    """
    Install *what*, arguments for pip, into the environment of *interpreter*.
    """
    _pip(interpreter, "install", *what)


def versions(interpreter: Path, names: Sequence[str]) -> list[str]:
    """
    Return the versions of *names* in the environment of *interpreter*.
    """
    ask = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
    return run([interpreter, "-c", ask, *names], _TIME).split()


def unpack(archive: Path, place: Path) -> Path:
    """
    Unpack *archive* into *place* for all users to read; return its top directory.
    """
    # The argument is new in 3.12, and in later releases of older versions.
    safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    shutil.unpack_archive(archive, place, **safe)
    (top,) = place.iterdir()
    # Archives may hold files that only their owner may read.
    for path in [top, *top.rglob("*")]:
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)
    return top


def _pip(interpreter: Path, *arguments: object) -> None:
    quiet = ["--disable-pip-version-check", "--quiet"]
    run([interpreter, "-m", "pip", *quiet, *arguments], _TIME)
