"""
The deadline of a guest: when its time is over, and how it is then ended.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from pytest_nsisolate.guest.crash_output import STACK_SIGNAL
from pytest_nsisolate.guest.messages import GuestMessage
from pytest_nsisolate.guest.process import GuestProcess
from pytest_nsisolate.linux.descriptors import readable
from pytest_nsisolate.linux.stdlib import time
from pytest_nsisolate.model import ending
from pytest_nsisolate.model.ending import TimedOut
from pytest_nsisolate.sandbox.activity import activities
from pytest_nsisolate.sandbox.leaks import process_tree
from pytest_nsisolate.sandbox.sandbox import Sandbox

#: How long a guest may take to write its stack, in seconds. It takes a few
#: milliseconds.
STACK_TIMEOUT = 2.0

#: Modules whose trace function is a debugger's. One of coverage.py is no debugger.
_DEBUGGERS = {"bdb", "pydevd", "pydevd_frame_evaluator", "pydevd_tracing"}


class Deadline:
    """
    The time limit of one guest. A debugger suspends it.

    Args:
        limit: Seconds that the guest has; None for no limit.
        since: From when on, by the monotonic clock; None: from now on.
    """

    def __init__(self, limit: float | None, since: float | None = None) -> None:
        self.limit = limit
        self._left = limit
        self._since: float | None = None
        if not _is_debugged():
            self._since = time.monotonic() if since is None else since

    def resume(self) -> None:
        """
        Let time pass.
        """
        if self._since is None:
            self._since = time.monotonic()

    def suspend(self) -> None:
        """
        Let no time pass, until this is resumed.
        """
        self._left, self._since = self.left(), None

    def left(self) -> float | None:
        """
        Return how many seconds are left, None while there is no limit; never below 0.
        """
        if self._left is None or self._since is None:
            return self._left
        return max(0.0, self._left - (time.monotonic() - self._since))

    def timeout(self) -> float | None:
        """
        Return for how many milliseconds to wait, as poll(2) wants it; None: for ever.
        """
        left = self.left()
        return None if left is None or self._since is None else left * 1000

    def is_over(self) -> bool:
        """
        Say whether no time is left.
        """
        return self.timeout() == 0


def _is_debugged() -> bool:
    """
    Say whether a debugger traces this process, as that of an editor does.
    """
    module = type(sys.gettrace()).__module__
    name = getattr(sys.gettrace(), "__module__", None) or module
    # Since Python 3.12; a debugger takes the tool id that is meant for it.
    monitoring: Any = getattr(sys, "monitoring", None)
    return str(name).partition(".")[0] in _DEBUGGERS or (
        monitoring is not None
        and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None
    )


def expire(
    fork: GuestProcess[GuestMessage], sandbox: Sandbox, limit: float
) -> TimedOut:
    """
    End the guest, and return what can be said of where it was.

    Args:
        fork: Its process.
        sandbox: Where it is.
        limit: How long it was given, in seconds.
    """
    facts = sandbox.audit()
    processes: tuple[str, ...] = ()
    if facts is not None:
        processes = tuple(process_tree(facts, activities(sandbox)))
    # One that has been stopped acts on nothing but SIGCONT and SIGKILL.
    pid = fork.send(STACK_SIGNAL, signal.SIGCONT)
    if readable(fork.pidfd, STACK_TIMEOUT):
        return TimedOut(limit, processes)
    silence = (
        f"{ending.signal_name(STACK_SIGNAL)} had no effect in {STACK_TIMEOUT:g} s; "
        f"/proc/PID/status says {_state_of(pid)}"
    )
    fork.send(signal.SIGKILL)
    return TimedOut(limit, processes, silence)


def _state_of(pid: int | None) -> str:
    """
    Return what keeps the process *pid* from a signal. Source: proc_pid_status(5).
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return "nothing"
    names = ("State", "SigBlk", "SigIgn", "SigCgt")
    said = [" ".join(line.split()) for line in lines if line.startswith(names)]
    return ", ".join(said)
