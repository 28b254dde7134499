"""
The terminal, which a guest takes from the supervisor to read there, as a debugger does.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable

from pytest_nsisolate.linux.stdlib import os


def take() -> None:
    """
    Put the group of this process into the foreground, if there is a terminal.

    Source: tcsetpgrp(3): a process in the background gets SIGTTOU unless it is ignored.
    """
    # Zero means that a process outside this PID namespace leads the group, which has no
    # id here.
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
    Let the group of this process take the terminal when a process of it reads there.

    The kernel sends SIGTTIN to a background group that reads, which by default stops
    it. A read that a handler interrupts is tried again. Turning off the echo sends
    SIGTTOU, and works if that is ignored. Source: tty_ioctl(4); PEP 475.

    Args:
        tell: Called before the terminal is taken.
    """

    def handle(*_: object) -> None:
        tell()
        take()
        # Other processes of the group that read here have been stopped.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(0, signal.SIGCONT)

    def look(event: str, _: object) -> None:
        # readline retries without running Python's signal handlers.
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
