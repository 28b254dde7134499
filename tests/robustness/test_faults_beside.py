"""
Processes killed or stopped, and floods, while eight tests run side by side.
"""

from __future__ import annotations

import contextlib
import functools
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import machine
import psutil
import pytest
from floods import KINDS, more_than_one
from killing import Case, cases, expect_accounted, guest_of, kill, pytest_command
from ways import WAYS

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("nothing_left")]
both_ways = pytest.mark.parametrize("way", list(WAYS))

JOBS = 8

#: Tests that wait until a file is there. Each of the first eight has left its number.
TESTS = """
import os
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent

def wait_for(name):
    until = time.monotonic() + 60
    while not (HERE / name).exists():
        assert time.monotonic() < until, f"no {name}"
        time.sleep(0.005)

@pytest.mark.parametrize("number", range(8))
def test_it(number, isolation):
    (HERE / f"new{number}").write_text(str(isolation.pid_on_host))
    (HERE / f"new{number}").rename(HERE / f"pid{number}")
    wait_for("go on")

@pytest.mark.parametrize("number", range(8))
def test_later(number):
    pass
"""

#: Notes each launcher that is started.
CONFTEST = """
from pytest_nsisolate.sandbox import pool

class Launcher(pool.Launcher):
    def __init__(self, *args):
        super().__init__(*args)
        with open("launchers", "a") as file:
            file.write("1")

pool.Launcher = Launcher
"""


def interfere(
    path: Path, way: str, act: Callable[[machine.Session], None], *, failing: int
) -> list[Case]:
    """
    Apply *act* to a session whose first eight tests run at the same time.

    Args:
        path: Where to write the tests.
        way: The way into a sandbox.
        act: What to do.
        failing: How many tests fail at most.

    Returns:
        The tests that failed.
    """
    (path / "test_waits.py").write_text(TESTS)
    (path / "conftest.py").write_text(CONFTEST)
    (path / "pytest.ini").write_text("[pytest]\n")
    command = pytest_command(
        WAYS[way], f"--junitxml={path / 'seen.xml'}", f"--nsisolate-jobs={JOBS}"
    )
    with machine.started(command, path, stdout=subprocess.DEVNULL) as session:
        for number in range(JOBS):
            machine.wait_until((path / f"pid{number}").exists, "the tests")
        act(session)
        (path / "go on").touch()
        session.process.wait(machine.SHORT_PATIENCE)
    found = cases(path / "seen.xml")
    expect_accounted(found, 16, failing)
    names = [
        f"test_{kind}[{number}]" for kind in ("it", "later") for number in range(8)
    ]
    assert [one.name for one in found] == names
    return [one for one in found if one.text]


def launchers(path: Path) -> int:
    """
    Return how many launchers were started.
    """
    return len((path / "launchers").read_text())


def has_ended(process: psutil.Process) -> bool:
    """
    Say whether *process* runs no more.
    """
    try:
        return process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except psutil.NoSuchProcess:
        return True


@both_ways
@pytest.mark.parametrize("who", ["outer", "inner", "guest or between"])
def test_what_all_need(pytester: pytest.Pytester, way: str, who: str) -> None:
    """
    If the launcher or the zygote is killed, the tests that run fail, and no later one.

    A launcher is started once more, and not once for each of them.
    """
    path = pytester.path

    def act(session: machine.Session) -> None:
        """
        Kill it, and wait until the guests have died of that.
        """
        guests = [guest_of(session, path / f"pid{number}") for number in range(JOBS)]
        kill(session.roles()[who])
        dying = guests[1:] if who == "guest or between" else guests
        for one in dying:
            machine.wait_until(functools.partial(has_ended, one), "a guest's end")

    failed = interfere(path, way, act, failing=JOBS)

    assert {"test_it[7]", "test_it[1]"} <= {one.name for one in failed}
    for one in failed:
        assert f"{one.name} did not finish: killed by SIGKILL during call" in one.text
    assert launchers(path) == (1 if who == "guest or between" else 2)


@both_ways
@pytest.mark.parametrize("who", ["guest", "init"])
@pytest.mark.parametrize("number", [0, 5])
def test_what_one_needs(
    pytester: pytest.Pytester, way: str, who: str, number: int
) -> None:
    """
    If a guest or its init is killed, its test fails, and no other one.
    """
    path = pytester.path

    def act(session: machine.Session) -> None:
        """
        Kill one of them, and wait until both have ended.
        """
        guest = guest_of(session, path / f"pid{number}")
        space = Path(f"/proc/{guest.pid}/ns/pid").readlink()
        (init,) = [
            one
            for one in session.roles()["init"]
            if Path(f"/proc/{one.pid}/ns/pid").readlink() == space
        ]
        kill([guest if who == "guest" else init])
        machine.wait_until(lambda: has_ended(guest), "the guest's end")

    (failed,) = interfere(path, way, act, failing=1)

    what = f"test_it[{number}] did not finish: killed by SIGKILL during call"
    assert failed.name == f"test_it[{number}]"
    assert what in failed.text
    assert launchers(path) == 1


@both_ways
@pytest.mark.parametrize("who", ["guest", "init"])
def test_what_waits(pytester: pytest.Pytester, way: str, who: str) -> None:
    """
    A ninth guest waits for a lane. If it or its init is killed, its test gets another.
    """
    path = pytester.path

    def spaces(found: list[psutil.Process]) -> dict[str, psutil.Process]:
        """
        Return the processes in *found*, by the PID namespace that each is in.
        """
        by_space = {}
        for one in found:
            with contextlib.suppress(OSError):
                by_space[str(Path(f"/proc/{one.pid}/ns/pid").readlink())] = one
        return by_space

    def act(session: machine.Session) -> None:
        """
        Wait until there is a ninth guest, and kill one of them.
        """
        taken = {
            str(Path(f"/proc/{guest.pid}/ns/pid").readlink())
            for guest in (
                guest_of(session, path / f"pid{number}") for number in range(JOBS)
            )
        }

        # The guest and the init of the ninth, as one look found both: the next may not.
        ninth: list[tuple[psutil.Process, psutil.Process]] = []

        def is_there() -> bool:
            """
            Look for the ninth guest, and say whether it is there.
            """
            roles = session.roles()
            guests, inits = (spaces(roles.get(role, [])) for role in ("guest", "init"))
            others = (guests.keys() - taken) & inits.keys()
            ninth[:] = [(guests[space], inits[space]) for space in others]
            return len(ninth) == 1

        machine.wait_until(is_there, "the ninth guest")
        ((guest, init),) = ninth
        kill([guest if who == "guest" else init])
        machine.wait_until(lambda: has_ended(guest), "the guest's end")

    assert not interfere(path, way, act, failing=0)


#: Two tests that hang, one of them stopped, beside others with a time limit.
HANGING = """
import os
import signal
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent

def wait_for(name):
    while not (HERE / name).exists():
        time.sleep(0.005)

@pytest.mark.isolated(timeout=60)
def test_first():
    wait_for("late")

@pytest.mark.isolated(timeout=3)
def test_stopped():
    os.kill(os.getpid(), signal.SIGSTOP)

@pytest.mark.isolated(timeout=3)
def test_sleeps():
    time.sleep(600)

@pytest.mark.isolated(timeout=60)
def test_late():
    # There are four jobs, one of which hangs for ever. It starts when one of the two
    # before it has been ended, before their turns.
    wait_for("hanging")
    (HERE / "late").touch()

def test_hangs():
    (HERE / "hanging").touch()
    time.sleep(600)

@pytest.mark.isolated(timeout=60)
def test_last():
    (HERE / "last").touch()
"""


@both_ways
def test_hanging(pytester: pytest.Pytester, way: str) -> None:
    """
    A test that hangs keeps its lane, and no other test; Ctrl-C ends it at its turn.
    """
    path = pytester.path
    (path / "test_hanging.py").write_text(HANGING)
    command = pytest_command(WAYS[way], "--nsisolate-jobs=4")
    with (path / "output").open("w+") as output:
        with machine.started(command, path, stdout=output, stderr=output) as session:

            def has_come_to(name: str) -> bool:
                """
                Say whether the output has this text.
                """
                return name in (path / "output").read_text()

            machine.wait_until(lambda: has_come_to("test_late PASSED"), "the turn")
            machine.wait_until((path / "last").exists, "the test after it")
            supervisor = session.supervisor()
            assert supervisor is not None
            supervisor.send_signal(signal.SIGINT)
            session.process.wait(machine.PATIENCE)
            machine.wait_until(lambda: not session.processes(), "the end of all")
        output.seek(0)
        text = output.read()
    for name in ("test_stopped", "test_sleeps"):
        assert f"{name} did not finish: timed out after 3 s during call" in text
    assert re.search("^=+ 2 failed, 2 passed in", text, re.MULTILINE), text
    assert "KeyboardInterrupt" in text
    assert "test_last" not in text


@both_ways
@pytest.mark.parametrize("kind", KINDS)
def test_floods(pytester: pytest.Pytester, way: str, kind: str) -> None:
    """
    What eight tests say at the same time is heard in order, and not kept all at once.
    """
    # All that they hand over is 24 MB.
    assert more_than_one(WAYS[way], pytester.path, 3_000_000, kind) < 12 << 20


#: Tests that fill the pipe to pytest with many small messages before their turns.
TALKING = """
import logging
import time
import warnings
from pathlib import Path

import pytest

HERE = Path(__file__).parent

def test_first():
    until = time.monotonic() + 60
    while not (HERE / "quiet").exists():
        assert time.monotonic() < until
        time.sleep(0.005)

@pytest.mark.isolated(timeout=60)
@pytest.mark.parametrize("number", range(3))
def test_talks(number):
    for line in range(400):
        logging.warning("%d says %d %s", number, line, "x" * 3000)
        warnings.warn(f"{number} warns of {line} " + "y" * 3000)

def test_quiet():
    (HERE / "quiet").touch()
"""


@both_ways
def test_many_messages(pytester: pytest.Pytester, way: str) -> None:
    """
    A test that has filled its pipe waits for its turn, and all that it said is shown.
    """
    path = pytester.path
    (path / "test_talking.py").write_text(TALKING)
    (path / "pytest.ini").write_text("[pytest]\nlog_cli = true\n")
    command = pytest_command(WAYS[way], "--nsisolate-jobs=5", "--show-capture=no")
    with machine.started(
        command, path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as session:
        output, _ = session.process.communicate(timeout=2 * machine.PATIENCE)
    expected = [(str(one), str(line)) for one in range(3) for line in range(400)]
    assert re.search("^=+ 5 passed, 1200 warnings in", output, re.MULTILINE)
    assert re.findall(r"(\d) says (\d+) x{3000}", output) == expected
    assert re.findall(r"Warning: (\d) warns of (\d+) y{3000}", output) == expected
