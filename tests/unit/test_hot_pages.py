"""
Hot pages, in forks that write to memory.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import resource
from collections.abc import Callable, Iterator

import pytest
from populating import can_populate

from pytest_nsisolate.guest.entry import fork
from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.hot_pages import _MOST, HotPages

#: How many pages a fork writes to: many more than Python's own.
PAGES = 2048


def new_memory() -> mmap.mmap:
    """
    Return memory whose pages a fork copies when it writes to them.
    """
    memory = mmap.mmap(-1, PAGES * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    write(memory)
    return memory


def write(*memories: mmap.mmap, pages: int = PAGES) -> None:
    """
    Write to the first *pages* of each of *memories*.
    """
    for memory in memories:
        for page in range(pages):
            memory[page * mmap.PAGESIZE] = 1


def faults() -> int:
    """
    Return how often the kernel has given this process a page at an access to it.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


@pytest.fixture
def hot_pages() -> HotPages:
    """
    Return hot pages, none of which is known; skip if this kernel cannot copy any.
    """
    if not can_populate():
        pytest.skip("Linux before 6.13, or a filter of system calls")
    made = HotPages()
    made.open()
    return made


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    """
    Return memory for forks to write to.
    """
    with new_memory() as made:
        yield made


def guest(hot_pages: HotPages, body: Callable[[], object]) -> int:
    """
    Fork what runs *body* as a guest does, and return how many faults that took.
    """
    hot_pages.look()
    reading, writing = os.pipe()
    pid = fork()
    if not pid:
        try:
            hot_pages.copy()
            before = faults()
            body()
            number = faults() - before
            hot_pages.note()
            os.write(writing, str(number).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        answer = file.read()
    os.waitpid(pid, 0)
    return int(answer)


def test_third_guest_has_them(hot_pages: HotPages, memory: mmap.mmap) -> None:
    """
    What two guests have written to is copied for those that follow.
    """
    found = [guest(hot_pages, lambda: write(memory)) for _ in range(4)]

    assert min(found[:2]) >= PAGES
    assert max(found[2:]) < PAGES / 4


@pytest.mark.parametrize("counts", [(PAGES, PAGES // 2), (PAGES // 2, PAGES)])
def test_not_those_of_one(
    hot_pages: HotPages, memory: mmap.mmap, counts: tuple[int, int]
) -> None:
    """
    What only one of the two has written to is not copied.
    """
    half = PAGES // 2
    for count in counts:
        guest(hot_pages, functools.partial(write, memory, pages=count))

    assert guest(hot_pages, lambda: write(memory, pages=half)) < half / 4
    assert guest(hot_pages, lambda: write(memory)) >= half


def test_not_too_many(hot_pages: HotPages, memory: mmap.mmap) -> None:
    """
    What a guest with very many pages has written to is not noted.
    """
    half = PAGES // 2
    with contextlib.ExitStack() as stack:
        # Far more than this process itself writes to in a fork, however large it is.
        many = [stack.enter_context(new_memory()) for _ in range(_MOST // PAGES)]
        for _ in range(2):
            guest(hot_pages, lambda: write(memory, *many))
        for _ in range(2):
            guest(hot_pages, lambda: write(memory, pages=half))

        assert guest(hot_pages, lambda: write(memory, pages=half)) < half / 2
        assert guest(hot_pages, lambda: write(many[0])) >= PAGES


@pytest.mark.parametrize("lost", [0, 1])
def test_mapped_no_more(hot_pages: HotPages, lost: int) -> None:
    """
    Once some of them are mapped no more, guests note them anew.
    """
    both = [new_memory(), new_memory()]
    for _ in range(2):
        guest(hot_pages, lambda: write(*both))
    both.pop(lost).close()
    (memory,) = both
    # This one finds out. From here on, all is as at first.
    guest(hot_pages, lambda: None)

    found = [guest(hot_pages, lambda: write(memory)) for _ in range(3)]

    assert min(found[:2]) >= PAGES
    assert found[2] < PAGES / 4
    memory.close()


def test_refused(
    hot_pages: HotPages, memory: mmap.mmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where the kernel does not know the call, a guest copies each page when it writes.
    """
    # One that no kernel knows.
    monkeypatch.setattr(syscalls, "_POPULATE", (12345, 0))

    found = [guest(hot_pages, lambda: write(memory)) for _ in range(4)]

    assert min(found) >= PAGES
