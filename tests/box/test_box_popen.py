"""
Processes that a box starts with `subprocess.Popen`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
from boxes import wait_until
from terminals import terminals
from ways import WAYS, RunPytest

from pytest_nsisolate.box.box import Box
from pytest_nsisolate.model.errors import BoxError

pytestmark = pytest.mark.python


def test_popen(box: Box) -> None:
    """
    popen() returns a real `subprocess.Popen`, with its pipes and its exit code.
    """
    process = box.popen(
        ["sh", "-c", "hostname; pwd; cat; exit 7"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
        text=True,
    )

    out, _ = process.communicate("input\n", timeout=30)

    assert type(process) is subprocess.Popen
    assert out == "db\n/\ninput\n"
    assert process.returncode == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGQUIT])
def test_popen_ends_by_a_signal(box: Box, number: signal.Signals) -> None:
    """
    A signal sent to the process reaches the one inside and is reported as its ending.
    """
    process = box.popen(["sleep", "60"])
    assert process.poll() is None
    assert len(box.pids()) == 1

    process.send_signal(number)

    assert process.wait(30) == -number
    # Without privilege SIGKILL ends the process in between, and so the one inside.
    assert wait_until(lambda: box.pids() == [])


@pytest.mark.parametrize("own_session", [False, True])
def test_popen_gets_signals(box: Box, *, own_session: bool) -> None:
    """
    A signal runs the handler inside, also if the process leads a session of its own.
    """
    # The signal may come before the wait for it begins, which a pipe remembers.
    program = (
        "import os, select, signal, sys;"
        "read, write = os.pipe2(os.O_NONBLOCK);"
        "signal.set_wakeup_fd(write);"
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(5));"
        "print(os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid(), flush=True);"
        "select.select([read], [], [])"
    )
    process = box.popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=own_session,
    )
    assert process.stdout is not None
    with process:
        try:
            assert process.stdout.readline() == f"{own_session} {own_session}\n"

            process.send_signal(signal.SIGUSR1)

            assert process.wait(30) == 5
        finally:
            process.kill()


GROUPS = """
import os
import subprocess
import sys
import pytest

TELL = "import os; print(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())"

def told(box, **keywords):
    command = [sys.executable, "-I", "-S", "-c", TELL]
    pipe = subprocess.PIPE
    with box.popen(command, stdout=pipe, text=True, **keywords) as process:
        return process.communicate()[0].split()

def session():
    group = os.getpgrp()
    os.setsid()
    return group, os.getpid(), os.getpgrp(), os.getsid(0)

def look(box):
    assert told(box) == ["False", "False"]
    assert told(box, process_group=-1) == ["False", "False"]
    assert told(box, process_group=0) == ["True", "False"]
    assert told(box, preexec_fn=os.setpgrp) == ["True", "False"]
    assert told(box, start_new_session=True) == ["True", "True"]
    assert told(box, preexec_fn=os.setsid) == ["True", "True"]
    before, number, *after = box.run(session)
    assert before not in {0, 1, number}
    assert after == [number, number]

def test_on_host(sandbox_factory):
    look(sandbox_factory())

@pytest.mark.isolated
def test_in_guest(sandbox_factory):
    look(sandbox_factory())
"""


def test_groups(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    What runs in a box leads a group or session if it wants to, as outside.
    """
    pytester.makepyfile(GROUPS)
    run_both_ways().assert_outcomes(passed=2)


PROGRAM = """
import os
import time
import pytest

@pytest.fixture(scope="session")
def program(session_sandbox_factory):
    process = session_sandbox_factory().popen(["sleep", "90"])
    yield
    process.terminate()
    with open("log", "w") as file:
        print("ended by", -process.wait(30), file=file)

def test_it(program):
    os.mkdir("here 1")
    [time.sleep(0.1) for _ in range(900)]
"""


def test_ctrl_c_does_not_reach_a_box(pytester: pytest.Pytester) -> None:
    """
    Ctrl-C is for pytest and its test, not for what a borrowed box has started.
    """
    files = {"test_it.py": PROGRAM}
    with terminals(pytester.path, files, [], ways=WAYS) as found:
        for one in found.values():
            one.await_path("here 1")
            one.spawn.sendintr()
            seen = one.finish()
            assert seen.status == 2, seen.lines
            assert seen.log == [f"ended by {signal.SIGTERM.value}"]


def test_popen_of_no_command(box: Box) -> None:
    """
    A command that does not exist raises the error of Popen and leaves nothing behind.
    """
    with pytest.raises(FileNotFoundError, match="/nonexistent"):
        box.popen(["/nonexistent"])

    assert box.pids() == []
    assert box.run(int) == 0


def test_popen_calls_the_own_function_inside(box: Box) -> None:
    """
    preexec_fn= is called inside, with the same signals blocked as outside.
    """

    def tell() -> None:
        """
        Print the process id and how many signals are blocked.
        """
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        os.write(1, f"{socket.gethostname()} {len(blocked)}\n".encode())

    command, pipe = ["true"], subprocess.PIPE
    with box.popen(command, stdout=pipe, preexec_fn=tell, text=True) as process:
        assert process.communicate()[0] == "db 0\n"


def test_popen_as_another_user(box: Box) -> None:
    """
    Arguments that Popen would apply too early are refused, with what to do instead.
    """
    with pytest.raises(BoxError) as caught:
        box.popen(["true"], user=0, group=0)

    assert str(caught.value).splitlines() == [
        "cannot start a process in box db with user= and group=",
        (
            "why: Popen would change user and groups before the process enters the "
            "box, and then it may not enter"
        ),
        "fix: call os.setuid() or the like in preexec_fn=, which runs inside",
    ]
