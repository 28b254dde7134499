"""
The life of a box: what is in it, how it ends, and what it leaves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from boxes import MakeBox, wait_until

from pytest_nsisolate.box.box import Box
from pytest_nsisolate.box.explanations import DidNotFinish
from pytest_nsisolate.launcher.audit import Facts
from pytest_nsisolate.model.errors import BoxError
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.ipc import Ipc
from pytest_nsisolate.sandbox.leaks import leaks_in
from pytest_nsisolate.sandbox.pool import Pool


def test_two_boxes_see_nothing_of_each_other(make: MakeBox) -> None:
    """
    What is in one box is in that box only, and each box knows what it holds.
    """
    one, other = make(hostname="one"), make(hostname="other")

    one.run(Path("/dev/shm/box-of-a-test").touch)
    process = one.popen(["sleep", "60"])

    assert one.ipc() == Ipc(shm=(), sem=(), msg=(), queues=(), files=("box-of-a-test",))
    assert other.ipc() == Ipc(shm=(), sem=(), msg=(), queues=(), files=())
    assert len(one.pids()) == 1
    assert other.pids() == []
    assert not Path("/dev/shm/box-of-a-test").exists()
    assert other.run(os.path.exists, "/dev/shm/box-of-a-test") is False
    one.close()
    assert process.returncode == -signal.SIGKILL


def test_what_is_left_is_judged(pool: Pool) -> None:
    """
    A closing box tells its maker what is left in it, processes of popen() included.
    """
    told: list[Facts | None] = []
    spec = Spec(hostname="db")
    box = Box(pool, spec, name="box db", on_close=lambda _, facts: told.append(facts))
    process = box.popen(["sleep", "60"])
    number = box.pids()[0]

    box.close()
    box.close()

    assert number == 2
    assert process.returncode == -signal.SIGKILL
    assert len(told) == 1
    assert told[0] is not None
    assert [str(leak).partition(",")[0] for leak in leaks_in(told[0])] == [
        "1 process (sleep 60"
    ]


def test_a_failure_is_not_hidden_by_leaks(pool: Pool) -> None:
    """
    When an exception leaves the with block, it is raised and leaks are not reported.
    """
    told: list[Facts | None] = []
    box = Box(pool, Spec(), name="b", on_close=lambda _, facts: told.append(facts))

    def fail() -> None:
        """
        Leave the block with an exception.
        """
        with box:
            box.popen(["sleep", "60"])
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert told == []


def test_a_closed_box(make: MakeBox) -> None:
    """
    A closed box says so in its repr and to anyone who uses it.
    """
    box = make(hostname="db")
    assert repr(box) == "<Box box b, hostname 'db'>"
    box.close()

    with pytest.raises(BoxError) as caught:
        box.run(int)

    assert repr(box) == "<Box box b closed, hostname 'db'>"
    assert str(caught.value).splitlines() == [
        "cannot run int in box b: it is closed",
        "why: its close() was called, or its fixture has ended",
        "fix: make another one with sandbox_factory(), or close this one later",
    ]


@pytest.mark.faults
def test_a_box_whose_init_was_killed(make: MakeBox) -> None:
    """
    A box that someone has killed says so, whatever it is asked.
    """
    box = make()
    assert box._sandbox is not None
    box._sandbox.kill()
    assert wait_until(lambda: not (box._sandbox and box._sandbox.is_alive()))

    uses: list[tuple[Callable[[], object], str]] = [
        (lambda: box.run(int), "run int in box b: setns("),
        (lambda: box.popen(["true"]), "start a process in box b: setns("),
    ]
    for use, what in uses:
        with pytest.raises(BoxError) as caught:
            use()
        first, why, fix = str(caught.value).splitlines()
        assert first.startswith(f"cannot {what}")
        assert first.endswith(" failed: ESRCH")
        assert why == "why: its init has ended: something killed it"
        assert fix == "fix: make another one with sandbox_factory()"
    with pytest.raises(BoxError) as caught:
        box.pids()
    assert str(caught.value).splitlines() == [
        "cannot list the processes of box b",
        "why: its init gave no answer",
        "fix: pytest --nsisolate-doctor, or make another one with sandbox_factory()",
    ]


#: Has a sandbox until it is killed.
HAS_A_SANDBOX = """
import time
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.pool import Pool

pool = Pool()
sandbox = pool.take(Spec(user="root"))
print("ready", flush=True)
time.sleep(60)
"""


def test_launchers_are_no_leaks(pool: Pool) -> None:
    """
    A process that has further sandboxes is left, and not what it has started for them.
    """
    told: list[Facts | None] = []
    spec = Spec(user="root")
    with Box(pool, spec, name="b", on_close=lambda _, facts: told.append(facts)) as box:
        command = [sys.executable, "-c", HAS_A_SANDBOX]
        process = box.popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        ready = process.stdout.readline()
        number = len(box.pids())
        process.stdout.close()

    assert (ready, number) == ("ready\n", 4)
    assert told[0] is not None
    assert [leak.number for leak in leaks_in(told[0])] == [1]


#: Kills a process 1 of a PID namespace, which then waits for a zombie to be reaped.
KILLS = """
import ctypes
import os
import signal
import subprocess
import sys
import time

libc = ctypes.CDLL(None)
NEWPID = 0x20000000  # Source: linux/sched.h, CLONE_NEWPID.
read, write = os.pipe()
maker = os.fork()
if not maker:
    assert libc.unshare(NEWPID) == 0
    first = os.fork()
    if not first:
        signal.pause()
    os.write(write, str(first).encode())
    os._exit(0)
first = int(os.read(read, 32))
os.waitpid(maker, 0)
assert libc.setns(os.pidfd_open(first), NEWPID) == 0
second = os.fork()
if not second:
    os._exit(0)
os.waitid(os.P_PID, second, os.WEXITED | os.WNOWAIT)
os.kill(first, signal.SIGKILL)
while open(f"/proc/{first}/cmdline").read():
    time.sleep(0.01)
print("ready", first, flush=True)
time.sleep(60)
"""


def test_a_process_that_is_ending(make: MakeBox) -> None:
    """
    A process that was killed, and is not gone yet, is none of the processes in a box.
    """
    box = make(user="root")
    command = [sys.executable, "-c", KILLS]
    with box.popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready, first = process.stdout.readline().split()
        found = box.pids()
        process.kill()

    assert ready == "ready"
    assert len(found) == 1
    assert int(first) not in found


def test_descriptors_are_given_back(pool: Pool, box: Box) -> None:
    """
    Calls, processes and boxes leave no descriptor open, whether they succeed or fail.
    """

    def use() -> None:
        """
        Use a box in every way.
        """
        with Box(pool, Spec(), name="b") as other:
            other.run(int)
            other.popen(["true"]).wait(30)
            with pytest.raises(DidNotFinish):
                other.run(os._exit, 1)
            with pytest.raises(FileNotFoundError):
                other.popen(["/nonexistent"])

    use()
    before = os.listdir("/proc/self/fd")
    use()

    assert os.listdir("/proc/self/fd") == before
