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

from pytest_nsisolate.errors import SpecError, safe_repr

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


def limits_of(
    memory: object, cpu: object, nofile: object, nproc: object
) -> tuple[Limit, ...]:
    """
    Return the limits that are not None.

    Raises:
        SpecError: A value is of the wrong type or cannot be.
    """
    found = []
    if memory is not None:
        found.append(Limit(MEMORY, _bytes(memory), "memory", memory))
    if cpu is not None:
        found.append(Limit(CPU, _seconds(cpu), "cpu", cpu))
    if nofile is not None:
        found.append(Limit(NOFILE, _number("nofile", nofile, 64), "nofile", nofile))
    if nproc is not None:
        found.append(Limit(NPROC, _number("nproc", nproc, 20), "nproc", nproc))
    return tuple(found)


def _bytes(memory: object) -> int:
    fix = 'write memory="512M" (or K, G), or leave memory= out'
    if not isinstance(memory, str):
        return _count("memory", memory, (int,), "str or int", fix)
    match = _SIZE.fullmatch(memory)
    if match is None:
        why = f"memory={safe_repr(memory)} is no number with K, M or G behind it"
        raise SpecError(why, fix)
    # A number of more digits than this would be converted in quadratic time.
    digits = match[1].lstrip("0")[: len(str(MOST)) + 1]
    size = int(digits or "0") << _SUFFIXES[match[2].upper()]
    return _count("memory", size, (int,), "str or int", fix, shown=memory)


def _seconds(cpu: object) -> int:
    fix = "write cpu=2, in seconds, or leave cpu= out"
    return _count("cpu", cpu, (int, float), "int or float", fix)


def _number(keyword: str, value: object, example: int) -> int:
    fix = f"write {keyword}={example}, or leave {keyword}= out"
    return _count(keyword, value, (int,), "int", fix)


def _count(  # noqa: PLR0913 - what the texts are made of
    keyword: str,
    value: object,
    types: tuple[type, ...],
    names: str,
    fix: str,
    *,
    shown: object = None,
) -> int:
    """
    Return *value*, rounded up, if it is a number above 0 that is of one of *types*.
    """
    given = f"{keyword}={safe_repr(value if shown is None else shown)}"
    if not isinstance(value, types) or isinstance(value, bool):
        kind = type(value).__name__
        raise SpecError(f"{given} is of type {kind}, not {names}", fix)
    assert isinstance(value, (int, float))
    # Also what is not a number is not above 0.
    if not value > 0:
        raise SpecError(f"{given} is not above 0", fix)
    if value > MOST:
        raise SpecError(f"{keyword} is more than {MOST}", fix)
    return math.ceil(value)
