"""
Guests that attack their channel, their supervisor or themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.faults

RunPytest = Callable[..., pytest.RunResult]

#: Finds the descriptors that connect a guest to the supervisor, and writes messages.
TOOLS = """
import json
import os
import struct

def links():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found

# What pytest and whoever started it have open is none of it.
BEFORE = set(links().values())

def ours():
    return [fd for fd, link in links().items()
            if link.startswith(("pipe:", "socket:")) and link not in BEFORE]

def shout(data):
    done = 0
    for fd in ours():
        try:
            done += bool(os.write(fd, data))
        except OSError:
            continue
    assert done == 1

def frame(body):
    return struct.pack(">Q", len(body)) + body

def say(**message):
    shout(frame(json.dumps(message).encode()))
"""

CHANNEL = r"""
import os
import struct
import threading
import pytest
from tools import frame, ours, say, shout

@pytest.mark.isolated
@pytest.mark.parametrize("data", [
    b"a line of text\n",
    struct.pack(">Q", 2**63),
    struct.pack(">Q", 2**20),
    frame(b""),
    frame(b"{\0}"),
    frame(b"\xff\xfe"),
    frame(b"[]"),
    frame(b"[" * 100_000),
    frame(b'{"kind": "report", "report": {"$report_type": "TestReport"}}'),
    frame(b'{"kind": ["report"]}'),
    frame(b'{"kind": "warning"}'),
    frame(b'{"kind": "refused", "call": "mount()", "errno": 1}'),
    frame(b'{"kind": "basetemp", "synchronous": true}') * 20_000,
], ids=["text", "huge", "long", "empty", "nul", "utf-8", "list", "deep", "report",
        "kind", "warning", "refused", "questions"])
def test_garbled(data):
    shout(data)

@pytest.mark.isolated
def test_done():
    say(kind="done")

@pytest.mark.isolated
def test_passed_and_failed():
    say(kind="done", synchronous=True)
    assert False

@pytest.mark.isolated
def test_closed():
    os.closerange(0, 1000)

@pytest.mark.isolated
def test_channel_closed():
    for fd in ours():
        os.close(fd)

@pytest.mark.isolated
def test_another_file(tmp_path):
    with open(PATH, "w") as file:
        for fd in ours():
            os.dup2(file.fileno(), fd)

PATH = os.path.abspath("written")

def test_nothing_was_written():
    assert os.stat(PATH).st_size == 0

@pytest.mark.isolated
def test_few_descriptors():
    # A channel and a gate; nothing of the supervisor's or of other guests.
    assert len(ours()) == 2

@pytest.mark.isolated
def test_next(): pass
"""


def test_channel(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A test that writes to the channel fails with three lines, and others go on.
    """
    pytester.makepyfile(tools=TOOLS, test_hostile=CHANNEL)
    result = run_both_ways("-s", "test_hostile.py")
    result.assert_outcomes(failed=13 + 5, passed=3)
    text = result.stdout.str()
    garbled = re.findall(
        r"^(test_garbled\[.+\]) did not finish: its channel carried more than "
        r"messages\nwhy: during call the supervisor read (.+)\nfix: strace .+$",
        text,
        re.MULTILINE,
    )
    assert [why for _, why in garbled][:8] == [
        f"a message of {int.from_bytes(b'a line o', 'big')} bytes",
        "a message of 9223372036854775808 bytes",
        "an incomplete message of 1048576 bytes",
        "invalid JSON (Expecting value: line 1 column 1 (char 0))",
        garbled[4][1],
        garbled[5][1],
        "a JSON list instead of an object",
        garbled[7][1],
    ]
    assert [why for _, why in garbled][9:] == [
        "a message of unknown kind (['report'])",
        "a message 'warning' whose text is None",
        "a refusal after other messages",
        "many requests whose answers nobody reads",
    ]
    for name in ("test_closed", "test_channel_closed", "test_another_file"):
        assert f"{name} did not finish: exited with code 1 during call\nwhy: " in text
    for name in ("test_done", "test_passed_and_failed"):
        what = f"{name} did not finish: no report of call came from its guest"
        assert f"{what}\nwhy: " in text


VALUES = r"""
import pytest
from tools import say

MODULUS = 2**61 - 1

@pytest.mark.isolated
@pytest.mark.parametrize("rows", [
    [["list", [n + 1], [n + 1]] for n in range(300)] + [["list"]],
    [["list", *([n] for n in range(12))] for _ in range(12)],
    [["set", [1]], *(["tuple", [n + 2]] for n in range(100_000)), ["tuple"]],
    [["set", *(n * MODULUS for n in range(100_000))]],
    [["tuple", [0]]],
], ids=["doubled", "tangled", "deep", "same hash", "itself"])
def test_rows(rows):
    say(kind="payload", payload=rows)

@pytest.mark.isolated
def test_next(): pass
"""


def test_values(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A value that would take for ever, or crash pytest, ends its test and no more.
    """
    pytester.makepyfile(tools=TOOLS, test_values=VALUES)
    result = run_both_ways("-s", "test_values.py")
    result.assert_outcomes(failed=5, passed=1)
    garbled = re.findall(
        r"^why: during call the supervisor read a message 'payload' with (.+)$",
        result.stdout.str(),
        re.MULTILINE,
    )
    assert garbled == [
        "a value that is too large where it is shared",
        "a value that contains itself too often",
        "a key that nests too deeply",
        "too many keys with the same hash",
        "a tuple in itself",
    ]


PAUSES = r"""
import atexit
import pytest
from tools import say

def leave_and_pause(path, when):
    open(path, "w").close()
    when(say, kind="over")

def at_once(function, **keywords):
    function(**keywords)

@pytest.mark.isolated(leaks="fail")
@pytest.mark.parametrize("when", [at_once, atexit.register], ids=["call", "exit"])
def test_alone(when):
    leave_and_pause("/dev/shm/alone", when)

@pytest.mark.isolated(leaks="fail", scope="module", fork=True)
@pytest.mark.parametrize("number", range(2))
def test_own_guest(number):
    leave_and_pause(f"/dev/shm/{number}", at_once)

@pytest.mark.isolated
def test_next(): pass
"""


def test_pause_alone(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A guest that runs one test only may not pause: its test fails and is audited.
    """
    pytester.makepyfile(tools=TOOLS, test_pauses=PAUSES)
    result = run_both_ways("-s", "test_pauses.py")
    text = result.stdout.str()
    garbled = re.findall(
        r"^(test_.+\[.+\]) did not finish: its channel carried more than messages"
        r"\nwhy: during (.+) the supervisor read a pause, and no other test shares its "
        r"guest\n",
        text,
        re.MULTILINE,
    )
    assert sorted(garbled) == [
        ("test_alone[call]", "call"),
        ("test_alone[exit]", "teardown"),
        ("test_own_guest[0]", "call"),
        ("test_own_guest[1]", "call"),
    ]
    for name in ("test_alone[call]", "test_alone[exit]"):
        assert f"{name} left 1 file in /dev/shm (alone, 0 bytes)\n" in text


FORKS = r"""
import multiprocessing
import os
import signal
import sys
import threading
import time
import pytest
from tools import ours

SUPERVISOR = os.getpid()

@pytest.mark.isolated
def test_fork_comes_back():
    assert os.fork() >= 0

@pytest.mark.isolated
def test_fork_fails():
    pid = os.fork()
    assert pid, "in the fork"
    os.waitpid(pid, 0)

@pytest.fixture
def forking():
    os.fork()
    yield
    os.fork()

@pytest.mark.isolated
def test_fixture_forks(forking): pass

@pytest.mark.isolated
def test_thread_forks():
    thread = threading.Thread(target=os.fork)
    thread.start()
    thread.join()

def work(number):
    return number + 1

@pytest.mark.isolated
def test_multiprocessing():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(work, [1, 2]) == [2, 3]

@pytest.mark.isolated
@pytest.mark.parametrize("name", ["true", "false"])
def test_exec(name):
    os.execvp(name, [name])

@pytest.mark.isolated
def test_channel_held_open():
    if not os.fork():
        time.sleep(600)
    os._exit(3)

@pytest.mark.isolated
def test_channel_held_and_used():
    if not os.fork():
        while True:
            for fd in ours():
                try:
                    os.write(fd, b'\0\0\0\0\0\0\0\x10{"kind":"shown"}')
                except OSError:
                    continue
    os._exit(4)

@pytest.mark.isolated
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_signals(number):
    for pid in (SUPERVISOR, os.getppid()):
        if pid > 2:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, number)
    # init is the only other one, and does not heed them.
    for pid in (1, -1):
        try:
            os.kill(pid, number)
        except (PermissionError, ProcessLookupError):
            assert pid == -1 or os.geteuid()

@pytest.mark.isolated
def test_end():
    os.kill(0, signal.SIGKILL)

def test_next(): pass
"""


def test_forks_and_signals(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Each test is reported once, as itself, and no fork or signal reaches the supervisor.
    """
    pytester.makepyfile(tools=TOOLS, test_forks=FORKS)
    result = run_both_ways("-s", "test_forks.py", "-p", "no:warnings")
    result.assert_outcomes(passed=5 + 3 + 1, failed=2 + 2 + 1)
    text = result.stdout.str()
    for name, ended in {
        "test_exec[true]": "exited with code 0",
        "test_exec[false]": "exited with code 1",
        "test_channel_held_open": "exited with code 3",
        "test_channel_held_and_used": "exited with code 4",
        "test_end": "killed by SIGKILL",
    }.items():
        assert f"{name} did not finish: {ended} during call\nwhy: " in text
