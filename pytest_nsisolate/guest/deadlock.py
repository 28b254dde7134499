"""
The deadlock of a guest: its only thread waits for one that the fork left behind.

A thread that waits for a lock, an event, a queue or a future sleeps in futex(2). If it
does so without a time limit, and the futex is private to the process, only another
thread of the same process can wake it. The supervisor looks from outside whether the
guest sleeps so, and asks it by a signal. The guest raises an error there, if nothing
else can wake it.

Source: futex(2), FUTEX_PRIVATE_FLAG; proc_pid_syscall(5).
"""

from __future__ import annotations

import contextlib
import functools
import platform
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from pytest_nsisolate.guest import absent
from pytest_nsisolate.guest.crash_output import STACK_SIGNAL
from pytest_nsisolate.linux.stdlib import os, time
from pytest_nsisolate.model.errors import Explanation, LeftBehind

# Windows does not have it, nor guests.
with contextlib.suppress(ImportError):
    import resource

#: The signal by which the supervisor asks. Tests do not use this one: see STACK_SIGNAL.
DEADLOCK_SIGNAL = STACK_SIGNAL - 1

#: When to look for the first time, and how long to wait at most, in seconds. The time
#: between two looks doubles, since a test may wait long for a thread of its own.
_FIRST, _LONGEST = 0.1, 5.0

#: The number of futex(2) by machine. Source: syscalls(2), the tables of Linux.
_FUTEX = {
    "x86_64": 202,
    "aarch64": 98,
    "riscv64": 98,
    "loongarch64": 98,
    "ppc64le": 221,
    "s390x": 238,
}

#: Operations that wait: FUTEX_WAIT, LOCK_PI, WAIT_BITSET, LOCK_PI2. Source: futex(2).
_WAITS = (0, 6, 9, 13)
_PRIVATE, _OPERATION = 0x80, 0x7F

#: The module whose timers, which are threads or signals, end a test.
_LIMITS = "pytest_timeout"

#: Where handlers of signals are defined that wake nothing.
_HARMLESS = (_LIMITS, "pytest_nsisolate.")


class Watch:
    """
    Asks a guest from time to time whether it is in a deadlock.

    Args:
        threads: The threads that the fork left behind; without any it never asks.
    """

    def __init__(self, threads: Sequence[threading.Thread]) -> None:
        self._pause = _FIRST
        self._next: float | None = None
        if threads and platform.machine() in _FUTEX:
            self._next = time.monotonic() + self._pause

    def timeout(self) -> float | None:
        """
        Return how many milliseconds to wait, for poll(2); None for no end.
        """
        return (
            None if self._next is None else max(0, self._next - time.monotonic()) * 1e3
        )

    def is_due(self) -> bool:
        """
        Say whether it is time to look at the guest.
        """
        return self.timeout() == 0

    def sees(self, pid: int | None) -> bool:
        """
        Say whether the guest *pid* sleeps as in a deadlock, and is to be asked.
        """
        self._next = time.monotonic() + self._pause
        try:
            sleeps = pid is not None and _sleeps(pid)
        except OSError:
            # Perhaps the kernel does not let this process see it. Source: ptrace(2).
            self._next = None
            return False
        if sleeps:
            self._pause = min(self._pause * 2, _LONGEST)
        return sleeps


def _sleeps(pid: int) -> bool:
    """
    Say whether the main thread of *pid* sleeps until another of its threads wakes it.
    """
    fd = os.open(f"/proc/{pid}/task/{pid}/syscall", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fields = os.read(fd, 256).decode().split()
    finally:
        os.close(fd)
    if fields[0] != str(_FUTEX[platform.machine()]):
        return False
    # The address, the operation, a value, the time limit. Source: futex(2).
    operation, timeout = int(fields[2], 16), int(fields[4], 16)
    return (
        timeout == 0
        and operation & _PRIVATE != 0
        and operation & _OPERATION & ~_PRIVATE in _WAITS
    )


def take_over(watchdogs: int) -> None:
    """
    In a guest: answer the supervisor, which asks if threads were left behind.

    Args:
        watchdogs: How many threads `faulthandler` has here to dump a traceback later.
    """
    if absent.left_behind():
        signal.signal(DEADLOCK_SIGNAL, _Answer(watchdogs))


class _Answer:
    """
    The handler of the signal: it raises `LeftBehind`, if the guest is in a deadlock.

    While this handler runs, the main thread does not sleep. It is in a deadlock if it
    went on to sleep at the same place after the signal before, and only that, although
    nothing was there already then that could wake it. What has ended since may have
    woken it, and this signal came before it could go on.
    """

    def __init__(self, watchdogs: int) -> None:
        self._watchdogs = watchdogs
        self._place: tuple[object, ...] = ()
        self._switches = -1
        self._was_alone = False

    def __call__(self, _: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True
        assert frame is not None
        place = (id(frame), frame.f_code, frame.f_lasti)
        # How often it gave up the processor itself: once, to sleep. Source:
        # getrusage(2), RUSAGE_THREAD.
        switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        stayed = place == self._place and switches <= self._switches + 1
        is_alone = self._is_alone() and not _can_be_signalled()
        if stayed and is_alone and self._was_alone:
            self._place = ()
            raise LeftBehind(_explain(frame))
        self._place, self._was_alone = place, is_alone
        self._switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

    def _is_alone(self) -> bool:
        """
        Say whether no other thread here could wake this one.
        """
        idle = sum(one.name.startswith(f"{_LIMITS} ") for one in absent.others())
        with contextlib.suppress(OSError):
            return len(os.listdir("/proc/self/task")) <= 1 + idle + self._watchdogs
        return False


def _can_be_signalled() -> bool:
    """
    Say whether a signal might come, whose handler wakes this thread or raises.
    """
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        if isinstance(handler, functools.partial):
            handler = handler.func
        module = str(getattr(handler, "__module__", None))
        # That of asyncio.run() cancels a task.
        harmless = module == "asyncio.runners" or module.startswith(_HARMLESS)
        if (
            callable(handler)
            and handler is not signal.default_int_handler
            and not harmless
        ):
            return True
    # A process that the test has started may send SIGINT.
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    return False


#: Modules in which a thread waits on behalf of the function that called them.
_ON_BEHALF = ("threading", "queue", "concurrent.futures")


def _explain(frame: FrameType) -> Explanation:
    """
    Explain the deadlock of *frame*, the innermost one of the main thread.
    """
    threads = absent.left_behind()
    caller: FrameType | None = frame
    while caller is not None and caller.f_globals.get("__name__", "").startswith(
        _ON_BEHALF
    ):
        caller = caller.f_back
    code = (caller or frame).f_code
    line = (caller or frame).f_lineno
    return Explanation(
        what=f"{code.co_name}() waits for ever at {code.co_filename}:{line}",
        why="this process has no other thread that could end its wait for a lock. "
        f"Perhaps it waits for one of pytest: {absent.sentence(threads)}",
        fix=absent.way_out(threads),
    )
