"""
Values of a spec that are collections: fresh directories and environment variables.

What is written on a marker may be a list or a dictionary. A spec keeps tuples, so that
equal ones are one key.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TypeAlias

from pytest_nsisolate.errors import SpecError, safe_repr

#: Names with their values, None for one that is to be unset.
Variables: TypeAlias = "tuple[tuple[str, str | None], ...]"

#: What each sandbox has of its own already.
OWN = ("/proc", "/dev/shm", "/dev/mqueue")  # noqa: S108 - not a file of ours

_TMPFS = 'write tmpfs=["/run"], or leave tmpfs= out'
_ENV = 'write env={"NAME": "value"}, or leave env= out'


def directories_of(given: object) -> tuple[str, ...] | None:
    """
    Return the paths in *given*, each once, without what means nothing in them.

    Raises:
        SpecError: A value is of the wrong type or cannot be.
    """
    if given is None:
        return None
    if not isinstance(given, (list, tuple)):
        kind = type(given).__name__
        why = f"tmpfs={safe_repr(given)} is of type {kind}, not list or tuple"
        raise SpecError(why, _TMPFS)
    return tuple(dict.fromkeys(_directory(path) for path in given)) or None


def _directory(given: object) -> str:
    shown = f"{safe_repr(given)} in tmpfs="
    path = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(path, str):
        why = f"{shown} is of type {type(given).__name__}, not str or Path"
        raise SpecError(why, _TMPFS)
    flaw = _flaw(path)
    if flaw is None and not path.startswith("/"):
        flaw = "is no absolute path"
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if flaw is None and ".." in parts:
        flaw = 'has ".." in it'
    if flaw is not None:
        raise SpecError(f"{shown} {flaw}", _TMPFS)
    path = "/" + "/".join(parts)
    own = overlap(path)
    if own is not None:
        why = f"{shown} and {own}, which each sandbox has of its own, overlap"
        raise SpecError(why, _TMPFS)
    return path


def overlap(path: str) -> str | None:
    """
    Return which of `OWN` is at *path*, above it or below it.
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


def variables_of(given: object) -> Variables | None:
    """
    Return the environment variables in *given*, sorted by name.

    Args:
        given: A mapping, or what this returned for it.

    Raises:
        SpecError: A name or a value is of the wrong type or cannot be.
    """
    if given is None:
        return None
    if isinstance(given, tuple):
        # As a spec has it, which is copied.
        with contextlib.suppress(TypeError, ValueError):
            given = dict(given)
    if not isinstance(given, Mapping):
        why = f"env={safe_repr(given)} is of type {type(given).__name__}, not dict"
        raise SpecError(why, _ENV)
    for name, value in given.items():
        _check_variable(name, value)
    return tuple(sorted(given.items())) or None


def _check_variable(name: object, value: object) -> None:
    """
    Raise a SpecError if there can be no such variable. Source: setenv(3), environ(7).
    """
    shown = f"the name {safe_repr(name)} in env="
    if not isinstance(name, str):
        raise SpecError(f"{shown} is of type {type(name).__name__}, not str", _ENV)
    why = 'has "=" in it' if "=" in name else _flaw(name)
    if why is not None:
        raise SpecError(f"{shown} {why}", _ENV)
    if value is None:
        return
    shown = f"{name}={safe_repr(value)} in env="
    if not isinstance(value, str):
        kind = type(value).__name__
        raise SpecError(f"{shown} is of type {kind}, not str or None", _ENV)
    why = _flaw(value) if value else None
    if why is not None:
        raise SpecError(f"{shown} {why}", _ENV)


def _flaw(text: str) -> str | None:
    """
    Say what keeps *text* from being given to the kernel; None if nothing does.
    """
    if not text:
        return "is empty"
    if "\0" in text:
        return "has a NUL byte"
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return "cannot be written in the file system's encoding"
    return None
