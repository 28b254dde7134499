"""
asyncio: a separate epoll and wake-up pipe for each event loop that a guest inherits.

The guest has a copy of a borrowed fixture's loop, but the kernel keeps a single list of
the descriptors that its epoll watches, and a single pipe that wakes it. If the guest
unregisters a descriptor, by closing its copy of a connection, the supervisor's loop
waits for that descriptor in vain. Source: epoll(7), "Questions and answers", 6.

Threads do not survive a fork. An executor still counts the threads that it had, and
would start no others.

This module carries nothing over: it is an example of `pytest_nsisolate_enter` alone.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

from pytest_nsisolate.guest import absent


class Integration:
    """
    Looks at all borrowed fixtures, for the value of any can be a loop or hold one.
    """

    @pytest.hookimpl
    def pytest_nsisolate_enter(
        self, borrowed: Sequence[pytest.FixtureDef[object]]
    ) -> None:
        _revive_executors()
        if "asyncio" in sys.modules:
            for loop in {id(loop): loop for loop in _loops(borrowed)}.values():
                _separate(loop)


def _loops(borrowed: Iterable[pytest.FixtureDef[object]]) -> Iterator[Any]:
    # Since 4.0 anyio keeps its runner in a global of its plugin.
    anyio = sys.modules.get("anyio.pytest_plugin")
    runner: Any = getattr(anyio, "_current_runner", None)
    values = [one.cached_result[0] for one in borrowed if one.cached_result]
    for value in (*values, getattr(runner, "_runner", None)):
        loop = _loop_of(value)
        if loop is not None and not loop.is_closed():
            yield loop


def _loop_of(value: object) -> Any:
    """
    Return *value* if it is a loop, or its loop if it is an `asyncio.Runner`.
    """
    asyncio = sys.modules["asyncio"]
    # A Runner, new in 3.11, makes its loop when get_loop() is first called.
    runner = getattr(asyncio, "Runner", ())
    # By its type: isinstance() asks a lazy object for its class, and so makes it.
    loop = getattr(value, "_loop", None) if issubclass(type(value), runner) else value
    return loop if issubclass(type(loop), asyncio.SelectorEventLoop) else None


def _separate(loop: Any) -> None:
    """
    Give *loop* its own epoll and pipe, and register the same descriptors there.

    The attributes have had these names since 3.4.
    """
    old = loop._selector
    new = type(old)()
    for key in list(old.get_map().values()):
        # A descriptor that has been closed since then cannot be registered.
        with contextlib.suppress(OSError, ValueError):
            new.register(key.fileobj, key.events, key.data)
    loop._selector = new
    old.close()
    loop._close_self_pipe()
    loop._make_self_pipe()


def _revive_executors() -> None:
    """
    Make each `concurrent.futures.ThreadPoolExecutor` start new threads.
    """
    module: Any = sys.modules.get("concurrent.futures.thread")
    if module is None:
        return
    # Since 3.9: the first argument of each thread is a weak reference to its executor.
    # Since 3.14 a fork forgets which threads there were in `_threads_queues`.
    for thread in absent.left_behind():
        if getattr(thread, "_target", None) is not module._worker:
            continue
        reference = (*getattr(thread, "_args", ()), None)[0]
        executor = None if reference is None else reference()
        if executor is not None:
            executor._threads = set()
            executor._idle_semaphore = threading.Semaphore(0)
            executor._work_queue = queue.SimpleQueue()
    module._threads_queues.clear()
