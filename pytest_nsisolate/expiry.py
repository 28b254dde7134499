"""
The end of a guest whose time is over, and what can be said of where it was.
"""

from __future__ import annotations

import signal
from pathlib import Path

from pytest_nsisolate import ending
from pytest_nsisolate.crash_output import STACK_SIGNAL
from pytest_nsisolate.ending import TimedOut
from pytest_nsisolate.leaks import process_tree
from pytest_nsisolate.process import GuestProcess
from pytest_nsisolate.sandbox import Sandbox, readable

#: How long a guest may take to write its stack, in seconds. It takes a few
#: milliseconds.
STACK_TIMEOUT = 2.0


def expire(fork: GuestProcess, sandbox: Sandbox, limit: float) -> TimedOut:
    """
    End the guest, and return what can be said of where it was.

    Args:
        fork: Its process.
        sandbox: Where it is.
        limit: How long it was given, in seconds.
    """
    facts = sandbox.audit()
    processes = () if facts is None else tuple(process_tree(facts))
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
