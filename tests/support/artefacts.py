"""
Files that plugins write about the same tests, plain and isolated.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from twins import Run, run_once

_T = TypeVar("_T")

#: Parts that differ from run to run, in any report.
TIMES = frozenset(
    {"created", "duration", "start", "stop", "msecs", "relativeCreated"}
    | {"process", "thread"}
)


def written(
    pytester: pytest.Pytester,
    plugins: Sequence[str],
    *arguments: str,
    read: Callable[[Run], _T],
) -> tuple[_T, _T]:
    """
    Return what *read* returns after an isolated run and after a plain one.

    Args:
        pytester: The fixture with the tests.
        plugins: Names for ``-p``.
        arguments: Arguments for pytest.
        read: A function that gets the run and returns what the plugin has written.
    """
    named = [part for name in ("nsisolate", *plugins) for part in ("-p", name)]
    found = []
    for switch, place in (("--nsisolate", False), ("--no-nsisolate", True)):
        run = run_once(pytester, [*named, switch, *arguments], apart=True)
        # A guest that crashes in setup leaves no line.
        assert set(run.places) <= {place}
        found.append(read(run))
        # A report on collection would list them in the next run.
        for path in pytester.path.glob("runpytest-*"):
            path.unlink() if path.is_symlink() else shutil.rmtree(path)
        shutil.rmtree(pytester.path / "base", ignore_errors=True)
    return found[0], found[1]


def json_file(pytester: pytest.Pytester, name: str) -> Callable[[Run], Any]:
    """
    Return a function that reads and removes the JSON file *name*.
    """

    def read(_: Run) -> Any:
        """
        Return the contents of the file, and remove it.
        """
        path = pytester.path / name
        told = json.loads(path.read_text())
        path.unlink()
        return told

    return read


def without_times(value: Any, names: frozenset[str] = TIMES) -> Any:
    """
    Return *value*, as read from a JSON file, without the parts that differ.
    """
    if isinstance(value, dict):
        return {
            name: "…" if name in names else without_times(one, names)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [without_times(one, names) for one in value]
    if isinstance(value, str):
        return re.sub(r"0x[0-9a-f]{6,}", "0x", value)
    return value
