"""
The leak policy, which decides what happens to a test that leaves something.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

RunPytest = Callable[..., pytest.RunResult]

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
    With the policy fail a leak is an error of teardown, besides any other failure.
    """
    pytester.makepyfile(test_policy=POLICY)
    result = run_both_ways("test_policy.py", "--nsisolate-leaks=ignore")

    result.assert_outcomes(passed=3, failed=1, errors=3)
    result.stdout.fnmatch_lines(
        [
            "*_ ERROR at teardown of test_marked _*",
            "test_marked left 1 process (sleep 1000, *)",
            "why: found in its sandbox when * was over: sleep 1000, *, an orphan",
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
            ["-W", "error::pytest_nsisolate.model.errors.LeakWarning"],
            {"passed": 1, "errors": 1},
        ),
        (
            "",
            ["-W", "ignore::pytest_nsisolate.model.errors.LeakWarning"],
            {"passed": 1},
        ),
    ],
)
def test_policy(
    pytester: pytest.Pytester,
    ini: str,
    arguments: list[str],
    outcome: dict[str, int],
) -> None:
    """
    The command line takes precedence over the ini file, and a warning obeys filters.
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
                "why: the option --nsisolate-leaks takes ignore, warn or fail",
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
    An invalid value is a usage error in three lines.
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
    A suite without markers can be run with a closing table of what its tests leave.
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
import subprocess
import pytest

@pytest.mark.isolated
@pytest.mark.parametrize("number", range(10))
def test_clean(number): pass

@pytest.mark.isolated(leaks="fail")
def test_ends_soon():
    subprocess.Popen(["sleep", "0.5"])

def test_box(sandbox_factory):
    # The first process inside, where a sandbox has its guest.
    sandbox_factory(leaks="fail").popen(["sleep", "0.5"])
"""


def test_grace_is_for_those_who_need_it(pytester: pytest.Pytester) -> None:
    """
    A process that ends within the grace period is no leak; without one, none waits.
    """
    pytester.makepyfile(test_grace=GRACE)
    result = pytester.runpytest_subprocess("--nsisolate-leak-grace=30", timeout=60)
    result.assert_outcomes(passed=12)


UNMOUNTED = """
import subprocess
import pytest

@pytest.mark.isolated(user="root", leaks="fail")
def test_unmounts():
    subprocess.run(["umount", "/proc"], check=True)
    open("/dev/shm/left", "w").close()
"""


def test_proc_unmounted(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    If a test unmounted its /proc, the audit uses the /proc below it.
    """
    pytester.makepyfile(test_unmounted=UNMOUNTED)
    result = run_both_ways("test_unmounted.py")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["test_unmounts left 1 file in /dev/shm (left, 0 bytes)"]
    )
    assert "cannot look for" not in str(result.stdout)


COVERED = """
import subprocess
import pytest

pytestmark = pytest.mark.isolated(user="root")

@pytest.fixture
def covered():
    subprocess.run(["mount", "-t", "tmpfs", "none", "/proc"], check=True)

def test_warned(covered): pass

@pytest.mark.isolated(leaks="fail")
def test_failed(covered):
    open("/dev/shm/left", "w").close()

@pytest.mark.isolated(leaks="ignore")
def test_ignored(covered): pass
"""


def test_what_cannot_be_looked_for(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    If a test covered what the audit reads, that is reported as a leak would be.
    """
    pytester.makepyfile(test_covered=COVERED)
    result = run_both_ways("test_covered.py")

    result.assert_outcomes(passed=3, warnings=1, errors=1)
    why = "; ".join(f"{what}: reading {path} failed: ENOENT" for what, path in UNSEEN)
    fix = (
        "fix: pytest --nsisolate-doctor, or turn this check off with "
        '@pytest.mark.isolated(leaks="ignore")'
    )
    what = "cannot check what test_failed left"
    result.stdout.fnmatch_lines([what, f"why: {why}", fix], consecutive=True)
    result.stdout.fnmatch_lines(["*: LeakWarning: cannot check what test_warned *"])
    # What the audit can still find without /proc is reported too.
    result.stdout.fnmatch_lines(["test_failed left 1 file in /dev/shm (left, 0 bytes)"])


#: What cannot be found without /proc, and the file that is read for it.
UNSEEN = [
    ("processes", "/proc/self"),
    ("SysV shared memory segments", "/proc/sysvipc/shm"),
    ("SysV semaphore sets", "/proc/sysvipc/sem"),
    ("SysV message queues", "/proc/sysvipc/msg"),
    ("mounts", "/proc/self/mountinfo"),
]
