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
import sys
from _thread import get_ident
from collections.abc import Callable, Iterator
from types import BuiltinMethodType, FunctionType, MethodType

from pytest_nsisolate.linux.stdlib import os


class _Registered:
    """
    What is registered, once for each list: it calls the functions of `innermost`.
    """

    def __init__(self) -> None:
        self.functions: list[Callable[[], object]] = []

    def __call__(self) -> None:
        for function in self.functions[:]:
            function()


_before, _in_parent, _in_child = _own = _Registered(), _Registered(), _Registered()


def _lists() -> tuple[list[object], ...]:
    """
    Register, and get next to the fork by way of the interpreter's lists.

    Functions can only be added at their ends, which for each is the wrong end. But they
    are lists, and the garbage collector knows them. This module is imported when there
    is little else for it to look through: that takes 2 ms.

    Returns:
        What Python calls before a fork, in the parent and in the child; nothing if that
        cannot be had, as in a heap that was frozen before. What others registered
        earlier is then nearer to the fork.
    """
    if not hasattr(os, "register_at_fork"):
        # Windows does not have it, nor guests.
        return ()
    os.register_at_fork(
        before=_before, after_in_parent=_in_parent, after_in_child=_in_child
    )
    found = gc.get_referrers(*_own)
    lists = [
        [each for each in found if type(each) is list and each and each[-1] is one]
        for one in _own
    ]
    if [len(each) for each in lists] != [1, 1, 1]:
        return ()
    for (each,) in lists:
        each.insert(0, each.pop())
    return tuple(each for (each,) in lists)


_called = _lists()


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
    added = []
    # Python calls what comes before a fork in the reverse order.
    for one, function, at_end in (
        (_before, before, True),
        (_in_parent, in_parent, False),
        (_in_child, in_child, False),
    ):
        if function is not None:
            here = _in_thread(get_ident(), function)
            one.functions.insert(len(one.functions) if at_end else 0, here)
            added.append((one.functions, here))
    try:
        yield
    finally:
        for functions, here in added:
            functions.remove(here)


def _in_thread(ident: int, function: Callable[[], object]) -> Callable[[], object]:
    # Other threads may fork at the same time. The identifier stays the same in a fork.
    return lambda: function() if get_ident() == ident else None


def is_plain() -> bool:
    """
    Say whether only the standard library has registered functions for forks.

    Its own may be called at any fork. If the lists cannot be had, the answer is no.
    """
    return bool(_called) and all(
        each in _own or _is_of_python(each) for one in _called for each in one
    )


def _is_of_python(function: object) -> bool:
    if isinstance(function, BuiltinMethodType):
        # Those of its locks, and since 3.15 of a functools.lru_cache.
        owner = function.__self__
        kind = type(owner).__module__
        return kind == "_thread" or (kind == "functools" and _is_of_python(owner))
    if type(function).__module__ == "functools":
        function = getattr(function, "__wrapped__", None)
    # Not what wraps another function, such as a functools.partial.
    is_plain = isinstance(function, FunctionType | MethodType)
    return is_plain and function.__module__.partition(".")[0] in sys.stdlib_module_names


@contextlib.contextmanager
def nothing_called() -> Iterator[bool]:
    """
    Have forks call nothing that is registered, and yield True, if that can be had.
    """
    kept = [one[:] for one in _called]
    for one in _called:
        one.clear()
    try:
        yield bool(_called)
    finally:
        for one, functions in zip(_called, kept, strict=True):
            one[:] = functions


def threads() -> tuple[str, ...]:
    """
    Return the names that the kernel has for the other threads of this process.

    Source: proc_pid_task(5), proc_pid_comm(5).
    """
    try:
        others = {*os.listdir("/proc/self/task")} - {os.readlink("/proc/self")}
    except OSError:
        # Where there is no /proc, nothing tells them.
        return ()
    names = [_name(f"/proc/self/task/{number}/comm") for number in sorted(others)]
    return tuple(dict.fromkeys(filter(None, names)))


def _name(path: str) -> str:
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, 64).decode(errors="replace").strip()
        finally:
            os.close(fd)
    # It has ended.
    return ""
