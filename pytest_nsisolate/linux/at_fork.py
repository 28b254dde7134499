"""
The functions that Python calls at each fork, as registered by `os.register_at_fork`.

Whatever is registered, such as the start of a thread, is to happen before a fork goes
elsewhere, after the next ones stay here again, and in the new process once it is where
it belongs. So what makes a fork go there has to run next to the fork itself: as the
last function before it, and as the first one after it, in either process.
"""

from __future__ import annotations

import contextlib
import gc
from _thread import get_ident
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os

#: The links of the directory of a process with one thread.
_LINKS = 3

_Functions: TypeAlias = "list[Callable[[], object]]"


def _lists() -> tuple[_Functions, _Functions, _Functions]:
    """
    Return the interpreter's lists: what it calls before, in the parent, in the child.

    Functions can only be added at their ends, which for the first list is the wrong end
    too. But they are lists, and the garbage collector knows them. It does not look at
    what is frozen.
    """
    names = ("before", "after_in_parent", "after_in_child")
    # One function for each list, which can be found in no other.
    own: dict[str, Any] = {name: _Nothing() for name in names}
    os.register_at_fork(**own)
    frozen = gc.get_freeze_count()
    if frozen:
        gc.unfreeze()
    found = []
    for one in own.values():
        (functions,) = (each for each in gc.get_referrers(one) if type(each) is list)
        functions.remove(one)
        found.append(functions)
    if frozen:
        gc.freeze()
    before, in_parent, in_child = found
    return before, in_parent, in_child


class _Nothing:
    def __call__(self) -> None:
        pass


# Windows does not have them, nor guests.
_before, _in_parent, _in_child = (
    _lists() if hasattr(os, "register_at_fork") else ([], [], [])
)


@contextlib.contextmanager
def innermost(
    *,
    before: Callable[[], object] | None = None,
    in_parent: Callable[[], object] | None = None,
    in_child: Callable[[], object] | None = None,
) -> Iterator[None]:
    """
    Have the forks of this thread call these functions next to the fork itself.

    Args:
        before: Called after all that are registered to be called before a fork.
        in_parent: Called in this process before all that are registered for it.
        in_child: Called in the new process before all that are registered for it.
    """
    own = get_ident()
    added = []
    for functions, one in (
        (_before, before),
        (_in_parent, in_parent),
        (_in_child, in_child),
    ):
        if one is not None:
            here = _in_thread(own, one)
            # The list of those called before a fork is run through from its end.
            functions.insert(0, here)
            added.append((functions, here))
    try:
        yield
    finally:
        for functions, here in added:
            functions.remove(here)


def _in_thread(ident: int, function: Callable[[], object]) -> Callable[[], object]:
    # Other threads may fork at the same time. The identifier stays the same in a fork.
    return lambda: function() if get_ident() == ident else None


def fork_without() -> int:
    """
    Fork this process, which has one thread, and call nothing that is registered.

    Nor are the handlers of C code called, if possible: see `syscalls.fork_alone`.
    """
    lists = (_before, _in_parent, _in_child)
    kept = [one[:] for one in lists]
    for one in lists:
        one.clear()
    try:
        return syscalls.fork_alone()
    finally:
        for one, functions in zip(lists, kept, strict=True):
            one[:] = functions


def has_threads() -> bool:
    """
    Say whether this process has other threads, also such as C code has started.

    Source: proc(5): /proc/self/task has a link for itself, its parent and each thread.
    """
    return os.stat("/proc/self/task").st_nlink > _LINKS


def threads() -> tuple[str, ...]:
    """
    Return the names that the kernel has for the other threads of this process.

    Source: proc_pid_task(5), proc_pid_comm(5).
    """
    names = []
    first = os.readlink("/proc/self")
    for number in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):
            fd = os.open(f"/proc/self/task/{number}/comm", os.O_RDONLY | os.O_CLOEXEC)
            if number != first:
                names.append(os.read(fd, 64).decode(errors="replace").strip())
            os.close(fd)
    return tuple(dict.fromkeys(names))
