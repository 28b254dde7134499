"""
Processes killed or stopped at any moment: the session goes on, or all of it ends.

The longer versions are in tests/stress.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import machine
import psutil
import pytest
from killing import (
    Toll,
    cases,
    expect_accounted,
    guest_of,
    kill,
    perish,
    pytest_command,
    seeded,
    survive,
    write_suite,
)
from terminals import Terminal, terminals
from ways import KEEP, WAYS

pytestmark = pytest.mark.faults

SEED = 20240229


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.usefixtures("nothing_left")
def test_others_at_random(pytester: pytest.Pytester, way: str) -> None:
    """
    Killing launcher, init, guest or the process between costs at most one test each.
    """
    toll = Toll()
    number = write_suite(pytester.path, 8, 0.05)
    survive(WAYS[way], pytester.path, number, seeded(SEED), toll)
    assert toll.tests == 12


@pytest.mark.parametrize(("who", "jobs"), [("pytest", 1), ("pytest", 8), ("all", 1)])
@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.usefixtures("nothing_left")
def test_pytest_at_random(
    pytester: pytest.Pytester, way: str, who: str, jobs: int
) -> None:
    """
    Whenever pytest is killed, alone or with all the others, nothing is left.
    """
    toll = Toll()
    write_suite(pytester.path, 20, 0.05)
    for seed in range(2):
        perish(WAYS[way], pytester.path, seeded(SEED + seed), toll, who, jobs=jobs)
    assert toll.sessions == 2


#: A test that waits inside until the killer outside has made a file.
WAITS = """
import os
import time
import pytest

@pytest.mark.parametrize("number", range(6))
def test_it(number, isolation):
    if number == 2:
        with open("pid", "w") as file:
            file.write(str(isolation.pid_on_host))
        os.mkdir("here")
        while not os.path.exists("go on"):
            time.sleep(0.005)
"""


def _interfere(
    path: Path, way: str, act: Callable[[machine.Session], None]
) -> list[str]:
    """
    Apply *act* to a session during its third test of six; return the failed tests.
    """
    (path / "test_waits.py").write_text(WAITS)
    (path / "pytest.ini").write_text("[pytest]\n")
    command = pytest_command(WAYS[way], f"--junitxml={path / 'seen.xml'}")
    with machine.started(command, path, stdout=subprocess.DEVNULL) as session:
        machine.wait_until((path / "here").exists, "the test")
        act(session)
        (path / "go on").touch()
        session.process.wait(machine.SHORT_PATIENCE)
    found = cases(path / "seen.xml")
    expect_accounted(found, 6, 1)
    return [one.name for one in found if one.text]


def _pid_space(one: psutil.Process) -> str:
    """
    Return the PID namespace of *one*, or an empty string if it is dead.
    """
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{one.pid}/ns/pid")
    return ""


@pytest.mark.usefixtures("nothing_left")
def test_between(pytester: pytest.Pytester) -> None:
    """
    Killing the process between pytest and a guest fails its test and no other.
    """

    def act(session: machine.Session) -> None:
        """
        Kill the process between.
        """
        guest = guest_of(session, pytester.path / "pid")
        between = guest.parent()
        assert between is not None
        kill([between])
        # The guest dies of that, but only after a moment in which its test could end.
        machine.wait_until(lambda: not guest.is_running(), "the guest's end")

    assert _interfere(pytester.path, KEEP, act) == ["test_it[2]"]


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.usefixtures("nothing_left")
def test_spare(pytester: pytest.Pytester, way: str) -> None:
    """
    Killing a sandbox that waits to be used, with or without a guest, fails no test.
    """

    def act(session: machine.Session) -> None:
        """
        Kill the spare sandboxes.
        """
        used = _pid_space(guest_of(session, pytester.path / "pid"))

        def spare() -> list[psutil.Process]:
            """
            Return the inits that no guest has joined yet.
            """
            inits = session.roles().get("init", [])
            return [one for one in inits if _pid_space(one) != used]

        machine.wait_until(lambda: len(spare()) == 2, "two more sandboxes")
        found = spare()
        spaces = {*map(_pid_space, found)} - {""}
        kill(found)
        # A guest inside dies of that, but only after a moment in which its test could
        # begin.
        machine.wait_until(
            lambda: spaces.isdisjoint(map(_pid_space, session.processes())),
            "the end of the sandboxes",
        )

    assert _interfere(pytester.path, way, act) == []


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.usefixtures("nothing_left")
def test_launcher_after_the_test(pytester: pytest.Pytester, way: str) -> None:
    """
    If the launcher is killed between two tests, the next test gets a new one at once.
    """
    pytester.makeconftest(
        """
        import time
        import psutil

        def command(one):
            # A process that has come so far in dying that it runs nothing has none.
            try:
                return "".join(one.cmdline())
            except psutil.NoSuchProcess:
                return ""

        def is_launcher(one):
            return "launcher.main" in command(one)

        def children(one, **kwargs):
            try:
                return one.children(**kwargs)
            except psutil.NoSuchProcess:
                return []

        def kill(one):
            try:
                one.kill()
            except psutil.NoSuchProcess:
                pass

        def pytest_runtest_logfinish():
            here = psutil.Process()
            family = children(here, recursive=True)
            outer = filter(is_launcher, children(here))
            inner = [two for one in outer for two in children(one)]
            for one in inner:
                kill(one)
            # Inits and guests die of that, but only after a moment in which the next
            # test could begin in a guest that was forked ahead.
            while any(command(two) for one in inner for two in children(one)) or any(
                command(one) and not is_launcher(one) for one in family
            ):
                time.sleep(0.001)
        """
    )
    number = write_suite(pytester.path, 4, 0)
    command = pytest_command(WAYS[way], f"--junitxml={pytester.path / 'seen.xml'}")
    with machine.started(command, pytester.path, stdout=subprocess.DEVNULL) as session:
        code = session.process.wait(machine.SHORT_PATIENCE)
    assert expect_accounted(cases(pytester.path / "seen.xml"), number, 0) == 0
    assert code == 0


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.usefixtures("nothing_left")
def test_stopped(pytester: pytest.Pytester, way: str) -> None:
    """
    A session that is stopped as a whole and continued goes on as if nothing happened.
    """

    def act(session: machine.Session) -> None:
        """
        Stop all processes of the session, then continue them.
        """
        found = session.processes()
        kill(found, signal.SIGSTOP)
        (pytester.path / "go on").touch()
        for one in found:
            machine.wait_until(
                functools.partial(machine.stands_still, one), "a standstill"
            )
        kill(found, signal.SIGCONT)

    assert _interfere(pytester.path, way, act) == []


CLOSED = """
import os
import subprocess
import time

def test_it():
    subprocess.Popen(["sh", "-c", "trap '' HUP INT TERM; sleep 90; sleep 90"])
    os.mkdir("here"); time.sleep(90)
"""


def _is_over(one: Terminal) -> bool:
    """
    Say whether no process of *one* is left.
    """
    return not one.processes()


def test_terminal_closed(pytester: pytest.Pytester) -> None:
    """
    When its terminal closes, pytest and all that it has started end.
    """
    ways = {way: prefix for way, prefix in WAYS.items() if "--fork" not in prefix}
    files = {"test_it.py": CLOSED}
    with terminals(pytester.path, files, ["-s"], ways=ways) as found:
        for one in found.values():
            one.await_path("here")
            assert len(one.processes()) >= 5
            # The last descriptor of the other side: the kernel now sends SIGHUP.
            cast("Any", one.spawn).ptyproc.fileobj.close()
            machine.wait_until(functools.partial(_is_over, one), "the end of all")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("nothing_left")
def test_group(pytester: pytest.Pytester, number: signal.Signals) -> None:
    """
    A signal to the whole group, as a shell sends it to a job, ends everything.
    """
    (pytester.path / "test_waits.py").write_text(WAITS)
    command = pytest_command([])
    with machine.started(command, pytester.path, stdout=subprocess.DEVNULL) as session:
        machine.wait_until((pytester.path / "here").exists, "the test")
        os.killpg(session.process.pid, number)
        session.process.wait(machine.PATIENCE)
        machine.wait_until(lambda: not session.processes(), "the end of all")
