"""
Who has the terminal: a guest that asks there, as a debugger does, else the supervisor.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable

from pytest_nsisolate.linux.stdlib import os


def take() -> None:
    """
    Make this process's group the one in the foreground, if it has a terminal at all.

    Source: tcsetpgrp(3): a process in the background gets SIGTTOU unless it is ignored.
    """
    # Zero: it is led by a process outside of this PID namespace, and has no name here.
    group = os.getpgrp()
    if not group:
        return
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(fd, group)
    finally:
        signal.signal(signal.SIGTTOU, before)
        os.close(fd)


def take_when_reading(tell: Callable[[], None]) -> None:
    """
    Have this process's group take the terminal when a process of it reads there.

    The kernel sends SIGTTIN to a group in the background that reads, which stops it by
    default; a read that a handler has interrupted is tried again. Turning off the echo
    sends SIGTTOU, and is done if that is ignored. Source: tty_ioctl(4); PEP 475.

    Args:
        tell: Called before.
    """

    def handle(*_: object) -> None:
        tell()
        take()
        # What else reads here has been stopped.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(0, signal.SIGCONT)

    def look(event: str, _: object) -> None:
        # readline tries again without a look at Python's handlers.
        if event == "builtins.input":
            tell()
            take()

    if not _is_there():
        return
    sys.addaudithook(look)
    for number, handler in ((signal.SIGTTIN, handle), (signal.SIGTTOU, signal.SIG_IGN)):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, handler)


def _is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY))
    except OSError:
        return False
    return True
