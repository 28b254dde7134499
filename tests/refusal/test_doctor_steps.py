"""
The steps that the doctor tries, each in a process that is gone afterwards.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psutil

from pytest_nsisolate.diagnosis import doctor
from pytest_nsisolate.diagnosis.throwaway import attempt
from pytest_nsisolate.model.errors import Refused


def test_a_step_that_hangs() -> None:
    """
    A step has its time, and its process is gone then.
    """
    mine = psutil.Process()
    before = mine.children()

    assert str(attempt(signal.pause, 0.05)) == "poll() failed: ETIMEDOUT"

    assert mine.children() == before


def test_a_step_that_breaks() -> None:
    """
    Whatever a step raises, or however it ends, is told.
    """

    def wrong() -> None:
        """
        Break.
        """
        raise ZeroDivisionError("x")

    def refusing() -> None:
        """
        Refuse.
        """
        raise Refused("call()", 1)

    assert "ZeroDivisionError('x')" in str(attempt(wrong))
    assert str(attempt(refusing)) == "call() failed: EPERM"
    assert str(attempt(lambda: os._exit(7))) == (
        "a step that ended by itself failed: ECHILD"
    )
    assert attempt(lambda: None) is None


def test_nothing_is_left() -> None:
    """
    Descriptors, processes, namespaces and names are after the doctor what they were.
    """

    def state() -> object:
        """
        Return what could be left.
        """
        spaces = {
            name: os.readlink(f"/proc/self/ns/{name}")
            for name in ("ipc", "uts", "pid", "mnt", "user", "pid_for_children")
        }
        mounts = Path("/proc/self/mountinfo").read_text()
        names = socket.gethostname(), os.uname()
        held = sorted(os.listdir("/proc/self/fd"))
        return spaces, mounts, names, held, psutil.Process().children()

    before = state()

    doctor.examine()

    assert state() == before
