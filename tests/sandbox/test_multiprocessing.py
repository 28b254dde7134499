"""
multiprocessing inside: its processes, named semaphores and shared memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.python

RunPytest = Callable[..., pytest.RunResult]

MULTIPROCESSING = """
import multiprocessing
import os
import secrets
import socket
from multiprocessing import resource_tracker, shared_memory
import pytest

METHODS = ["fork", "spawn", "forkserver"]
NAME = f"nsisolate-{secrets.token_hex(4)}"

def look(name, queue, lock, total):
    memory = shared_memory.SharedMemory(name)
    text = bytes(memory.buf[:6])
    memory.close()
    with lock:
        total.value += 1
    queue.put((text, socket.gethostname(), spaces()))

def spaces():
    return [os.readlink(f"/proc/self/ns/{one}") for one in ("ipc", "uts", "pid", "mnt")]

def run(method, text):
    context = multiprocessing.get_context(method)
    memory = shared_memory.SharedMemory(NAME, create=True, size=16)
    memory.buf[:6] = text
    queue, lock, total = context.Queue(), context.Lock(), context.Value("i", 0)
    args = (NAME, queue, lock, total)
    some = [context.Process(target=look, args=args) for _ in range(2)]
    for one in some:
        one.start()
    answers = [queue.get(timeout=60) for _ in some]
    for one in some:
        one.join(60)
        assert one.exitcode == 0
    assert total.value == 2
    assert answers == [(text, socket.gethostname(), spaces())] * 2
    return memory

@pytest.fixture(scope="session", autouse=True)
def helpers_on_the_host():
    if START:
        resource_tracker.ensure_running()
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=print)
        process.start()
        process.join()
        memory = run("forkserver", b"host 1")
        yield
        assert bytes(memory.buf[:6]) == b"host 1"
        shared_memory.SharedMemory(NAME).close()
        memory.close()
        memory.unlink()
    else:
        yield

@pytest.mark.isolated(hostname="lab")
@pytest.mark.parametrize("method", METHODS)
def test_isolated(method):
    memory = run(method, b"inside")
    assert socket.gethostname() == "lab"
    memory.close()
    if method != "spawn":
        memory.unlink()

def test_host():
    assert os.path.exists("/dev/shm/" + NAME) is START
"""


@pytest.mark.parametrize("started", [False, True])
def test_multiprocessing(
    pytester: pytest.Pytester, run_both_ways: RunPytest, started: bool, temporary: Path
) -> None:
    """
    Every start method works inside, whether or not its helpers already run outside.
    """
    pytester.makepyfile(test_methods=f"START = {started}\n{MULTIPROCESSING}")
    result = run_both_ways("test_methods.py", "-rfE")
    result.assert_outcomes(passed=4)
    assert "leaked" not in result.stderr.str() + result.stdout.str()
    assert [path for path in temporary.iterdir() if "pymp" in path.name] == []
