"""
Checks of values: switches, choices, names, times, directories, variables and clocks.

A marker may have a list or a dictionary. A spec keeps tuples, so that equal specs are
the same key.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import posixpath
from collections.abc import Mapping
from typing import Any, TypeAlias

from pytest_nsisolate.model.errors import safe_repr
from pytest_nsisolate.model.keywords import Check, Unfit

#: Longest hostname and domain name, in bytes. Source: uname(2), __NEW_UTS_LEN.
UTS_NAME_MAX = 64

#: Longest time limit, in seconds. Source: poll(2), whose timeout is an int of
#: milliseconds.
LONGEST = (2**31 - 1) // 1000


class Switch(Check):
    """
    True and False.
    """

    takes = "`bool`"

    def accept(self, keyword: str, value: object) -> object:
        """
        Return *value*.
        """
        if isinstance(value, bool):
            return value
        raise Unfit(f"{keyword}={safe_repr(value)} is not True, False or None")


class Choice(Check):
    """
    One of a few words.

    Args:
        words: The words.
    """

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self.takes = ", ".join(f'`"{one}"`' for one in words)
        self.metavar = f"{{{','.join(words)}}}"

    def accept(self, keyword: str, value: object) -> object:
        """
        Return *value*.
        """
        if value in self.words:
            return value
        given = f"{keyword}={safe_repr(value)}"
        if len(self.words) == 1:
            raise Unfit(f'{given} is neither "{self.words[0]}" nor None')
        known = ", ".join(f'"{one}"' for one in self.words)
        raise Unfit(f"{given} is not one of {known}")

    def guess(self, value: object) -> object:
        """
        Return the word that is most like *value*.
        """
        text = value.lower() if isinstance(value, str) else ""
        return next(iter(difflib.get_close_matches(text, self.words, n=1)), None)

    def read(self, text: str) -> object:
        """
        Return *text*.
        """
        if text in self.words:
            return text
        raise Unfit(f"takes {', '.join(self.words[:-1])} or {self.words[-1]}")


class Label(Check):
    """
    A name of one's own choice: any text but an empty one.
    """

    takes = "`str`"

    def accept(self, keyword: str, value: object) -> object:
        """
        Return *value*.
        """
        if isinstance(value, str) and value:
            return value
        if value == "":
            raise Unfit(f'{keyword}="" is empty')
        raise Unfit(f"{keyword}={safe_repr(value)} is neither a str nor None")


class UtsName(Check):
    """
    The name of a machine or a domain.
    """

    takes = f"`str`, 1 to {UTS_NAME_MAX} bytes"

    def accept(self, keyword: str, value: object) -> object:
        """
        Return *value*.
        """
        given = f"{keyword}={safe_repr(value)}"
        if not isinstance(value, str):
            raise Unfit(f"{given} is of type {type(value).__name__}, not str")
        why = flaw(value)
        if why is not None:
            raise Unfit(f"{given if value else keyword} {why}")
        size = len(os.fsencode(value))
        if size > UTS_NAME_MAX:
            raise Unfit(
                f"{keyword} has {size} bytes, but the kernel allows {UTS_NAME_MAX}"
            )
        return value

    def guess(self, value: object) -> object:
        """
        Return *value*, if it is of bytes, as text.
        """
        return os.fsdecode(value) if isinstance(value, bytes) else None


class Duration(Check):
    """
    A time to wait, in seconds.
    """

    takes = "`int` or `float`, seconds"
    metavar = "SECONDS"

    def accept(self, keyword: str, value: object) -> object:
        """
        Return *value*.
        """
        if not isinstance(value, int | float) or isinstance(value, bool):
            kind = type(value).__name__
            raise Unfit(f"{keyword}={safe_repr(value)} is of type {kind}, not float")
        if not 0 <= value <= LONGEST:
            given = f"{keyword}={value}"
            raise Unfit(f"{given} is not a number of seconds from 0 to {LONGEST}")
        return value

    def guess(self, value: object) -> object:
        """
        Return *value*, if it is text, as a number.
        """
        return number_in(value)

    def read(self, text: str) -> object:
        """
        Return *text* as a number.
        """
        try:
            seconds = float(text)
        except ValueError:
            raise Unfit("takes a number of seconds") from None
        if not 0 <= seconds <= LONGEST:
            raise Unfit(f"takes a number of seconds from 0 to {LONGEST}")
        return seconds


def number_in(value: object) -> int | float | None:
    """
    Return the number that *value*, a text, consists of; None if it is no such text.
    """
    if isinstance(value, str):
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(value)
    return None


def flaw(text: str) -> str | None:
    """
    Return what is wrong with *text* as an argument of a system call, or None.
    """
    if not text:
        return "is empty"
    if "\0" in text:
        return "contains a NUL byte"
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return "cannot be written in the file system's encoding"
    return None


#: Names with their values; None unsets a variable.
Variables: TypeAlias = "tuple[tuple[str, str | None], ...]"

#: Each clock that a time namespace shifts, with its offset in seconds.
Clocks: TypeAlias = "tuple[tuple[str, float], ...]"

#: Those clocks, as the kernel names them. Source: time_namespaces(7).
CLOCKS = ("monotonic", "boottime")

#: The largest offset, in seconds, about 136 years: the kernel lets a clock go up to
#: about 146 years. Source: time_namespaces(7), ERANGE.
FARTHEST = 2**32

#: What every sandbox has of its own already.
OWN = ("/proc", "/dev/shm", "/dev/mqueue")  # noqa: S108 - not a file of ours


class Directories(Check):
    """
    Paths of directories, without redundant slashes and dots.

    Args:
        takes: Their description in the docs.
        covers: Whether nothing is seen any more of what is in them.
        relative: Whether a path may begin at the rootdir of pytest. There is an option
            for such directories, which an empty list overrides.
        switch: Whether True stands for all directories, and False for none.
    """

    metavar = "DIRECTORIES"

    def __init__(
        self,
        takes: str,
        *,
        covers: bool = False,
        relative: bool = False,
        switch: bool = False,
    ) -> None:
        self.takes = takes
        self.covers = covers
        self.relative = relative
        self._switch = switch

    def accept(self, keyword: str, value: object) -> object:
        """
        Return the paths, without duplicates, or True.
        """
        if self._switch and isinstance(value, bool):
            return value or ()
        if not isinstance(value, (list, tuple)):
            kind = type(value).__name__
            why = f"{keyword}={safe_repr(value)} is of type {kind}, not list or tuple"
            raise Unfit(why)
        found = (self._path(one, f"{safe_repr(one)} in {keyword}=") for one in value)
        return tuple(dict.fromkeys(found)) or (() if self.relative else None)

    def guess(self, value: object) -> object:
        """
        Return the paths in *value* as they may be, except those that are fresh anyway.
        """
        if isinstance(value, str | bytes | os.PathLike):
            value = [value]
        elif isinstance(value, set | frozenset):
            value = sorted(value, key=safe_repr)
        if not isinstance(value, list | tuple):
            return None
        texts = [
            os.fsdecode(one)
            for one in value
            if isinstance(one, str | bytes | os.PathLike)
        ]
        paths = [self._near(text) for text in texts if flaw(text) is None]
        return [path for path in paths if self.own(path) is None] if paths else None

    def _near(self, text: str) -> str:
        """
        Return a path that is like *text*, without what is not allowed.
        """
        root = posixpath.normpath(f"/{text.lstrip('/')}")
        is_relative = self.relative and not text.startswith("/")
        return root.lstrip("/") or "." if is_relative else root

    def read(self, text: str) -> object:
        """
        Return the paths in *text*, which are separated by commas.
        """
        if self._switch and text in {"true", "false"}:
            return text == "true"
        paths = [one.strip() for one in text.split(",")]
        try:
            self.accept("it", paths)
        except Unfit as unfit:
            why = unfit.why.replace(" in it=", "")
            raise Unfit(f"takes directories, separated by commas; {why}") from None
        return paths

    def _path(self, given: object, shown: str) -> str:
        path = os.fspath(given) if isinstance(given, os.PathLike) else given
        if not isinstance(path, str):
            raise Unfit(f"{shown} is of type {type(given).__name__}, not str or Path")
        why = flaw(path)
        is_absolute = path.startswith("/")
        if why is None and not is_absolute and not self.relative:
            why = "is not an absolute path"
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if why is None and ".." in parts:
            why = 'contains ".."'
        if why is not None:
            raise Unfit(f"{shown} {why}")
        if not is_absolute:
            return "/".join(parts) or "."
        path = "/" + "/".join(parts)
        own = self.own(path)
        if own is not None:
            raise Unfit(f"{shown} overlaps {own}, which every sandbox has of its own")
        return path

    def own(self, path: str) -> str | None:
        """
        Return the first of `OWN` for which *path* cannot be had, None if there is none.
        """
        for own in OWN:
            if is_within(path, own) or (self.covers and is_within(own, path)):
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
        given = _mapping(keyword, value, "dict")
        for name, text in given.items():
            _check_variable(name, text, keyword)
        return tuple(sorted(given.items())) or None

    def guess(self, value: object) -> object:
        """
        Return the variables in *value*, with numbers and paths as text.
        """
        if isinstance(value, list | tuple | set | frozenset):
            pairs = [one.partition("=") for one in value if isinstance(one, str)]
            value = {name: text for name, sign, text in pairs if sign}
        if not isinstance(value, Mapping):
            return None
        return {
            name: str(one) if isinstance(one, int | float | os.PathLike) else one
            for name, one in value.items()
        } or None


def _mapping(keyword: str, value: object, types: str) -> Mapping[Any, Any]:
    """
    Return *value*, a mapping or the tuple that a spec has made of one, as a mapping.

    Raises:
        Unfit: It is neither; *types* are what it should be.
    """
    given = value
    if isinstance(value, tuple):
        with contextlib.suppress(TypeError, ValueError):
            given = dict(value)
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise Unfit(f"{keyword}={safe_repr(given)} is of type {kind}, not {types}")
    return given


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


class Offsets(Check):
    """
    Offsets of the clocks of a time namespace, in seconds; True: none.
    """

    takes = '`dict` of `"monotonic"` and `"boottime"` to seconds, or `bool`'

    def accept(self, keyword: str, value: object) -> object:
        """
        Return the offset of each clock; None if there is nothing to shift.
        """
        if isinstance(value, bool):
            return _clocks({}) if value else None
        given = _mapping(keyword, value, "dict or bool")
        for clock, seconds in given.items():
            _check_offset(clock, seconds, keyword)
        return _clocks(given) if given else None

    def guess(self, value: object) -> object:
        """
        Return *value*, if it is a number, as the offset of the first clock.
        """
        return {CLOCKS[0]: value} if isinstance(value, int | float) else None


def _clocks(offsets: Mapping[str, float]) -> Clocks:
    # Nothing but plain numbers can be sent to the launcher.
    given = [(clock, offsets.get(clock, 0)) for clock in CLOCKS]
    return tuple(
        (clock, int(seconds) if isinstance(seconds, int) else float(seconds))
        for clock, seconds in given
    )


def _check_offset(clock: object, seconds: object, keyword: str) -> None:
    """
    Raise an Unfit if no time namespace can have such an offset.
    """
    if clock not in CLOCKS:
        shown = f"the key {safe_repr(clock)} in {keyword}="
        raise Unfit(f'{shown} is neither "monotonic" nor "boottime"')
    shown = f"{clock}={safe_repr(seconds)} in {keyword}="
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise Unfit(f"{shown} is of type {type(seconds).__name__}, not int or float")
    # Neither is what is not a number.
    if not -FARTHEST <= seconds <= FARTHEST:
        raise Unfit(f"{shown} is not between -{FARTHEST} and {FARTHEST} seconds")
