"""
The steps that the doctor tries, each in a throw-away process.
"""

from __future__ import annotations

import os
import signal
import socket

import machine
import psutil

from pytest_nsisolate.diagnosis import doctor
from pytest_nsisolate.diagnosis.throwaway import attempt
from pytest_nsisolate.model.errors import Refused


def test_a_step_that_hangs() -> None:
    """
    A step that hangs is ended after its time limit, along with its process.
    """
    mine = psutil.Process()
    before = mine.children()

    assert str(attempt(signal.pause, 0.05)) == "poll() failed: ETIMEDOUT"

    assert mine.children() == before


def test_a_step_that_breaks() -> None:
    """
    A step's exception or abnormal ending is reported, whatever it is.
    """

    def wrong() -> None:
        """
        Fail.
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
        "a step that ended early failed: ECHILD"
    )
    assert attempt(lambda: None) is None


def test_nothing_is_left() -> None:
    """
    The doctor leaves descriptors, processes, namespaces and names unchanged.
    """

    def state() -> object:
        """
        Return everything that could be left behind.
        """
        spaces = {
            name: os.readlink(f"/proc/self/ns/{name}")
            for name in ("ipc", "uts", "pid", "mnt", "user", "time", "pid_for_children")
        }
        mounts = machine.mounts()
        names = socket.gethostname(), os.uname()
        held = sorted(os.listdir("/proc/self/fd"))
        return spaces, mounts, names, held, psutil.Process().children()

    before = state()

    doctor.examine()

    assert state() == before
