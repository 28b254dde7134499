"""
Functions called in a box: where they run, how they end, and what they print.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from boxes import MakeBox

import pytest_nsisolate
from pytest_nsisolate.box.box import Box
from pytest_nsisolate.box.explanations import DidNotFinish
from pytest_nsisolate.model.ending import Exited, Killed, TimedOut
from pytest_nsisolate.model.errors import BoxError

pytestmark = pytest.mark.python


def test_a_closure_runs_inside(box: Box) -> None:
    """
    A function sees what its caller sees, runs on its own host, and changes neither.
    """
    seen = ["outside"]

    def look(*more: str, last: str) -> tuple[str, int, list[str], str]:
        """
        Return what can be seen inside.
        """
        seen.extend([*more, last])
        return socket.gethostname(), os.getpid(), seen, os.getcwd()

    hostname, pid, told, directory = box.run(look, "inside", last="last")

    assert (hostname, directory) == ("db", os.getcwd())
    assert pid < 1000
    assert told == ["outside", "inside", "last"]
    assert seen == ["outside"]


def test_identity_is_kept(box: Box) -> None:
    """
    Uid and gid are the same inside as outside.
    """
    assert box.run(lambda: (os.getuid(), os.getgid())) == (os.getuid(), os.getgid())


def test_root_on_demand(make: MakeBox) -> None:
    """
    With user="root" the uid inside is 0.
    """
    assert make(user="root").run(os.getuid) == 0


EXPECT = "or expect it: with pytest.raises(pytest_nsisolate.DidNotFinish)"
SHOW = "begin it with faulthandler.enable() to see where it crashes"
TRACE = (
    "see who sends it: strace -f -e trace=kill,tkill,tgkill,pidfd_send_signal "
    "python -m pytest"
)


def _raise_signal(number: int) -> Callable[[], None]:
    """
    Return a function that ends its process by a signal, as a crash would.
    """
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("end", "ending", "says", "fix"),
    [
        (
            lambda: os._exit(3),
            Exited(3),
            "exit code 3",
            "end it with sys.exit(3) or an exception, which reaches the test",
        ),
        (
            lambda: os.closerange(3, 256),
            Exited(1),
            "exit code 1, which it also gets if it closes descriptors of its caller",
            "end it with sys.exit(1) or an exception, which reaches the test",
        ),
        (_raise_signal(signal.SIGSEGV), Killed(11), "signal 11", SHOW),
        (_raise_signal(signal.SIGABRT), Killed(6), "signal 6", SHOW),
        (_raise_signal(signal.SIGKILL), Killed(9), "signal 9", TRACE),
        (_raise_signal(signal.SIGTERM), Killed(15), "signal 15", TRACE),
    ],
)
def test_a_function_that_ends_its_process(
    box: Box, end: Callable[[], None], ending: object, says: str, fix: str
) -> None:
    """
    The error has the ending, its fix does not end pytest, and the box stays usable.
    """
    with pytest.raises(DidNotFinish) as caught:
        box.run(end)

    assert caught.value.ending == ending
    assert str(caught.value).splitlines() == [
        f"<lambda> in box db did not finish: {ending}",
        f"why: the wait status of its process says {says}",
        f"fix: {fix}, {EXPECT}",
    ]
    assert box.run(int) == 0


def test_what_the_fixes_say(box: Box, capfd: pytest.CaptureFixture[str]) -> None:
    """
    Each fix for a function that ends its process does what it says.
    """

    def crash() -> None:
        """
        Crash, with the place of the crash in the output.
        """
        faulthandler.enable()
        ctypes.string_at(0)

    with pytest.raises(SystemExit) as exited:
        box.run(sys.exit, 3)
    with pytest.raises(pytest_nsisolate.DidNotFinish):
        box.run(crash)

    assert exited.value.code == 3
    stack = capfd.readouterr().err
    assert f'File "{__file__}", line ' in stack
    assert " in crash\n" in stack


def test_a_function_that_takes_too_long(make: MakeBox) -> None:
    """
    timeout= ends a call and leaves nothing of it behind.
    """
    box = make(timeout=2)

    with pytest.raises(DidNotFinish) as caught:
        box.run(threading.Event().wait)

    assert caught.value.ending == TimedOut(2)
    assert str(caught.value).splitlines() == [
        "wait in box b did not finish: timed out after 2 s",
        "why: the box has timeout=2 for each call",
        "fix: give it longer: sandbox_factory(timeout=4)",
    ]
    assert box.run(int) == 0
    assert box.pids() == []


def test_garbage_from_a_function(box: Box) -> None:
    """
    Writing to the channel's descriptors spoils that call only.
    """
    known = set(os.listdir("/proc/self/fd"))

    def write() -> None:
        """
        Write to every new descriptor.
        """
        for name in set(os.listdir("/proc/self/fd")) - known:
            with contextlib.suppress(OSError):
                os.write(int(name), b"\xff" * 16)
        os._exit(0)

    with pytest.raises(BoxError) as caught:
        box.run(write)

    what, why, fix = str(caught.value).splitlines()
    assert what == "what came back from write in box db is not a message"
    assert why == f"why: it sent a message of {(1 << 64) - 1} bytes"
    assert fix == "fix: make the function write only to descriptors that it has opened"
    assert box.run(int) == 0


def test_a_file_in_place_of_the_channel(box: Box, tmp_path: Path) -> None:
    """
    If a function closes the channel, its result is not written to a file of its own.
    """
    path = tmp_path / "own"
    path.touch()

    def replace() -> None:
        """
        Close every descriptor, and open files at the same numbers.
        """
        os.closerange(3, 256)
        for _ in range(200):
            os.open(path, os.O_WRONLY | os.O_APPEND)

    with pytest.raises(DidNotFinish):
        box.run(replace)

    assert path.read_text() == ""


def test_output_to_descriptors(box: Box, capfd: pytest.CaptureFixture[str]) -> None:
    """
    Output of a function is captured in order, and buffered output only once.
    """

    def write() -> None:
        """
        Print, and have another program print.
        """
        sys.stdout.write("inside\n")
        subprocess.run(["echo", "below"], check=True)

    sys.stdout.write("before\n")
    box.run(write)
    sys.stdout.write("after\n")

    assert capfd.readouterr().out == "before\ninside\nbelow\nafter\n"


def test_output_to_memory(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Output captured in memory comes back too, and goes to wherever it was redirected.
    """
    sys.stdout.write("before\n")
    box.run(print, "inside é", file=sys.stderr)
    box.run(print, "inside")
    redirected = io.StringIO()
    with contextlib.redirect_stdout(redirected):
        sys.stdout.write("outside\n")
        box.run(print, "inside é")

    assert capsys.readouterr() == ("before\ninside\n", "inside é\n")
    assert redirected.getvalue() == "outside\ninside é\n"


def test_warnings_come_back(box: Box) -> None:
    """
    A warning keeps its category and place, and one that is an error is raised.
    """
    with pytest.warns(ResourceWarning, match="one of it") as caught:
        box.run(lambda: warnings.warn("one of it", ResourceWarning, stacklevel=1))

    assert [one.filename for one in caught] == [__file__]
    with pytest.raises(UserWarning, match="strict"):
        box.run(warnings.warn, "strict")


def test_exit_handlers(box: Box, tmp_path: Path) -> None:
    """
    Exit handlers that a function registers run, and their output is captured.
    """

    def function() -> None:
        """
        Register functions to run at exit.
        """
        import atexit  # noqa: PLC0415 - in the fork

        atexit.register((tmp_path / "exited").touch)

    box.run(function)

    assert (tmp_path / "exited").exists()


def test_in_a_thread(box: Box) -> None:
    """
    A box works in any thread and beside other threads, without a warning.
    """
    told: list[str] = []

    def use() -> None:
        """
        Call a function and start a process.
        """
        told.append(box.run(socket.gethostname))
        with box.popen(["hostname"], stdout=subprocess.PIPE, text=True) as process:
            told.append(process.communicate()[0])

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(told) == ["db", "db", "db\n", "db\n"]
