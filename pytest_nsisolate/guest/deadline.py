"""
The deadline of a guest, and how a guest is ended when its time is over.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from pytest_nsisolate.guest.crash_output import STACK_SIGNAL
from pytest_nsisolate.guest.messages import GuestMessage
from pytest_nsisolate.guest.process import GuestProcess
from pytest_nsisolate.linux.stdlib import time
from pytest_nsisolate.model import ending
from pytest_nsisolate.model.ending import TimedOut
from pytest_nsisolate.sandbox.activity import activities
from pytest_nsisolate.sandbox.leaks import process_tree
from pytest_nsisolate.sandbox.sandbox import Sandbox

#: How long a guest may take to write its stack, in seconds. It usually takes a few
#: milliseconds.
STACK_TIMEOUT = 2.0

#: The modules of debuggers that set a trace function. That of coverage.py does not
#: count.
_DEBUGGERS = {"bdb", "pydevd", "pydevd_frame_evaluator", "pydevd_tracing"}


class Deadline:
    """
    The time limit of one guest, which a debugger suspends.

    Args:
        limit: How many seconds the guest has; None for no limit.
        since: When they begin, on the monotonic clock; None for now.
    """

    def __init__(self, limit: float | None, since: float | None = None) -> None:
        self.limit = limit
        self._left = limit
        self._since: float | None = None
        if not _is_debugged():
            self._since = time.monotonic() if since is None else since

    def resume(self) -> None:
        """
        Start the clock again.
        """
        if self._since is None:
            self._since = time.monotonic()

    def suspend(self) -> None:
        """
        Stop the clock until `resume`.
        """
        self._left, self._since = self.left(), None

    def left(self) -> float | None:
        """
        Return how many seconds are left, at least 0; None without a limit.
        """
        if self._left is None or self._since is None:
            return self._left
        return max(0.0, self._left - (time.monotonic() - self._since))

    def timeout(self) -> float | None:
        """
        Return how many milliseconds to wait, for poll(2); None for no end.
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
    Say whether a debugger traces this process, for instance that of an editor.
    """
    module = type(sys.gettrace()).__module__
    name = getattr(sys.gettrace(), "__module__", None) or module
    # Since Python 3.12 a debugger may use this tool id instead.
    monitoring: Any = getattr(sys, "monitoring", None)
    return str(name).partition(".")[0] in _DEBUGGERS or (
        monitoring is not None
        and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None
    )


def expire(
    fork: GuestProcess[GuestMessage], sandbox: Sandbox, limit: float
) -> TimedOut:
    """
    End a guest whose time is over, after it has written its stack.

    Args:
        fork: The process of the guest.
        sandbox: The sandbox that it is in.
        limit: How many seconds it had.

    Returns:
        The ending, with the processes in the sandbox.
    """
    facts = sandbox.audit()
    processes: tuple[str, ...] = ()
    if facts is not None:
        processes = tuple(process_tree(facts, activities(sandbox)))
    # A stopped process acts only on SIGCONT and SIGKILL.
    pid = fork.send(STACK_SIGNAL, signal.SIGCONT)
    if fork.has_ended(STACK_TIMEOUT):
        return TimedOut(limit, processes)
    silence = (
        f"{ending.signal_name(STACK_SIGNAL)} had no effect in {STACK_TIMEOUT:g} s; "
        f"/proc/PID/status says {_state_of(pid)}"
    )
    fork.send(signal.SIGKILL)
    return TimedOut(limit, processes, silence)


def _state_of(pid: int | None) -> str:
    """
    Return the state and signal masks of process *pid*. Source: proc_pid_status(5).
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return "nothing"
    names = ("State", "SigBlk", "SigIgn", "SigCgt")
    fields = [" ".join(line.split()) for line in lines if line.startswith(names)]
    return ", ".join(fields)
