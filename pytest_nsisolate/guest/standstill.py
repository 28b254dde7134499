"""
The standstill: while a test that runs before its turn waits for it, its timers stop.

Otherwise a timer would count how long the tests before it take.
"""

from __future__ import annotations

import contextlib
import faulthandler
from collections.abc import Callable, Iterator
from signal import ITIMER_REAL, setitimer
from typing import TypeAlias

#: Stops a timer, and returns what starts it again with the rest of its time.
Stop: TypeAlias = Callable[[], Callable[[], object]]


@contextlib.contextmanager
def standstill() -> Iterator[None]:
    """
    Return a context in which the timers of this process stand still.
    """
    starts = [stop() for stop in stops]
    try:
        yield
    finally:
        for start in starts:
            start()


def _stop_alarm() -> Callable[[], object]:
    """
    Stop the timer of setitimer(2) and alarm(2).
    """
    left, interval = setitimer(ITIMER_REAL, 0)
    return lambda: left and setitimer(ITIMER_REAL, left, interval)


def stop_watchdog() -> Callable[[], object]:
    """
    Stop that of `faulthandler`, for good: nobody knows how much of its time is left.
    """
    faulthandler.cancel_dump_traceback_later()
    return lambda: None


#: What stops the timers that there can be. Plugins may add theirs.
stops: list[Stop] = [_stop_alarm]
