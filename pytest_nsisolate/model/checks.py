"""
Checks of simple values: switches, choices, names and times.
"""

from __future__ import annotations

import os

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

    def read(self, text: str) -> object:
        """
        Return *text*.
        """
        if text in self.words:
            return text
        raise Unfit(f"takes {', '.join(self.words[:-1])} or {self.words[-1]}")


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
