"""
Fresh directories, which ``tmpfs=`` mounts empty for one test or refuses.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_nsisolate.diagnosis import explain
from pytest_nsisolate.model.errors import Refused

RunPytest = Callable[..., pytest.RunResult]


@pytest.fixture
def places(pytester: pytest.Pytester) -> Iterator[Path]:
    """
    Provide a directory with subdirectories to be mounted over, none of them empty.
    """
    base = pytester.path / "places"
    for name, mode in (("a", 0o1777), ("b", 0o550), ("c", 0o2755)):
        (base / name / "below").mkdir(parents=True)
        (base / name / "old").write_text("of the host")
        (base / name).chmod(mode)
    (base / "link").symlink_to("a")
    (base / "c" / "away").symlink_to("../a")
    (base / "file").touch()
    (base / "loop").symlink_to("loop")
    (base / "proc").symlink_to("/proc")
    (base / "shm").symlink_to("/dev/shm")
    (base / "here").symlink_to(pytester.path)
    yield base
    (base / "b").chmod(0o755)


FRESH = """
import os
import stat
from pathlib import Path

import pytest

BASE = Path({base!r})
A, B, C = (str(BASE / name) for name in "abc")
isolated = pytest.mark.isolated

def is_fresh(path):
    facts = os.stat(path)
    assert os.path.ismount(path)
    assert (facts.st_uid, facts.st_gid) == (os.geteuid(), os.getegid())
    return not os.listdir(path)

def flags(path):
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [line.split() for line in lines]
    return [set(row[5].split(",")) for row in found if row[4] == path]

@pytest.fixture(scope="module")
def borrowed():
    assert sorted(os.listdir(A)) == ["below", "old"]
    yield
    assert sorted(os.listdir(A)) == ["below", "old"]

@pytest.fixture
def owned(borrowed):
    assert is_fresh(A)
    yield
    assert os.listdir(A) == ["new"]

@isolated(tmpfs=[A, Path(B), C + "/./"], leaks="fail")
def test_modes_and_flags(owned):
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (A, B, C)]
    assert modes == [0o1777, 0o750, 0o2755]
    for path in (A, B, C):
        assert is_fresh(path)
        (found,) = flags(path)
        assert {{"rw", "nosuid", "nodev"}} <= found
        Path(path, "new").write_text("of the test")

@isolated(tmpfs=[A], leaks="fail")
class TestAgain:
    def test_not_what_the_other_left(self, owned):
        Path(A, "new").touch()

    @isolated(tmpfs=[B])
    def test_closest_wins(self):
        assert is_fresh(B)
        assert sorted(os.listdir(A)) == ["below", "old"]

    @isolated(tmpfs=[])
    def test_none(self):
        assert not os.path.ismount(A)

@isolated(tmpfs=[A], user="root", leaks="fail")
def test_root(owned):
    Path(A, "new").touch()
    assert os.getuid() == os.stat(A).st_uid == 0

@isolated(tmpfs=[A + "/made/deep", C + "/away", A, C, A + "/below"])
def test_nested():
    assert sorted(os.listdir(A)) == ["below", "made"]
    assert os.listdir(C) == ["away"]
    for path in (A + "/made/deep", A + "/below", C + "/away"):
        assert is_fresh(path)

@isolated(tmpfs=[str(BASE / "link"), A])
def test_link():
    assert is_fresh(A) and os.listdir(BASE / "link") == []
    assert len(flags(A)) == 1

@isolated
def test_not_asked_for():
    assert not os.path.ismount(A)

def test_host():
    for path in (A, B, C):
        assert not os.path.ismount(path)
        assert "new" not in os.listdir(path)
"""


def test_fresh(
    pytester: pytest.Pytester, places: Path, run_both_ways: RunPytest
) -> None:
    """
    The directories are empty, take their mode from those they hide, and are no leak.
    """
    pytester.makepyfile(test_it=FRESH.format(base=str(places)))
    run_both_ways("-Werror", "test_it.py").assert_outcomes(passed=9)


REFUSED = """
import os
import sys
from pathlib import Path

import pytest

BASE = Path({base!r})
isolated = pytest.mark.isolated

@isolated(tmpfs=[str(BASE / "missing")])
def test_missing(): pass

@isolated(tmpfs=[str(BASE / "file")])
def test_file(): pass

@isolated(tmpfs=[str(BASE / "file" / "x")])
def test_below_file(): pass

@isolated(tmpfs=[str(BASE / "loop")])
def test_loop(): pass

@isolated(tmpfs=[str(BASE / "proc")])
def test_proc(): pass

@isolated(tmpfs=[str(BASE / "shm")])
@pytest.mark.xfail
def test_shm(): pass

@isolated(tmpfs=[str(BASE.parent)])
def test_working_directory(): pass

@isolated(tmpfs=[str(BASE / "here")])
def test_by_a_link(): pass

@isolated(tmpfs=[sys.prefix])
def test_interpreter(): pass

@isolated(tmpfs=[str(BASE / "a")])
def test_temporary(tmp_path): pass

@isolated(tmpfs=[str(BASE / "a")])
def test_no_temporary():
    assert os.listdir(BASE / "a") == []

@isolated(tmpfs=[str(BASE / "a")])
def test_good():
    assert os.listdir(BASE / "a") == []
"""

THERE = "and tmpfs= needs an existing directory"
LEAVE = "fix: leave it out of tmpfs=, or name a directory further down"


def said(base: Path, prefix: str) -> list[str]:
    """
    Return the lines about each test of `REFUSED` that is refused.
    """

    def call(name: str, path: str, number: str) -> str:
        """
        Return the line for test *name* when mount() on *path* fails.
        """
        return (
            f"cannot isolate test_{name}: mount(tmpfs, {base}/{path}) failed: {number}"
        )

    def hides(name: str, path: str, what: str) -> str:
        """
        Return the line for test *name* when *path* would hide *what*.
        """
        return f'cannot isolate test_{name}: a fresh directory at "{path}" would {what}'

    def no(name: str, path: str) -> str:
        """
        Return the line for test *name* when *path* cannot be fresh.
        """
        test = f"cannot isolate test_{name}"
        return f'{test}: no fresh directory can be mounted at "{path}"'

    here = base.parent
    where = "hide the working directory"
    return [
        call("missing", "missing", "ENOENT"),
        f"why: {base}/missing does not exist (stat() says ENOENT), {THERE}",
        f"fix: mkdir -p {base}/missing, or leave {base}/missing out of tmpfs=",
        call("file", "file", "ENOTDIR"),
        f"why: {base}/file is not a directory, {THERE}",
        f"fix: name another directory, or leave {base}/file out of tmpfs=",
        call("below_file", "file/x", "ENOTDIR"),
        (
            f"why: {base}/file/x has a parent that is not a directory (stat() says "
            f"ENOTDIR), {THERE}"
        ),
        call("loop", "loop", "ELOOP"),
        "why: unknown; checked *",
        no("proc", f"{base}/proc"),
        "why: it resolves to /proc, and each sandbox has its own /proc",
        no("shm", f"{base}/shm"),
        "why: it resolves to /dev/shm, and each sandbox has its own /dev/shm",
        hides("working_directory", str(here), where),
        f"why: the test needs {here} itself",
        LEAVE,
        hides("by_a_link", f"{base}/here", where),
        f"why: the test needs {here} itself, to which {base}/here resolves",
        hides("interpreter", prefix, "hide *"),
        hides("temporary", f"{base}/a", "hide the directory of tmp_path"),
        f"why: the test needs {base}/a/tmp, which is in {base}/a",
        "fix: pytest --basetemp=DIRECTORY, a directory elsewhere that may be emptied",
    ]


def test_refused(
    pytester: pytest.Pytester, places: Path, run_both_ways: RunPytest
) -> None:
    """
    A directory that cannot be fresh, or that the test needs, is an error of that test.
    """
    pytester.makepyfile(test_it=REFUSED.format(base=str(places)))

    result = run_both_ways(f"--basetemp={places}/a/tmp", "test_it.py")

    result.assert_outcomes(passed=2, errors=10)
    result.stdout.fnmatch_lines(said(places, sys.prefix))


def test_refusal_follows_the_policy(
    pytester: pytest.Pytester, places: Path, run_both_ways: RunPytest
) -> None:
    """
    With ``--nsisolate-unavailable=skip`` a refused test is skipped.
    """
    pytester.makepyfile(test_it=REFUSED.format(base=str(places)))
    run_both_ways(
        f"--basetemp={places}/a/tmp", "--nsisolate-unavailable=skip", "test_it.py"
    ).assert_outcomes(passed=2, skipped=10)


def test_made_in_time(
    pytester: pytest.Pytester, places: Path, run_both_ways: RunPytest
) -> None:
    """
    A directory made by a borrowed fixture is found, however early the sandbox was made.
    """
    pytester.makepyfile(
        test_it=f"""
        import os
        import pytest

        PATH = {str(places / "late")!r}

        @pytest.fixture(scope="module")
        def late():
            os.mkdir(PATH)
            open(PATH + "/old", "w").close()

        @pytest.mark.isolated
        def test_first():
            # Time enough for the next one's sandbox to be asked for.
            assert not os.path.exists(PATH)

        @pytest.mark.isolated(tmpfs=[PATH])
        def test_late(late):
            assert os.listdir(PATH) == []
        """
    )
    run_both_ways("test_it.py").assert_outcomes(passed=2)


def test_unreachable(tmp_path: Path) -> None:
    """
    If this process cannot reach the directory either, the reason says so.
    """
    closed = tmp_path / "closed"
    (closed / "in").mkdir(parents=True)
    closed.chmod(0)
    # CAP_DAC_OVERRIDE bypasses the mode: capabilities(7).
    may_enter = os.access(closed, os.X_OK)
    try:
        cause, values = explain.choose(
            Refused(f"mount(tmpfs, {closed}/in)", errno.EACCES)
        )
    finally:
        closed.chmod(0o755)
    assert (cause.name == "no-directory") is not may_enter
    if not may_enter:
        assert cause.why.format_map(values) == (
            f"{closed}/in cannot be reached by this user (stat() says EACCES), {THERE}"
        )
        assert cause.fix.format_map(values) == (
            f"name another directory, or leave {closed}/in out of tmpfs="
        )


def test_no_more_mounts() -> None:
    """
    ENOSPC from mount() is explained by the limit on mounts.
    """
    cause, values = explain.choose(Refused("mount(tmpfs, /run)", errno.ENOSPC))
    assert cause.name == "mount-limit"
    limit = Path("/proc/sys/fs/mount-max").read_text().strip()
    assert values == {"limit": limit}
    assert cause.why.format_map(values) == (
        f"the mount namespace cannot hold more mounts (fs.mount-max is {limit})"
    )


def test_not_on_the_host(pytester: pytest.Pytester, places: Path) -> None:
    """
    Without isolation the directories are those of the host.
    """
    path = str(places / "a")
    pytester.makepyfile(
        test_it=f"""
        import os, pytest

        @pytest.mark.isolated(tmpfs=[{path!r}])
        def test_it():
            assert "old" in os.listdir({path!r})
        """
    )
    pytester.runpytest_subprocess("--no-nsisolate", "test_it.py").assert_outcomes(
        passed=1
    )
