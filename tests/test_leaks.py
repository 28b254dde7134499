"""
Leaks: what a test leaves is looked for and named, and what becomes of that test.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

import pytest
from conftest import is_capable

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
    subprocess.run("sleep 0.1 & sleep 1001 & sleep 1002 & sleep 1003 &", shell=True)
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

def test_queue():
    if not os.path.isdir("/dev/mqueue"):
        pytest.skip("no /dev/mqueue")
    libc.mq_open(b"/orders", os.O_CREAT | os.O_RDWR, 0o600, None)

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

def test_ends_soon():
    subprocess.Popen(["sleep", "0.05"])

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

@pytest.mark.isolated(timeout=0.5)
def test_hangs():
    subprocess.Popen(["sleep", "1000"])
    time.sleep(60)

@pytest.mark.isolated(user="root")
def test_mount(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
"""

AGE = r"\d+\.\d s"
PROCESS = rf"1 process \(sleep 1000, {AGE}\)"

#: What each of them leaves, as a pattern.
LEFT = {
    "process": PROCESS,
    "processes": rf"4 processes \(sleep 1001, {AGE}; sleep 1002, {AGE}; "
    rf"sleep 1003, {AGE}; 1 more\)",
    "shm": r"1 SysV shared memory segment \(key 0x2a, 4096 bytes\)",
    "private_shm": r"1 SysV shared memory segment \(id 0, 1 byte\)",
    "sem": r"1 SysV semaphore set \(key 0x2b, 3 semaphores\)",
    "msg": r"1 SysV message queue \(key 0x2c, 10 bytes\)",
    "queue": r"1 POSIX message queue \(/orders\)",
    "file": r"1 file in /dev/shm \(left, 100 bytes\)",
    "many": r"30 files in /dev/shm \(00, 0 bytes; 01, 0 bytes; 02, 0 bytes; 27 more\)",
    "fork": rf"1 process \(\S*python.*, {AGE}\)",
    "daemon": PROCESS,
    "in_fixture": PROCESS,
    "crashes": PROCESS,
    "hangs": PROCESS,
    "mount": r"1 mount \(tmpfs on .*/test_mount0\)",
}


def named(result: pytest.RunResult) -> dict[str, str]:
    """
    Return what the tests of *result* have left, by the first lines on it.
    """
    lines = re.findall(
        r"(?:: LeakWarning: |^)test_(\w+) left (.*)", str(result.stdout), re.MULTILINE
    )
    return dict(lines)


def check(found: dict[str, str], patterns: dict[str, str]) -> None:
    """
    Make sure that *found* has what *patterns* say, and nothing else.
    """
    assert found.keys() == patterns.keys()
    for name, pattern in patterns.items():
        assert re.fullmatch(pattern, found[name]), found[name]


def test_every_kind_is_named(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    By default a test that leaves something is warned of, with what and how much.
    """
    pytester.makepyfile(test_leaves=LEAVES)
    result = run_both_ways(
        "test_leaves.py", "--nsisolate-leak-grace=0.8", "-p", "no:unraisableexception"
    )

    # Where there is no /dev/mqueue, the audit does not see a queue.
    expected = {**LEFT}
    skipped = 0 if os.path.isdir("/dev/mqueue") else 1
    if skipped:
        del expected["queue"]
    result.assert_outcomes(
        passed=19 - skipped, skipped=skipped, failed=2, warnings=15 - skipped
    )
    check(named(result), expected)
    assert "left behind by isolated tests" not in str(result.stdout)


def test_details_are_told(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Who made what, and what to do about it, are told with it.
    """
    pytester.makepyfile(test_leaves=LEAVES)
    result = run_both_ways("test_leaves.py", "-k", "test_process or sem or shm")

    uid = re.escape(r"of uid ") + r"\d+"
    why = "  why: found in its sandbox when it was over: "
    text = str(result.stdout)
    sleep = rf"sleep 1000, {AGE}: process 3, an orphan"
    assert re.search(f"^{why}{sleep}$", text, re.MULTILINE)
    shm = f"key 0x2a, 4096 bytes: id 0, made by process 2 {uid}"
    assert re.search(f"^{why}{shm}$", text, re.MULTILINE)
    assert re.search(
        rf"^{why}key 0x2b, 3 semaphores: id 0, made by uid \d+$", text, re.MULTILINE
    )
    assert (
        "  fix: end or remove it in the test or a fixture of it, or accept it with "
        '@pytest.mark.isolated(leaks="ignore")\n' in text
    )


POLICY = """
import subprocess
import pytest

@pytest.mark.isolated
def test_plain():
    subprocess.Popen(["sleep", "1000"])

@pytest.mark.isolated(leaks="fail")
def test_marked():
    print("printed")
    subprocess.Popen(["sleep", "1000"])

@pytest.mark.isolated(leaks="fail")
def test_crashes():
    import os
    subprocess.Popen(["sleep", "1000"])
    os._exit(3)

@pytest.fixture
def fails():
    yield
    assert 0

@pytest.mark.isolated(leaks="fail")
def test_fails_too(fails):
    subprocess.Popen(["sleep", "1000"])
"""


def test_fail(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    With the policy to fail it is an error of teardown, besides what else went wrong.
    """
    pytester.makepyfile(test_policy=POLICY)
    result = run_both_ways("test_policy.py", "--nsisolate-leaks=ignore")

    result.assert_outcomes(passed=3, failed=1, errors=4)
    result.stdout.fnmatch_lines(
        [
            "*_ ERROR at teardown of test_marked _*",
            "test_marked left 1 process (sleep 1000, *)",
            "why: found in its sandbox when it was over: sleep 1000, *: process 3, *",
            "fix: end or remove it in the test *",
            "*- Captured stdout call -*",
            "printed",
            "*_ ERROR at teardown of test_crashes _*",
            "test_crashes left 1 process *",
        ]
    )
    assert "LeakWarning" not in str(result.stdout)


@pytest.mark.parametrize(
    ("ini", "arguments", "outcome"),
    [
        ("nsisolate_leaks = fail", [], {"passed": 1, "errors": 1}),
        ("nsisolate_leaks = fail", ["--nsisolate-leaks=ignore"], {"passed": 1}),
        (
            "nsisolate_leaks = ignore",
            ["--nsisolate-leaks=fail"],
            {"passed": 1, "errors": 1},
        ),
        (
            "",
            ["-W", "error::pytest_nsisolate.errors.LeakWarning"],
            {"passed": 1, "errors": 1},
        ),
        ("", ["-W", "ignore::pytest_nsisolate.errors.LeakWarning"], {"passed": 1}),
    ],
)
def test_policy(
    pytester: pytest.Pytester,
    ini: str,
    arguments: list[str],
    outcome: dict[str, int],
) -> None:
    """
    The command line has precedence over the ini file; a warning obeys filters.
    """
    pytester.makeini(f"[pytest]\n{ini}")
    pytester.makepyfile(test_policy=POLICY)
    result = pytester.runpytest_subprocess("-k", "plain", *arguments, timeout=30)
    result.assert_outcomes(**outcome, deselected=3)


@pytest.mark.parametrize(
    ("argument", "lines"),
    [
        (
            "--nsisolate-leaks=loud",
            [
                "ERROR: cannot use --nsisolate-leaks=loud",
                "why: the option --nsisolate-leaks knows ignore, warn and fail",
                "fix: write --nsisolate-leaks=warn on the command line",
            ],
        ),
        (
            "--nsisolate-leak-grace=long",
            [
                "ERROR: cannot use --nsisolate-leak-grace=long",
                "why: the option --nsisolate-leak-grace takes a number of seconds",
                "fix: write --nsisolate-leak-grace=0.5 on the command line",
            ],
        ),
    ],
)
def test_bad_option(pytester: pytest.Pytester, argument: str, lines: list[str]) -> None:
    """
    A value that there is not is a usage error in three lines.
    """
    result = pytester.runpytest_subprocess(argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(lines, consecutive=True)


UNMARKED = """
import os
import subprocess

def test_clean(): pass

def test_leaves():
    subprocess.Popen(["sleep", "1000"])
    open("/dev/shm/left", "w").close()

class TestIt:
    def test_leaves(self):
        subprocess.Popen(["sleep", "1000"])
"""


def test_leak_finder(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A suite without markers becomes one that ends with a table of what its tests leave.
    """
    pytester.makepyfile(test_unmarked=UNMARKED)
    result = run_both_ways("test_unmarked.py", "--nsisolate", "--nsisolate-leaks=warn")

    result.assert_outcomes(passed=3, warnings=2)
    result.stdout.fnmatch_lines(
        [
            "*= left behind by isolated tests =*",
            "test_unmarked.py::test_leaves",
            "    1 file in /dev/shm (left, 0 bytes)",
            "    1 process (sleep 1000, *)",
            "test_unmarked.py::TestIt::test_leaves",
            "    1 process (sleep 1000, *)",
            "2 tests left something",
        ],
        consecutive=True,
    )


GRACE = """
import pytest

@pytest.mark.isolated
@pytest.mark.parametrize("number", range(10))
def test_clean(number): pass
"""


def test_grace_is_for_those_who_need_it(pytester: pytest.Pytester) -> None:
    """
    A test that leaves no process does not wait for one to end.
    """
    pytester.makepyfile(test_grace=GRACE)
    result = pytester.runpytest_subprocess("--nsisolate-leak-grace=30", timeout=60)
    result.assert_outcomes(passed=10)


UNSEEN = """
import subprocess
import pytest

@pytest.mark.isolated(user="root", leaks="fail")
def test_unmounts():
    subprocess.run(["umount", "/proc"], check=True)
    open("/dev/shm/left", "w").close()
"""


def test_what_cannot_be_looked_for(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Where a test has taken away what the audit reads, that is an error of its own.
    """
    pytester.makepyfile(test_unseen=UNSEEN)
    # Where /proc was mounted over another, that one shows, and is as good.
    result = run_both_ways("test_unseen.py")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["test_unmounts left 1 file in /dev/shm (left, 0 bytes)"]
    )


PROPAGATED = """
import subprocess
import pytest

@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("mounted")

@pytest.mark.isolated(leaks="fail")
def test_it(directory, on_host):
    command = ["mount", "-t", "tmpfs", "none", str(directory)]
    assert on_host(f"__import__('subprocess').run({command}).returncode") == 0
    with open("/proc/self/mountinfo") as file:
        assert str(directory) in file.read()
"""


@pytest.mark.usefixtures("view_of_host")
@pytest.mark.skipif(not is_capable(), reason="about mounts that root makes on the host")
def test_mounts_of_the_host(pytester: pytest.Pytester) -> None:
    """
    What the host mounts meanwhile shows in a sandbox, and no test has left it.
    """
    pytester.makepyfile(test_propagated=PROPAGATED)
    shared = ["unshare", "--mount", "--propagation", "shared"]
    command = [*shared, sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    result = pytester.run(*command, "test_propagated.py", timeout=60)
    result.assert_outcomes(passed=1)
