"""
Sessions whose processes are killed, and what is expected of their reports.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import machine
import psutil
from machine import Session

#: Tests that each leave behind a process, a segment, a queue and a file.
SUITE = """
import ctypes
import os
import subprocess
import sys
import time
import pytest

libc = ctypes.CDLL(None, use_errno=True)
CREATE = 0o1666  # Source: ipc.h

@pytest.fixture(scope="module", params=["a", "b"])
def borrowed(request):
    yield request.param

@pytest.fixture
def owned(tmp_path):
    assert libc.shmget(0x4E5349, 4096, CREATE) >= 0
    assert libc.msgget(0x4E5349, CREATE) >= 0
    with open("/dev/shm/nsi-killed", "x"):
        yield tmp_path

def sleep():
    command = ["sh", "-c", "trap '' TERM HUP INT; sleep 600; sleep 600"]
    return subprocess.Popen(command, start_new_session=True)

@pytest.mark.parametrize("number", range({count}))
def test_alone(number, owned):
    sleep()
    time.sleep({pause})

@pytest.mark.parametrize("number", range({count} // 4))
def test_borrows(borrowed, owned, number):
    sleep()
    time.sleep({pause})
"""

#: Processes that may be killed while pytest lives.
OTHERS = ("outer", "inner", "init", "guest or between", "guest")

#: Those of them on which all guests may depend. Between pytest and the guests there may
#: be a zygote.
OF_ALL = ("outer", "inner", "guest or between")

_PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "--nsisolate", "-v")


@dataclasses.dataclass(frozen=True)
class Case:
    """
    The outcome of one test, according to pytest's own XML.
    """

    name: str
    text: str
    """The report of a test that did not pass; empty if it passed."""


@dataclasses.dataclass
class Toll:
    """
    The processes that were killed in a campaign, and the tests it cost.
    """

    killed: dict[str, int] = dataclasses.field(default_factory=dict)
    tests: int = 0
    failed: int = 0
    sessions: int = 0

    def count(self, role: str) -> None:
        """
        Count one killed process of *role*.
        """
        self.killed[role] = self.killed.get(role, 0) + 1

    def __str__(self) -> str:
        """
        Return the counts in one line.
        """
        return (
            f"{sum(self.killed.values())} kills {self.killed}, {self.sessions} "
            f"sessions, {self.failed} of {self.tests} tests failed"
        )


def seeded(seed: int) -> random.Random:
    """
    Return a generator that makes the same choices for the same *seed*.
    """
    return random.Random(seed)  # noqa: S311 - not used for secrets


def write_suite(path: Path, count: int, pause: float) -> int:
    """
    Write `SUITE` to *path* and return how many tests it has.
    """
    text = SUITE.replace("{count}", str(count)).replace("{pause}", str(pause))
    (path / "test_suite.py").write_text(text)
    (path / "pytest.ini").write_text("[pytest]\n")
    return count + count // 4 * 2


def pytest_command(prefix: Iterable[str], *options: str) -> list[str]:
    """
    Return the command that runs pytest, isolated, behind *prefix*.
    """
    return [*prefix, sys.executable, *_PYTEST, *options]


def cases(path: Path) -> list[Case]:
    """
    Return the tests in the XML in *path*, one for each outcome.
    """
    found = []
    for case in ElementTree.parse(path).iter("testcase"):
        faults = [one for one in case if one.tag in {"failure", "error"}]
        text = "\n".join(str(one.text) for one in faults)
        found.append(Case(str(case.get("name")), text))
    return found


_NAMES_IT = re.compile(
    r"(?P<name>\S+) did not finish: killed by SIGKILL during \w+$"
    r"|cannot isolate (?P<other>\S+): .* failed: ",
    re.MULTILINE,
)


def expect_accounted(found: Sequence[Case], number: int, kills: int) -> int:
    """
    Expect *number* tests, at most *kills* failed, each with a text that names it.

    Returns:
        How many failed.
    """
    assert len({one.name for one in found}) == number
    failed = [one for one in found if one.text]
    assert len(failed) <= kills, failed[: kills + 1]
    for one in failed:
        named = _NAMES_IT.search(one.text)
        assert named, one
        assert one.name in named.groups(), one
        assert re.search("^why: .+\nfix: .+", one.text, re.MULTILINE), one
    return len(failed)


def kill(processes: Iterable[psutil.Process], number: int = signal.SIGKILL) -> None:
    """
    Send signal *number* to all of *processes* that still exist.
    """
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(number)


def pick(session: Session, chance: random.Random, role: str) -> psutil.Process | None:
    """
    Return a process of *role* in *session*, if there is one now.
    """
    found = sorted(session.roles().get(role, []), key=lambda one: one.pid)
    return chance.choice(found) if found else None


def guest_of(session: Session, file: Path) -> psutil.Process:
    """
    Return the guest of the test that has written its process id on the host to *file*.

    The test knows its number in pytest's own PID namespace. There are two namespaces
    below: that of the launcher and that of the sandbox.
    """
    number = file.read_text()
    for one in session.processes():
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{one.pid}/status").read_text()
            numbers = status.partition("\nNSpid:")[2].partition("\n")[0].split()
            if numbers[-3:-2] == [number]:
                return one
    raise AssertionError(number)


def moments(session: Session, chance: random.Random, pause: float) -> Iterator[None]:
    """
    Yield at random moments, *pause* seconds apart on average, until the session ends.
    """
    while session.process.poll() is None:
        time.sleep(chance.uniform(0, 2 * pause))
        yield


def survive(
    prefix: Iterable[str],
    path: Path,
    number: int,
    chance: random.Random,
    toll: Toll,
    *,
    jobs: int = 1,
) -> None:
    """
    Kill all but pytest at random moments, and expect a report of each test.
    """
    xml, kills = path / "seen.xml", 0
    command = pytest_command(prefix, f"--junitxml={xml}", f"--nsisolate-jobs={jobs}")
    with (path / "output").open("w+") as output:
        with machine.started(command, path, stdout=output, stderr=output) as session:
            for _ in moments(session, chance, 0.15):
                role = chance.choice(OTHERS)
                victim = pick(session, chance, role)
                if victim is not None:
                    kill([victim])
                    toll.count(role)
                    kills += jobs if role in OF_ALL else 1
            code = session.process.wait(machine.SHORT_PATIENCE)
        output.seek(0)
        assert code in {0, 1}, output.read()
    toll.failed += expect_accounted(cases(xml), number, kills)
    toll.tests += number
    toll.sessions += 1


def perish(
    prefix: Iterable[str],
    path: Path,
    chance: random.Random,
    toll: Toll,
    who: str,
    *,
    jobs: int = 1,
) -> None:
    """
    Kill pytest, or everything if *who* is "all", at random; expect all to end.
    """
    command = pytest_command(prefix, f"--nsisolate-jobs={jobs}")
    with (
        (path / "output").open("w") as output,
        machine.started(command, path, stdout=output, stderr=output) as session,
    ):
        machine.wait_until(session.supervisor, "pytest")
        time.sleep(chance.uniform(0, 1.5))
        if who == "all":
            kill(session.processes())
        else:
            kill(filter(None, [session.supervisor()]))
        toll.count(who)
        toll.sessions += 1
        machine.wait_until(lambda: not session.processes(), "the end of all")
