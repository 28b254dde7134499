"""
IPC objects of an isolated test: System V, POSIX and multiprocessing.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

RunPytest = Callable[..., pytest.RunResult]

#: A module for the inner tests: six kinds of object behind one interface.
OBJECTS = """
import ctypes
import errno
import os
import secrets

# With an older C library the functions are here, with a newer one in what it needs.
libc = ctypes.CDLL("librt.so.1", use_errno=True)
libc.shmat.restype = libc.sem_open.restype = ctypes.c_void_p
SYSV, POSIX = ("shm", "sem", "msg"), ("posix shm", "posix sem", "posix mq")
KINDS = SYSV + POSIX
CREATE = 0o1000 | 0o2000 | 0o600  # IPC_CREAT | IPC_EXCL, sys/ipc.h
GETVAL, SETVAL, NOWAIT = 12, 16, 0o4000
SIZE = {"shm": [ctypes.c_size_t(4096)], "sem": [1], "msg": []}
RMID = {"shm": [0, None], "sem": [0, 0], "msg": [0, None]}


class Message(ctypes.Structure):
    _fields_ = [("type", ctypes.c_long), ("text", ctypes.c_char * 8)]


def call(name, *args):
    result = getattr(libc, name)(*args)
    if result in (-1, None):
        raise OSError(ctypes.get_errno(), name)
    return result


def get(kind, key, new=False):
    if kind in SYSV:
        flags = CREATE if new else 0
        return call(kind + "get", ctypes.c_int(key), *SIZE[kind], flags)
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR if new else os.O_RDWR
    more = {"sem": [1], "mq": [None], "shm": []}[kind[6:]]
    return call(kind[6:] + "_open", b"/nsisolate-%d" % key, flags, 0o600, *more)


def exists(kind, key):
    try:
        get(kind, key)
    except OSError as error:
        assert error.errno == errno.ENOENT, error
        return False
    return True


def remove(kind, key):
    if kind in SYSV:
        call(kind + "ctl", get(kind, key), *RMID[kind])
    else:
        call(kind[6:] + "_unlink", b"/nsisolate-%d" % key)


def put(kind, key, number):
    if kind == "sem":
        call("semctl", get(kind, key), 0, SETVAL, number)
    elif kind == "shm":
        ctypes.c_int.from_address(libc.shmat(get(kind, key), None, 0)).value = number
    elif kind == "msg":
        message = Message(number, b"")
        call("msgsnd", get(kind, key), ctypes.byref(message), ctypes.c_size_t(8), 0)


def value(kind, key):
    if kind == "sem":
        return call("semctl", get(kind, key), 0, GETVAL)
    if kind == "shm":
        return ctypes.c_int.from_address(libc.shmat(get(kind, key), None, 0)).value
    message, size = Message(), ctypes.c_size_t(8)
    kind_of_message = ctypes.c_long(0)
    number = get(kind, key)
    call("msgrcv", number, ctypes.byref(message), size, kind_of_message, NOWAIT)
    put(kind, key, message.type)
    return message.type
"""

CLASH = """
import secrets
from pathlib import Path
import pytest
import objects

KEY = secrets.randbelow(2**30) + 1
INSIDE = KEY + 1

@pytest.fixture(scope="module", autouse=True)
def host_objects():
    for kind in objects.KINDS:
        objects.get(kind, KEY, new=True)
        objects.put(kind, KEY, 7)
    yield
    for kind in objects.KINDS:
        assert not objects.exists(kind, INSIDE)
        objects.remove(kind, KEY)
        assert not objects.exists(kind, KEY)

@pytest.mark.parametrize("kind", objects.KINDS)
def test_host_before(kind):
    assert objects.exists(kind, KEY) and not objects.exists(kind, INSIDE)
    assert kind not in objects.SYSV or objects.value(kind, KEY) == 7

@pytest.mark.isolated
@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize("kind", objects.KINDS)
def test_isolated(kind, turn, on_host):
    assert not objects.exists(kind, KEY) and not objects.exists(kind, INSIDE)
    for key in (KEY, INSIDE):
        objects.get(kind, key, new=True)
        objects.put(kind, key, turn)
        assert kind not in objects.SYSV or objects.value(kind, key) == turn
    assert on_host(f"__import__('objects').exists({kind!r}, {INSIDE})") is False
    assert on_host(f"__import__('objects').exists({kind!r}, {KEY})") is True
    if kind in objects.SYSV:
        table = Path("/proc/sysvipc", kind).read_text().splitlines()
        assert len(table) == 1 + 2
    if turn == 2:
        objects.remove(kind, KEY)

test_host_after = test_host_before
"""


@pytest.mark.usefixtures("view_of_host")
def test_same_key_does_not_clash(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Two isolated tests and the host use the same key or name without a clash.
    """
    pytester.makepyfile(objects=OBJECTS, test_clash=CLASH)
    run_both_ways("test_clash.py").assert_outcomes(passed=24)


LISTINGS = """
import os
from multiprocessing import shared_memory
import pytest
import objects

@pytest.fixture(scope="module", autouse=True)
def host_memory():
    memory = shared_memory.SharedMemory(create=True, size=16)
    memory.buf[:4] = b"host"
    yield memory
    assert bytes(memory.buf[:4]) == b"host"
    memory.close()
    memory.unlink()

@pytest.mark.isolated(leaks="ignore")
@pytest.mark.parametrize("turn", [1, 2])
def test_shared_memory(host_memory, turn, on_host):
    assert os.listdir("/dev/shm") == []
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(host_memory.name)
    mine = shared_memory.SharedMemory(host_memory.name, create=True, size=16)
    mine.buf[:4] = b"mine"
    other = shared_memory.SharedMemory(f"{host_memory.name}-in", create=True, size=16)
    assert sorted(os.listdir("/dev/shm")) == sorted([mine.name, other.name])
    there = on_host("__import__('os').listdir('/dev/shm')")
    assert host_memory.name in there and other.name not in there
    mine.close()
    other.close()
    if turn == 2:
        mine.unlink()

@pytest.mark.isolated
def test_size_and_mode():
    facts = os.statvfs("/dev/shm")
    assert facts.f_blocks * facts.f_frsize == SIZE
    assert os.stat("/dev/shm").st_mode & 0o7777 == 0o1777

SIZE = os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize

def test_host(host_memory):
    assert f"{host_memory.name}-in" not in os.listdir("/dev/shm")
    seen = shared_memory.SharedMemory(host_memory.name)
    assert bytes(seen.buf[:4]) == b"host"
    seen.close()
"""


@pytest.mark.usefixtures("view_of_host")
def test_dev_shm_is_private(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    ``/dev/shm`` is empty at the start, as large as the host's, and separate from it.
    """
    pytester.makepyfile(objects=OBJECTS, test_listings=LISTINGS)
    result = run_both_ways("test_listings.py", "-W", "error")
    result.assert_outcomes(passed=4)


def test_message_queues_are_listed(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    A mounted mqueue file system lists only the sandbox's own message queues.
    """
    pytester.makepyfile(
        objects=OBJECTS,
        test_mqueue="""
        import os
        import subprocess
        import pytest
        import objects

        @pytest.fixture(scope="module", autouse=True)
        def host_queue():
            key = os.getpid() + 2**29
            objects.get("posix mq", key, new=True)
            yield
            objects.remove("posix mq", key)

        @pytest.mark.isolated(user="root")
        def test_mounted(tmp_path):
            mount = ["mount", "-t", "mqueue", "none", str(tmp_path)]
            subprocess.run(mount, check=True)
            assert os.listdir(tmp_path) == []
            objects.get("posix mq", 5, new=True)
            assert os.listdir(tmp_path) == ["nsisolate-5"]

        @pytest.mark.isolated
        def test_of_the_system():
            there = os.path.isdir("/dev/mqueue")
            assert not there or os.listdir("/dev/mqueue") == []
            objects.get("posix mq", 5, new=True)
            assert not there or os.listdir("/dev/mqueue") == ["nsisolate-5"]
        """,
    )
    run_both_ways("test_mqueue.py").assert_outcomes(passed=2)


def test_the_host_is_as_before(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Objects that tests leave inside never show on the host.
    """
    pytester.makepyfile(
        objects=OBJECTS,
        test_left="""
        import pytest
        import objects
        @pytest.mark.isolated
        @pytest.mark.parametrize("kind", objects.KINDS)
        def test_left(kind):
            objects.get(kind, 1234567, new=True)
        """,
    )
    run_both_ways("test_left.py").assert_outcomes(passed=6)
    assert "nsisolate-1234567" not in os.listdir("/dev/shm")
    for kind in ("shm", "sem", "msg"):
        with open(f"/proc/sysvipc/{kind}") as table:
            assert "1234567" not in [line.split()[0] for line in table]
