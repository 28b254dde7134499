"""
Limits on what the processes of one test may use: as written, and as the kernel has it.

All of them are resource limits, which hold for each process by itself and end with it.
Source: setrlimit(2).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re

from pytest_nsisolate.model.errors import safe_repr
from pytest_nsisolate.model.keywords import Check, Unfit

# There is none on Windows, where there are no guests either.
with contextlib.suppress(ImportError):
    import resource

#: What is more is no limit: nothing has as much, and sums of it still fit the kernel.
MOST = 2**62

#: The memory that a process has for itself: heap, and private writable mappings, those
#: since Linux 4.7. Source: setrlimit(2), RLIMIT_DATA.
MEMORY = "RLIMIT_DATA"
#: Seconds of processor time of all threads of a process.
CPU = "RLIMIT_CPU"
#: One more than the highest number that a descriptor may have.
NOFILE = "RLIMIT_NOFILE"
#: Processes and threads of a user in a user namespace. Source: user_namespaces(7) and
#: setrlimit(2); until Linux 5.14 those of the user on the whole machine.
NPROC = "RLIMIT_NPROC"

_SUFFIXES = {"": 0, "K": 10, "M": 20, "G": 30}
_SIZE = re.compile("([0-9]+)([KMG])(iB)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class Limit:
    """
    One limit of a test.
    """

    name: str
    """`MEMORY`, `CPU`, `NOFILE` or `NPROC`."""
    value: int
    """In the unit that the kernel has it in."""
    keyword: str
    """What it is called on the marker."""
    given: object
    """What was written there."""

    def __str__(self) -> str:
        return f"{self.keyword}={self.given} of the marker"

    @property
    def number(self) -> int:
        """
        The kernel's number of it.
        """
        return int(getattr(resource, self.name))


class Amount(Check):
    """
    How much of something a process may use.

    Args:
        limit: `MEMORY`, `CPU`, `NOFILE` or `NPROC`.
        types: The types that a number of it may be of.
        takes: What the docs call such values.
    """

    def __init__(self, limit: str, types: tuple[type, ...], takes: str) -> None:
        self.limit = limit
        self.takes = takes
        self._types = types
        self._names = " or ".join(one.__name__ for one in types)

    def accept(self, keyword: str, value: object) -> object:
        """
        Return *value*, if it is an amount.
        """
        self.number(keyword, value)
        return value

    def number(self, keyword: str, value: object) -> int:
        """
        Return *value* in the unit of the kernel, rounded up.

        Raises:
            Unfit: It is no amount.
        """
        return self._count(keyword, value, safe_repr(value))

    def _count(self, keyword: str, value: object, shown: str) -> int:
        given = f"{keyword}={shown}"
        if not isinstance(value, self._types) or isinstance(value, bool):
            kind = type(value).__name__
            raise Unfit(f"{given} is of type {kind}, not {self._names}")
        assert isinstance(value, int | float)
        # Also what is not a number is not above 0.
        if not value > 0:
            raise Unfit(f"{given} is not above 0")
        if value > MOST:
            raise Unfit(f"{keyword} is more than {MOST}")
        return math.ceil(value)


class Size(Amount):
    """
    How much memory a process may use: with a suffix, or in bytes.

    Args:
        limit: `MEMORY`.
        takes: What the docs call such values.
    """

    def __init__(self, limit: str, takes: str) -> None:
        super().__init__(limit, (int,), takes)
        self._names = "str or int"

    def number(self, keyword: str, value: object) -> int:
        """
        Return *value* in bytes.

        Raises:
            Unfit: It is no size.
        """
        if not isinstance(value, str):
            return super().number(keyword, value)
        shown = safe_repr(value)
        match = _SIZE.fullmatch(value)
        if match is None:
            raise Unfit(f"{keyword}={shown} is no number with K, M or G behind it")
        # A number of more digits than this would be converted in quadratic time.
        digits = match[1].lstrip("0")[: len(str(MOST)) + 1]
        size = int(digits or "0") << _SUFFIXES[match[2].upper()]
        return self._count(keyword, size, shown)
