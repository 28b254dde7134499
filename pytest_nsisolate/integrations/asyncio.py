"""
asyncio: an event loop that was made outside runs inside on plumbing of its own.

The loop of a borrowed fixture is a copy in the guest, but the list of descriptors that
its epoll watches is one in the kernel, and so is the pipe that wakes it. What the guest
unregisters there, by closing its copy of a connection, the supervisor's loop would wait
for in vain. Source: epoll(7), "Questions and answers", 6.

Threads do not cross a fork. An executor believes in those it had, and would start none.

This carries nothing over; it shows the use of `pytest_nsisolate_enter` alone.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import weakref
from collections.abc import Generator, Iterator
from typing import Any

import pytest


class Integration:
    """
    Remembers what may be or hold a loop: values of fixtures.
    """

    def __init__(self) -> None:
        self._holders: weakref.WeakSet[Any] = weakref.WeakSet()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self) -> Generator[None, object, object]:
        value = yield
        if "asyncio" in sys.modules and _loop_of(value) is not None:
            self._holders.add(value)
        return value

    @pytest.hookimpl
    def pytest_nsisolate_enter(self) -> None:
        _revive_executors()
        if "asyncio" in sys.modules:
            for loop in {id(loop): loop for loop in self._loops()}.values():
                _separate(loop)

    def _loops(self) -> Iterator[Any]:
        # anyio keeps its runner in a global of its plugin, since 4.0.
        anyio = sys.modules.get("anyio.pytest_plugin")
        runner: Any = getattr(anyio, "_current_runner", None)
        for value in (*self._holders, getattr(runner, "_runner", None)):
            loop = _loop_of(value)
            if loop is not None and not loop.is_closed():
                yield loop


def _loop_of(value: object) -> Any:
    """
    Return *value*, if it is a loop, or that of the `asyncio.Runner`, if it is one.
    """
    asyncio = sys.modules["asyncio"]
    # A Runner, new in 3.11, makes its loop on the first call of its get_loop().
    runner = getattr(asyncio, "Runner", ())
    loop = getattr(value, "_loop", None) if isinstance(value, runner) else value
    return loop if isinstance(loop, asyncio.SelectorEventLoop) else None


def _separate(loop: Any) -> None:
    """
    Give *loop* an epoll and a pipe of its own, and register there all that was.

    Its attributes have had these names since 3.4.
    """
    old = loop._selector
    new = type(old)()
    for key in list(old.get_map().values()):
        # What has been closed meanwhile cannot be registered.
        with contextlib.suppress(OSError, ValueError):
            new.register(key.fileobj, key.events, key.data)
    loop._selector = new
    old.close()
    loop._close_self_pipe()
    loop._make_self_pipe()


def _revive_executors() -> None:
    """
    Let every `concurrent.futures.ThreadPoolExecutor` start threads anew.
    """
    module: Any = sys.modules.get("concurrent.futures.thread")
    if module is None:
        return
    # Since 3.9: the first argument of each thread is a weak reference to its executor.
    for thread in list(module._threads_queues):
        reference = (*getattr(thread, "_args", ()), None)[0]
        executor = None if reference is None else reference()
        if executor is not None:
            executor._threads = set()
            executor._idle_semaphore = threading.Semaphore(0)
            executor._work_queue = queue.SimpleQueue()
    module._threads_queues.clear()
