"""
Limits on what the processes of a test may use, as written and as the kernel sees them.

All are resource limits, which apply to each process separately. Source: setrlimit(2).
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from pytest_nsisolate.model.checks import number_in
from pytest_nsisolate.model.errors import safe_repr
from pytest_nsisolate.model.keywords import Check, Unfit

#: The largest limit. Nothing uses that much, and the kernel can still add to it.
MOST = 2**62

#: The private memory of a process: its heap and, since Linux 4.7, private writable
#: mappings. Source: setrlimit(2), RLIMIT_DATA.
MEMORY = "RLIMIT_DATA"
#: Processor time of all threads of a process, in seconds.
CPU = "RLIMIT_CPU"
#: One more than the highest descriptor number.
NOFILE = "RLIMIT_NOFILE"
#: Processes and threads of a user in a user namespace; before Linux 5.14, of the user
#: on the whole machine. Source: user_namespaces(7), setrlimit(2).
NPROC = "RLIMIT_NPROC"

_SUFFIXES = {"": 0, "K": 10, "M": 20, "G": 30}
# Not compiled here, for few sessions need them.
_SIZE = "([0-9]+)([KMG])(iB)?"
_LIKE_SIZE = r"\s*([0-9]+)\s*([KMG])(i?B)?\s*"


class Limit(NamedTuple):
    """
    One limit of a test or a box.
    """

    name: str
    """`MEMORY`, `CPU`, `NOFILE` or `NPROC`."""
    value: int
    """The value, in the kernel's unit."""
    keyword: str
    """The keyword."""
    given: object
    """The value given to that keyword."""
    of: str = "the marker"
    """Who gave it."""

    def __str__(self) -> str:
        return f"{self.keyword}={self.given} of {self.of}"


class Amount(Check):
    """
    An amount of a resource that a process may use.

    Args:
        limit: `MEMORY`, `CPU`, `NOFILE` or `NPROC`; None: no resource of a process.
        types: The types that a value may have.
        takes: The description of such values in the docs.
    """

    def __init__(self, limit: str | None, types: tuple[type, ...], takes: str) -> None:
        self.limit = limit
        self.takes = takes
        self._types = types
        self._names = " or ".join(one.__name__ for one in types)

    def accept(self, keyword: str, value: object) -> object:
        """
        Return *value* if it is an amount.
        """
        self.number(keyword, value)
        return value

    def guess(self, value: object) -> object:
        """
        Return *value*, if it is text or a whole float, as a number.
        """
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return number_in(value)

    def number(self, keyword: str, value: object) -> int:
        """
        Return *value* in the kernel's unit, rounded up.

        Raises:
            Unfit: It is not an amount.
        """
        return self._count(keyword, value, safe_repr(value))

    def _count(self, keyword: str, value: object, shown: str) -> int:
        given = f"{keyword}={shown}"
        if not isinstance(value, self._types) or isinstance(value, bool):
            kind = type(value).__name__
            raise Unfit(f"{given} is of type {kind}, not {self._names}")
        assert isinstance(value, int | float)
        # Written like this, it refuses NaN, too.
        if not value > 0:
            raise Unfit(f"{given} is not greater than 0")
        if value > MOST:
            raise Unfit(f"{keyword} is more than {MOST}")
        return math.ceil(value)


class Size(Amount):
    """
    An amount of memory, as a number with a suffix or in bytes.

    Args:
        limit: `MEMORY`; None: no resource of a process.
        takes: The description of such values in the docs.
    """

    def __init__(self, limit: str | None, takes: str) -> None:
        super().__init__(limit, (int,), takes)
        self._names = "str or int"

    def guess(self, value: object) -> object:
        """
        Return *value*, if it is text, with a suffix as it should be.
        """
        if not isinstance(value, str):
            return super().guess(value)
        match = re.fullmatch(_LIKE_SIZE, value, re.IGNORECASE)
        return None if match is None else f"{match[1]}{match[2].upper()}"

    def number(self, keyword: str, value: object) -> int:
        """
        Return *value* in bytes.

        Raises:
            Unfit: It is not a size.
        """
        if not isinstance(value, str):
            return super().number(keyword, value)
        shown = safe_repr(value)
        match = re.fullmatch(_SIZE, value, re.IGNORECASE)
        if match is None:
            raise Unfit(f"{keyword}={shown} is not a number followed by K, M or G")
        # More digits would take quadratic time to convert, and are too many anyway.
        digits = match[1].lstrip("0")[: len(str(MOST)) + 1]
        size = int(digits or "0") << _SUFFIXES[match[2].upper()]
        return self._count(keyword, size, shown)
