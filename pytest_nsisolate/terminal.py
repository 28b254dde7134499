"""
Who has the terminal: a guest while a debugger asks there, else the supervisor.
"""

from __future__ import annotations

import signal

from pytest_nsisolate.untouched import os


def take() -> None:
    """
    Make this process's group the one in the foreground, if it has a terminal at all.

    Source: tcsetpgrp(3): a process in the background gets SIGTTOU unless it is ignored.
    """
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(fd, os.getpgrp())
    finally:
        signal.signal(signal.SIGTTOU, before)
        os.close(fd)
