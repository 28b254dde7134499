"""
Endings made from real wait statuses.
"""

from __future__ import annotations

import os
import signal

import pytest

from pytest_nsisolate import (
    Ending,
    Exited,
    Finished,
    Killed,
    NeverStarted,
    Refused,
    TimedOut,
)
from pytest_nsisolate.model.ending import from_wait_status, signal_name


def _status_of(signal_number: int | None, code: int = 0) -> int:
    """
    Return the wait status of a process that ends with this signal or code.
    """
    pid = os.fork()
    if not pid:
        if signal_number is None:
            os._exit(code)
        if signal_number not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(signal_number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.kill(os.getpid(), signal_number)
        os._exit(99)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("code", [0, 1, 2, 5, 127, 128, 137, 139, 255])
def test_exited(code: int) -> None:
    """
    Every exit code counts as an exit, even one that shells use for signals.
    """
    ended = from_wait_status(_status_of(None, code))
    assert ended == Exited(code)
    assert str(ended) == f"exited with code {code}"


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGTERM, "SIGTERM"),
        (signal.SIGKILL, "SIGKILL"),
        (signal.SIGALRM, "SIGALRM"),
        (signal.SIGUSR1, "SIGUSR1"),
        (signal.SIGRTMIN, "SIGRTMIN"),
        (signal.SIGRTMIN + 3, "SIGRTMIN+3"),
        (signal.SIGRTMAX, "SIGRTMAX"),
    ],
)
def test_killed(number: int, name: str) -> None:
    """
    A signal is shown by name, and a real-time signal by its distance from SIGRTMIN.
    """
    ended = from_wait_status(_status_of(number))
    assert ended == Killed(number)
    assert str(ended) == f"killed by {name}"


def test_core_dump_does_not_hide_the_signal() -> None:
    """
    The core dump bit is not taken for part of the signal number.
    """
    assert from_wait_status(signal.SIGSEGV | 0x80) == Killed(signal.SIGSEGV)


@pytest.mark.parametrize("number", sorted(signal.valid_signals()))
def test_every_signal_has_a_name(number: int) -> None:
    """
    No signal of this system is shown by number alone.
    """
    assert signal_name(number).startswith("SIG")
    if number > signal.SIGRTMIN and number < signal.SIGRTMAX:
        assert signal_name(number) == f"SIGRTMIN+{number - signal.SIGRTMIN}"


def test_every_ending_is_one() -> None:
    """
    The union of endings can be asked whether something is one.
    """
    endings = [Finished(), Exited(3), Killed(9), TimedOut(5.0)]
    assert all(isinstance(one, Ending) for one in endings)
    assert isinstance(NeverStarted(Refused("fork()", 11)), Ending)
    assert not isinstance(9, Ending)
