"""
Hot pages: the pages of memory that guest after guest writes to.

A guest shares its memory with the process that forked it. At its first write to a page
the kernel interrupts it, to copy that page. Nearly all of these pages are the same in
each guest. So the first guests note theirs, and later ones have them copied by one
system call, which saves nearly a microsecond a page.

Source: process_madvise(2), "before Linux 6.13"; madvise(2), MADV_POPULATE_WRITE.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import struct
import sys
from collections.abc import Iterable, Iterator

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os

#: How many ranges of pages are noted: what one system call takes. Source: readv(2).
_RANGES = 1024

#: Where in the memory is how many guests have noted their pages, how many bytes those
#: pages have, and where the first range begins. All are numbers of eight bytes.
_TIMES, _SIZE, _FIRST = range(3)
_EACH = 8

#: How many guests note their pages: those of one alone may be particular to its test.
_GUESTS = 2

#: What stands there instead if the kernel refuses the system call.
_REFUSED = _GUESTS + 1

#: The most pages that are noted (64 MB), that a mapping has which is looked through
#: (4 GB), and that are looked at together.
_MOST = 1 << 14
_LARGEST = 1 << 20
_TOGETHER = 1 << 15

#: Bits 56 to 63 of a page's entry, and their value if it is in memory and this process
#: alone has it, but not from a file. Source: proc_pid_pagemap(5).
_TOP = slice(7 if sys.byteorder == "little" else 0, None, 8)
_OWN = re.compile(b"\x81+")


class HotPages:
    """
    The hot pages of the guests of this process, in memory that all of them share.
    """

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None
        self._numbers = memoryview(b"").cast("Q")
        self._ranges = 0
        #: What was mapped when the guests that note their pages were forked.
        self._maps = b""

    def open(self) -> None:
        """
        Get the memory, unless this was done before.

        Raises:
            OSError: The kernel has none.
        """
        if self._memory is None:
            size = (_FIRST + 2 * _RANGES) * _EACH
            self._memory = syscalls.named("mmap()", mmap.mmap, -1, size)
            self._numbers = memoryview(self._memory).cast("Q")
            self._ranges = syscalls.address_of(self._memory) + _FIRST * _EACH

    def look(self) -> None:
        """
        See what is mapped before guests are forked that may note their pages.
        """
        self._maps = b""
        if self._numbers[_TIMES] < _GUESTS:
            # Without /proc, they do not.
            with contextlib.suppress(OSError):
                self._maps = _read("/proc/self/maps")

    def copy(self) -> None:
        """
        In a guest that was just forked: copy the hot pages, if they are known.
        """
        if self._numbers[_TIMES] == _GUESTS:
            # Without it, each page is copied when it is written to.
            with contextlib.suppress(OSError):
                self._copy()

    def _copy(self) -> None:
        pidfd = os.pidfd_open(os.getpid())
        try:
            copied = syscalls.populate(pidfd, self._ranges, _RANGES)
        except OSError:
            # This kernel will always refuse it, or a filter of system calls.
            self._numbers[_TIMES] = _REFUSED
            return
        finally:
            os.close(pidfd)
        if copied != self._numbers[_SIZE]:
            # Some of them are mapped no more. Guests note them anew.
            self._numbers[_TIMES] = 0

    def note(self) -> None:
        """
        In a guest that is about to end: note its pages, if those are to be noted.
        """
        times = self._numbers[_TIMES]
        if times < _GUESTS and self._maps:
            # The test may have left no descriptor, or no memory.
            with contextlib.suppress(OSError, MemoryError):
                pages = _own_pages(self._maps)
                if len(pages) > _MOST:
                    return
                if times:
                    pages &= self._noted()
                self._write(_ranges(pages))
                self._numbers[_TIMES] = times + 1

    def _noted(self) -> set[int]:
        numbers = [one // mmap.PAGESIZE for one in self._numbers[_FIRST:]]
        noted: set[int] = set()
        for first, count in zip(numbers[::2], numbers[1::2], strict=True):
            noted.update(range(first, first + count))
        return noted

    def _write(self, ranges: Iterable[tuple[int, int]]) -> None:
        # The longest, if there are too many.
        kept = sorted(ranges, key=lambda one: one[1])[-_RANGES:]
        numbers = [number * mmap.PAGESIZE for one in sorted(kept) for number in one]
        numbers += [0] * (2 * _RANGES - len(numbers))
        self._numbers[_SIZE] = sum(numbers[1::2])
        assert self._memory is not None
        struct.pack_into(f"{len(numbers)}Q", self._memory, _FIRST * _EACH, *numbers)


def _own_pages(maps: bytes) -> set[int]:
    """
    Return the numbers of the pages that this process alone has.

    Args:
        maps: What `/proc/PID/maps` said of the mappings among which to look.
    """
    found: set[int] = set()
    fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for first, count in _parts(maps):
            entries = os.pread(fd, count * _EACH, first * _EACH)
            for own in _OWN.finditer(entries[_TOP]):
                found.update(range(first + own.start(), first + own.end()))
            if len(found) > _MOST:
                break
    finally:
        os.close(fd)
    return found


def _parts(maps: bytes) -> Iterator[tuple[int, int]]:
    """
    Yield the first page and the number of pages of each part of what can be written to.
    """
    # Of what could end a line, only a newline is escaped in a path.
    for line in filter(None, maps.split(b"\n")):
        span, mode = line.split()[:2]
        first, end = (int(one, 16) // mmap.PAGESIZE for one in span.split(b"-"))
        # Not what is shared with other processes, too.
        is_own = mode.startswith(b"rw") and mode.endswith(b"p")
        if is_own and end - first <= _LARGEST:
            for part in range(first, end, _TOGETHER):
                yield part, min(end - part, _TOGETHER)


def _ranges(pages: Iterable[int]) -> Iterator[tuple[int, int]]:
    """
    Yield the first page of each range of adjacent *pages*, and how many these are.
    """
    first = count = 0
    for page in sorted(pages):
        if count and page == first + count:
            count += 1
        else:
            if count:
                yield first, count
            first, count = page, 1
    if count:
        yield first, count


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(fd, 1 << 16), b""))
    finally:
        os.close(fd)
