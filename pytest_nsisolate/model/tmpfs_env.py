"""
Checks of collections in a spec: fresh directories and environment variables.

A marker may have a list or a dictionary. A spec keeps tuples, so that equal specs are
the same key.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TypeAlias

from pytest_nsisolate.model.checks import flaw
from pytest_nsisolate.model.errors import safe_repr
from pytest_nsisolate.model.keywords import Check, Unfit

#: Names with their values; None unsets a variable.
Variables: TypeAlias = "tuple[tuple[str, str | None], ...]"

#: What every sandbox has of its own already.
OWN = ("/proc", "/dev/shm", "/dev/mqueue")  # noqa: S108 - not a file of ours


class Directories(Check):
    """
    Paths of directories that are to be fresh, without redundant slashes and dots.
    """

    takes = "list or tuple of absolute paths, `str` or `Path`"

    def accept(self, keyword: str, value: object) -> object:
        """
        Return the paths, without duplicates.
        """
        if not isinstance(value, (list, tuple)):
            kind = type(value).__name__
            why = f"{keyword}={safe_repr(value)} is of type {kind}, not list or tuple"
            raise Unfit(why)
        found = (_directory(path, f"{safe_repr(path)} in {keyword}=") for path in value)
        return tuple(dict.fromkeys(found)) or None


def _directory(given: object, shown: str) -> str:
    path = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(path, str):
        raise Unfit(f"{shown} is of type {type(given).__name__}, not str or Path")
    why = flaw(path)
    if why is None and not path.startswith("/"):
        why = "is not an absolute path"
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if why is None and ".." in parts:
        why = 'contains ".."'
    if why is not None:
        raise Unfit(f"{shown} {why}")
    path = "/" + "/".join(parts)
    own = overlap(path)
    if own is not None:
        raise Unfit(f"{shown} overlaps {own}, which every sandbox has of its own")
    return path


def overlap(path: str) -> str | None:
    """
    Return the first of `OWN` that is *path*, above it or below it.
    """
    for own in OWN:
        if is_within(own, path) or is_within(path, own):
            return own
    return None


def is_within(path: str, directory: str) -> bool:
    """
    Say whether *path* is *directory* or below it; both are absolute.
    """
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


class Environment(Check):
    """
    Environment variables: a mapping, or the tuple that another spec made of one.
    """

    takes = "`dict` of `str` to `str` or `None`"

    def accept(self, keyword: str, value: object) -> object:
        """
        Return the variables, sorted by name.
        """
        given = value
        if isinstance(value, tuple):
            with contextlib.suppress(TypeError, ValueError):
                given = dict(value)
        if not isinstance(given, Mapping):
            kind = type(given).__name__
            raise Unfit(f"{keyword}={safe_repr(given)} is of type {kind}, not dict")
        for name, text in given.items():
            _check_variable(name, text, keyword)
        return tuple(sorted(given.items())) or None


def _check_variable(name: object, value: object, keyword: str) -> None:
    """
    Raise `Unfit` if such a variable is impossible. Source: setenv(3), environ(7).
    """
    shown = f"the name {safe_repr(name)} in {keyword}="
    if not isinstance(name, str):
        raise Unfit(f"{shown} is of type {type(name).__name__}, not str")
    why = 'contains "="' if "=" in name else flaw(name)
    if why is not None:
        raise Unfit(f"{shown} {why}")
    if value is None:
        return
    shown = f"{name}={safe_repr(value)} in {keyword}="
    if not isinstance(value, str):
        raise Unfit(f"{shown} is of type {type(value).__name__}, not str or None")
    why = flaw(value) if value else None
    if why is not None:
        raise Unfit(f"{shown} {why}")
