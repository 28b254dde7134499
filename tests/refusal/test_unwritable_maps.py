"""
The files of /proc that a sandbox is made with, where they cannot be written.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mounts import SPACE, changed
from users import AS_NOBODY
from ways import KEEP, cannot

pytestmark = pytest.mark.faults

TEST = """
import pytest

@pytest.mark.isolated
def test_it(): pass
"""

RUN = ["-m", "pytest", "-p", "no:cacheprovider"]

READ_ONLY = "mount -o remount,bind,ro /proc"
BWRAP = "start the sandbox that pytest is in with a /proc, as bwrap --proc /proc does"


def explained(result: pytest.RunResult) -> tuple[str, str, str]:
    """
    Return the three lines on the only refusal of *result*.
    """
    result.assert_outcomes(errors=1)
    lines = result.outlines
    first = next(i for i, one in enumerate(lines) if one.startswith("cannot isolate"))
    what, why, fix = lines[first : first + 3]
    return what, why.removeprefix("why: "), fix.removeprefix("fix: ")


def test_read_only(pytester: pytest.Pytester) -> None:
    """
    A read-only /proc is named, and made writable by what the fix says.
    """
    pytester.makepyfile(TEST)

    what, why, fix = explained(pytester.run(*changed(KEEP, READ_ONLY), timeout=60))
    typed = fix.partition(", or ")[0].removeprefix("sudo ")
    again = pytester.run(*changed(KEEP, f"{READ_ONLY}\n{typed}"), timeout=60)

    assert what == ("cannot isolate test_it: write(/proc/self/uid_map) failed: EROFS")
    assert why == (
        "/proc is mounted read-only (ro in /proc/self/mountinfo), and the ids of a "
        "user namespace are written to a file there"
    )
    assert fix == f"sudo mount -o remount,bind,rw /proc, or {BWRAP}"
    again.assert_outcomes(passed=1)


@pytest.fixture
def interpreter(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    Return a copy of Python, which belongs to the user of this test.
    """
    temporary.chmod(0o755)
    monkeypatch.chdir(temporary)
    (temporary / "test_it.py").write_text(TEST)
    copy = temporary / "python"
    shutil.copy(os.path.realpath(sys.executable), copy)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    return copy


def by_another(interpreter: Path) -> list[str]:
    """
    Return the command that runs *interpreter* as a user without privilege.
    """
    user = [] if os.geteuid() else AS_NOBODY
    look = shlex.join(
        [str(interpreter), "-c", "import pytest, pytest_nsisolate.plugin"]
    )
    found = subprocess.run([*user, "sh", "-c", look], capture_output=True, check=False)
    if found.returncode:
        pytest.skip("the lane of users without privilege tests this")
    return [*user, str(interpreter)]


def test_interpreter_that_cannot_be_read(
    pytester: pytest.Pytester, interpreter: Path
) -> None:
    """
    A user who may run Python but not read it is told so, and what to change.
    """
    run = [*by_another(interpreter), *RUN]
    interpreter.chmod(0o111)

    what, why, fix = explained(pytester.run(*run, timeout=60))
    typed = fix.removeprefix("sudo ")
    subprocess.run(typed.split(), check=True)
    again = pytester.run(*run, timeout=60)

    assert what == ("cannot isolate test_it: write(/proc/self/uid_map) failed: EACCES")
    assert why == (
        f"this user may run {interpreter} but not read it (its mode is 111), so the "
        "kernel lets only root write to the files of its processes in /proc (proc(5), "
        "/proc/pid)"
    )
    assert fix == f"sudo chmod a+r {interpreter}"
    again.assert_outcomes(passed=1)


def needs_fakeroot() -> None:
    """
    Skip this test, or fail it, where there is no fakeroot that uses SysV IPC.
    """
    if shutil.which("fakeroot-sysv") is None:
        cannot("there is no fakeroot-sysv")


FAKEROOT = ["fakeroot-sysv", "--"]


def test_fakeroot(pytester: pytest.Pytester, interpreter: Path) -> None:
    """
    The uid that fakeroot makes up is not taken for the true one.
    """
    needs_fakeroot()
    *user, python = by_another(interpreter)
    run = [*user, *FAKEROOT]

    what, why, fix = explained(pytester.run(*run, python, *RUN, timeout=120))
    typed = fix.removesuffix("python -m pytest").split()
    again = pytester.run(*run, *typed, python, *RUN, timeout=60)

    assert what == ("cannot isolate test_it: write(/proc/self/uid_map) failed: EPERM")
    uid = os.geteuid() or 65534
    assert why == (
        "the uid is faked by libfakeroot-sysv.so (geteuid() is 0, but "
        f"{uid} in /proc/self/status), and the kernel maps only the true one"
    )
    assert fix == "env -u LD_PRELOAD python -m pytest"
    again.assert_outcomes(passed=1)


def test_fakeroot_of_root(pytester: pytest.Pytester) -> None:
    """
    Where the uid would be no obstacle, fakeroot cannot do without its IPC queue.
    """
    needs_fakeroot()
    pytester.makepyfile(TEST)
    # With its daemon, what that has made ends too.
    alone = ["--pid", "--fork", "--kill-child", "--mount-proc", "--ipc"]
    space = [*SPACE, *alone, *FAKEROOT]
    python = [sys.executable, *RUN]

    _, why, fix = explained(pytester.run(*space, *python, timeout=120))
    typed = fix.removesuffix("python -m pytest").split()
    again = pytester.run(*space, *typed, *python, timeout=60)

    assert why == (
        "libfakeroot-sysv.so is loaded (/proc/self/maps), which needs an IPC queue "
        "that no sandbox has"
    )
    again.assert_outcomes(passed=1)
