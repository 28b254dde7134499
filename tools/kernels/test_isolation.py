"""
The main job: what an isolated test has of its own, and what it has left of the host.

The tests run without pytester, so that they are quick on an emulated machine.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_KEY, _SIZE, _DAY = 0x2A, 4096, 86400
_CREATE = 0o1000 | 0o2000 | 0o600  # IPC_CREAT and IPC_EXCL; source: sys/ipc.h
_KINDS = ("ipc", "uts", "pid", "mnt")

_libc = ctypes.CDLL(None, use_errno=True)


def _spaces() -> dict[str, str]:
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in (*_KINDS, "net")}


@pytest.fixture(scope="session")
def outside() -> dict[str, str]:
    """
    Return the namespaces of the host.
    """
    return _spaces()


@pytest.fixture(scope="session", autouse=True)
def _host_is_as_before() -> Iterator[None]:
    """
    Expect that no test changes what the host has.
    """

    def seen() -> object:
        """Return what tests here change."""
        tables = [
            Path(f"/proc/sysvipc/{kind}").read_text() for kind in ("shm", "sem", "msg")
        ]
        places = [sorted(os.listdir(f"/dev/{one}")) for one in ("shm", "mqueue")]
        return os.uname().nodename, tables, places, os.listdir("/mnt")

    before = seen()
    yield
    assert seen() == before


@pytest.mark.isolated
def test_namespaces(outside: dict[str, str]) -> None:
    """
    Each namespace but that of the network is another one.
    """
    inside = _spaces()
    assert [kind for kind in inside if inside[kind] != outside[kind]] == list(_KINDS)


@pytest.mark.isolated(hostname="t1", domainname="lab")
def test_names() -> None:
    """
    A test has the names that it asks for.
    """
    assert socket.gethostname() == "t1"
    assert Path("/proc/sys/kernel/domainname").read_text() == "lab\n"


@pytest.mark.isolated
def test_processes() -> None:
    """
    A test sees its init and itself, and no other process.
    """
    pids = {int(one) for one in os.listdir("/proc") if one.isdecimal()}
    assert pids == {1, os.getpid()}


@pytest.mark.isolated(leaks="ignore")
@pytest.mark.parametrize("turn", range(2))
def test_sysv(turn: int) -> None:
    """
    The same key is free for each test, whatever the one before has left.
    """
    assert _libc.shmget(_KEY, _SIZE, _CREATE) == 0, turn
    assert _libc.msgget(_KEY, _CREATE) == 0
    assert _libc.semget(_KEY, 1, _CREATE) == 0


@pytest.mark.isolated(leaks="ignore")
@pytest.mark.parametrize("turn", range(2))
def test_posix(turn: int) -> None:
    """
    So is the same name of a message queue and of shared memory.
    """
    assert os.listdir("/dev/shm") == os.listdir("/dev/mqueue") == [], turn
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
    assert _libc.mq_open(b"/orders", flags, 0o600, None) != -1
    assert _libc.shm_open(b"/orders", flags, 0o600) != -1
    assert os.listdir("/dev/shm") == os.listdir("/dev/mqueue") == ["orders"]


@pytest.mark.isolated
def test_multiprocessing() -> None:
    """
    Semaphores and processes of multiprocessing work inside.
    """
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(abs, [-1]) == [1]


@pytest.mark.isolated(leaks="ignore")
def test_left_processes() -> None:
    """
    A test may leave processes.
    """
    subprocess.run(["setsid", "--fork", "sleep", "4321"], check=True)


def test_are_gone() -> None:
    """
    The processes that a test has left end with it.
    """
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        assert b"4321" not in path.read_bytes()


@pytest.mark.isolated(net=True)
def test_network(outside: dict[str, str]) -> None:
    """
    A test can have a network of its own, with its loopback up.
    """
    assert _spaces()["net"] != outside["net"]
    with socket.create_server(("127.0.0.1", 5432)) as server:
        socket.create_connection(server.getsockname()).close()


@pytest.mark.isolated(user="root", leaks="ignore")
def test_root() -> None:
    """
    A test can be root in its sandbox.
    """
    assert os.geteuid() == 0
    subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], check=True)
    Path("/mnt/file").touch()


@pytest.mark.isolated(time={"monotonic": _DAY})
def test_clock() -> None:
    """
    A test can have another monotonic clock.
    """
    assert time.monotonic() > _DAY
