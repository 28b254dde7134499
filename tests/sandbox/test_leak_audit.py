"""
The audit, which finds and names what a test leaves.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import BARE_DEV, changed
from ways import PLAIN, WAYS, cannot

RunPytest = Callable[..., pytest.RunResult]

LEAVES = """
import ctypes
import os
import signal
import subprocess
import sys
import time
import pytest

libc = ctypes.CDLL(None, use_errno=True)
MINE = 0o1600

pytestmark = pytest.mark.isolated

def test_clean(): pass

def test_process():
    subprocess.Popen(["sleep", "1000"])

def test_processes():
    subprocess.run("sleep 1001 & sleep 1002 & sleep 1003 &", shell=True)
    subprocess.run("sleep 1004 &", shell=True)

def test_shm():
    assert libc.shmget(0x2a, 4096, MINE) != -1

def test_private_shm():
    assert libc.shmget(0, 1, MINE) != -1

def test_removed_shm():
    segment = libc.shmget(0x2a, 4096, MINE)
    libc.shmat.restype = ctypes.c_void_p
    assert libc.shmat(segment, None, 0)
    assert libc.shmctl(segment, 0, None) == 0

def test_sem():
    assert libc.semget(0x2b, 3, MINE) != -1

def test_msg():
    queue = libc.msgget(0x2c, MINE)
    assert libc.msgsnd(queue, ctypes.create_string_buffer(b"1" * 18), 10, 0) == 0

def test_file():
    with open("/dev/shm/left", "wb") as file:
        file.write(bytes(100))

def test_many():
    for number in range(30):
        open(f"/dev/shm/{number:02}", "w").close()

def test_fork():
    if not os.fork():
        time.sleep(1000)

def test_zombie():
    if not os.fork():
        os._exit(0)

def test_daemon():
    subprocess.run(["setsid", "-f", "sleep", "1000"], check=True)

def test_multiprocessing():
    import multiprocessing
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        process = context.Process(target=int)
        process.start()
        process.join()
        context.Queue().close()

@pytest.mark.isolated(leaks="ignore")
def test_ignored():
    subprocess.Popen(["sleep", "1000"])

@pytest.fixture
def made():
    subprocess.Popen(["sleep", "1000"])

def test_in_fixture(made): pass

def test_crashes():
    subprocess.Popen(["sleep", "1000"])
    os._exit(3)

@pytest.mark.isolated(timeout=2)
def test_hangs():
    subprocess.Popen(["sleep", "1000"])
    time.sleep(60)

@pytest.mark.isolated(user="root")
def test_mount(tmp_path):
    # What a kernel does not take for a space.
    point = tmp_path / "two\u3000words"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", point], check=True)
"""

AGE = r"\d+\.\d s"
PROCESS = rf"1 process \(sleep 1000, {AGE}\)"

#: What each test leaves, as a pattern.
LEFT = {
    "process": PROCESS,
    "processes": rf"4 processes \(sleep 1001, {AGE}; sleep 1002, {AGE}; "
    rf"sleep 1003, {AGE}; 1 more\)",
    "shm": r"1 SysV shared memory segment \(key 0x2a, 4096 bytes\)",
    "private_shm": r"1 SysV shared memory segment \(id 0, 1 byte\)",
    "sem": r"1 SysV semaphore set \(key 0x2b, 3 semaphores\)",
    "msg": r"1 SysV message queue \(key 0x2c, 10 bytes\)",
    "file": r"1 file in /dev/shm \(left, 100 bytes\)",
    "many": r"30 files in /dev/shm \(00, 0 bytes; 01, 0 bytes; 02, 0 bytes; 27 more\)",
    "fork": rf"1 process \(\S*python.*, {AGE}\)",
    "daemon": PROCESS,
    "in_fixture": PROCESS,
    "crashes": PROCESS,
    "hangs": PROCESS,
    "mount": r"1 mount \(tmpfs on .*/test_mount0/two\u3000words\)",
}


def named(result: pytest.RunResult) -> dict[str, str]:
    """
    Return what each test left, from the first lines of the leak texts in *result*.
    """
    lines = re.findall(
        r"(?:: LeakWarning: |^)test_(\w+) left (.*)", str(result.stdout), re.MULTILINE
    )
    return dict(lines)


def check(found: dict[str, str], patterns: dict[str, str]) -> None:
    """
    Check that *found* matches *patterns* and has nothing else.
    """
    assert found.keys() == patterns.keys()
    for name, pattern in patterns.items():
        assert re.fullmatch(pattern, found[name]), found[name]


def test_every_kind_is_named(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    By default a leak is a warning that names the kind of object and how many there are.
    """
    pytester.makepyfile(test_leaves=LEAVES)
    result = run_both_ways(
        "test_leaves.py", "--nsisolate-leak-grace=0.8", "-p", "no:unraisableexception"
    )

    result.assert_outcomes(passed=17, failed=2, warnings=14)
    check(named(result), LEFT)
    assert "left behind by isolated tests" not in str(result.stdout)


def test_details_are_told(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The warning also says who made the object and how to fix the leak.
    """
    pytester.makepyfile(test_leaves=LEAVES)
    result = run_both_ways("test_leaves.py", "-k", "test_process or sem or shm")

    uid = re.escape(r"of uid ") + r"\d+"
    why = "  why: found in its sandbox when the test was over: "
    text = str(result.stdout)
    sleep = rf"sleep 1000, {AGE}: process \d+, an orphan"
    assert re.search(f"^{why}{sleep}$", text, re.MULTILINE)
    shm = rf"key 0x2a, 4096 bytes: id 0, made by process \d+ {uid}"
    assert re.search(f"^{why}{shm}$", text, re.MULTILINE)
    assert re.search(
        rf"^{why}key 0x2b, 3 semaphores: id 0, made by uid \d+$", text, re.MULTILINE
    )
    assert (
        "  fix: end or remove it in the test or one of its fixtures, or accept it with "
        '@pytest.mark.isolated(leaks="ignore")\n' in text
    )


PROPAGATED = """
import subprocess
import pytest

@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("mounted")

@pytest.mark.isolated(leaks="fail")
def test_it(directory, on_host):
    # More than a leak names.
    mount = f"for one in $(seq 30); do mount -t tmpfs none {directory}; done"
    command = ["sh", "-ec", mount]
    assert on_host(f"__import__('subprocess').run({command}).returncode") == 0
    with open("/proc/self/mountinfo") as file:
        assert file.read().count(str(directory)) == 30
"""


@pytest.mark.usefixtures("view_of_host")
def test_mounts_of_the_host(pytester: pytest.Pytester) -> None:
    """
    Mounts of the host that propagate into a sandbox are not leaks of the test.
    """
    pytester.makepyfile(test_propagated=PROPAGATED)
    # In a user namespace if necessary, since anyone may mount there.
    shared = [*WAYS[PLAIN], "unshare", "--mount", "--propagation", "shared"]
    command = [*shared, sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    result = pytester.run(*command, "test_propagated.py", timeout=60)
    result.assert_outcomes(passed=1)


QUEUE = """
import ctypes
import os
import pytest

@pytest.mark.isolated(leaks="fail")
def test_queue():
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mq_open(b"/orders", os.O_CREAT | os.O_RDWR, 0o600, None) != -1
"""


@pytest.mark.parametrize("way", list(WAYS))
def test_posix_queues(pytester: pytest.Pytester, way: str) -> None:
    """
    A POSIX message queue is found where there is a /dev/mqueue that lists it.
    """
    if "mqueue" not in Path("/proc/filesystems").read_text():
        cannot("this kernel has no POSIX message queues")
    pytester.makepyfile(test_queue=QUEUE)
    pytester.mkdir("tmp")
    script = f"{BARE_DEV}mkdir -m 1777 /dev/shm /dev/mqueue"
    result = pytester.run(*changed(way, script, "test_queue.py"), timeout=60)
    result.assert_outcomes(passed=1, errors=1)
    assert named(result) == {"queue": "1 POSIX message queue (/orders)"}


OUTER_PROC = """
import os
import subprocess
import pytest

@pytest.mark.isolated(proc=False)
def test_process():
    assert os.readlink("/proc/self") != str(os.getpid())
    subprocess.run("sleep 1000 &", shell=True)

@pytest.mark.isolated(proc=False)
def test_clean(): pass
"""


def test_proc_of_the_host(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    With the host's /proc the audit finds only the sandbox's processes, by inside pid.
    """
    pytester.makepyfile(test_outer=OUTER_PROC)
    result = run_both_ways("test_outer.py", "--nsisolate-leak-grace=0.8")
    result.assert_outcomes(passed=2, warnings=1)
    check(named(result), {"process": PROCESS})
    why = rf"why: found in its sandbox when the test was over: sleep 1000, {AGE}"
    assert re.search(rf"{why}: process \d, an orphan", str(result.stdout))


ENDS_SOON = """
import subprocess
import pytest

@pytest.mark.isolated(leaks="fail")
def test_own_proc():
    subprocess.Popen(["sleep", "0.05"])

@pytest.mark.isolated(proc=False, leaks="fail")
def test_outer_proc():
    subprocess.Popen(["sleep", "0.05"])
"""


def test_what_ends_soon(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A process that ends within the grace is no leak, whichever /proc it is looked for.
    """
    pytester.makepyfile(test_ends_soon=ENDS_SOON)
    result = run_both_ways("test_ends_soon.py", "--nsisolate-leak-grace=30")
    result.assert_outcomes(passed=2)


COME_AND_GO = """
import os
import pytest

@pytest.mark.isolated(leaks="fail")
def test_gone():
    open("/dev/shm/one", "w").close()
    os.mkdir("/dev/shm/two")
    os.remove("/dev/shm/one")
    os.rmdir("/dev/shm/two")

@pytest.mark.isolated
def test_only_the_last():
    for before, name in [("a", "b"), ("b", "c")]:
        open(f"/dev/shm/{before}", "a").close()
        os.link(f"/dev/shm/{before}", f"/dev/shm/{name}")
        os.remove(f"/dev/shm/{before}")

@pytest.mark.isolated
def test_directory():
    os.mkdir("/dev/shm/empty")
"""


def test_files_come_and_go(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    What is left in /dev/shm is found, also of several files or if it is a directory.
    """
    pytester.makepyfile(test_come=COME_AND_GO)
    result = run_both_ways("test_come.py")
    result.assert_outcomes(passed=3, warnings=2)
    check(
        named(result),
        {
            "only_the_last": r"1 file in /dev/shm \(c, 0 bytes\)",
            "directory": r"1 file in /dev/shm \(empty, \d+ bytes\)",
        },
    )
