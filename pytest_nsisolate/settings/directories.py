"""
The directories of a sandbox: whether they can be had, and which paths they must spare.

A fresh directory covers all that is below its mount point. This module reads from the
supervisor which paths are needed, to refuse a test that would break halfway.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_nsisolate.compat import builtin_plugins
from pytest_nsisolate.model.checks import Directories, is_within
from pytest_nsisolate.model.errors import Hidden
from pytest_nsisolate.model.spec import KEYWORDS, Spec
from pytest_nsisolate.sandbox.launcher_client import Paths

#: The fixtures that give a test a directory below that of the session.
_TEMPORARY = frozenset({"tmp_path", "tmp_path_factory", "tmpdir", "tmpdir_factory"})

_LEAVE = "leave it out of {}=, or name a directory further down"
_ELSEWHERE = "pytest --basetemp=DIRECTORY, a directory elsewhere that may be emptied"

#: The keywords whose values are directories, with their checks, and what such a
#: directory is called.
_DIRECTORIES = [
    (one.name, one.check) for one in KEYWORDS if isinstance(one.check, Directories)
]
_CALLED = {
    "tmpfs": "fresh directory",
    "overlay": "overlay",
    "readonly": "read-only directory",
}


def of_session(config: pytest.Config) -> Paths:
    """
    Return the paths of the session that matter where directories are not the host's.
    """
    written = (str(config.rootpath), _working_directory(), tempfile.gettempdir())
    return Paths(
        kept=(*builtin_plugins.kept_paths(config), *_examples()),
        written=tuple(dict.fromkeys(path for path in written if os.path.isdir(path))),
    )


def _examples() -> Iterator[str]:
    """
    Yield the directory to which Hypothesis saves the examples of all tests.

    It is made if necessary. There is none if Hypothesis is not loaded, or saves them
    elsewhere, as its settings say.
    """
    hypothesis = sys.modules.get("hypothesis")
    if hypothesis is None:
        return
    try:
        database: Any = hypothesis.settings.default.database
        path = os.path.abspath(database.path)
        if not os.path.isdir(path):
            # It makes the directory with the first example, and others beside it.
            database.save(b"", b"")
            database.delete(b"", b"")
    except Exception:  # noqa: BLE001 - a database may be of any class
        return
    if os.path.isdir(path):
        yield path


def check(spec: Spec, item: pytest.Item | pytest.Collector) -> None:
    """
    Check that *spec* hides nothing that *item*, a test or its collector, needs.

    Raises:
        Hidden: It hides something.
    """
    for name, directories in _DIRECTORIES:
        paths = getattr(spec, name)
        for path in paths if isinstance(paths, tuple) else ():
            real = os.path.realpath(path)
            own = directories.own(real)
            if own is not None:
                what = f'no {_CALLED[name]} can be mounted at "{path}"'
                why = f"it resolves to {real}, and each sandbox has its own {own}"
                raise Hidden(what, why, _LEAVE.format(name))
            if directories.covers:
                _check_covered(path, real, item)


def _check_covered(path: str, real: str, item: pytest.Item | pytest.Collector) -> None:
    for name, needed, fix in _needed_by(item):
        if is_within(os.path.realpath(needed), real):
            resolved = "" if real == path else f", to which {path} resolves"
            raise Hidden(
                f'a fresh directory at "{path}" would hide {name}',
                f"the test needs {needed}, which is in {real}{resolved}"
                if needed != real
                else f"the test needs {needed} itself{resolved}",
                fix,
            )


def _needed_by(item: pytest.Item | pytest.Collector) -> Iterator[tuple[str, str, str]]:
    """
    Yield each path that is needed: its name, the path, and a fix.
    """
    leave = _LEAVE.format("tmpfs")
    yield "the working directory", _working_directory(), leave
    yield "the rootdir of pytest", str(item.config.rootpath), leave
    yield "the file of the test", str(item.path), leave
    for path in _interpreter():
        yield "the Python that runs pytest", path, leave
    for path in _libraries():
        yield "a library that this process has loaded", path, leave
    if not _TEMPORARY.isdisjoint(getattr(item, "fixturenames", ())):
        yield "the directory of tmp_path", _base(item.config), _ELSEWHERE


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        # It has been removed, and nothing can hide it.
        return os.devnull


def _interpreter() -> Iterable[str]:
    paths = [sys.executable, sys.prefix, sys.base_prefix, *sys.path]
    paths += [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    # A directory that does not exist cannot be hidden.
    return [path for path in dict.fromkeys(paths) if path and os.path.exists(path)]


def _libraries() -> Iterable[str]:
    """
    Return the files whose code is mapped. Source: proc_pid_maps(5).
    """
    try:
        text = os.fsdecode(Path("/proc/self/maps").read_bytes())
    except OSError:
        return []
    # Of what could end a line, only a newline is escaped in a path.
    rows = [line.split(maxsplit=5) for line in text.split("\n") if line]
    found = [row[5] for row in rows if "x" in row[1] and row[5:]]
    return [path for path in dict.fromkeys(found) if path.startswith("/")]


def _base(config: pytest.Config) -> str:
    """
    Return the directory where `tmp_path` is or will be, without making it.
    """
    given = config.getoption("basetemp", None)
    root = os.environ.get("PYTEST_DEBUG_TEMPROOT") or tempfile.gettempdir()
    return os.path.abspath(given) if given else os.path.join(root, "pytest-of-")
