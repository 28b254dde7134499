"""
pytest where something that every machine has is missing, full, closed or read-only.

Each session either isolates its tests and works, or fails them with the three lines.
None hangs or leaves anything behind.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import machine
import pytest
from killing import pytest_command
from mounts import BARE_DEV, changed
from ways import WAYS

TESTS = """
import os
import psutil
import pytest

@pytest.mark.parametrize("number", range(3))
def test_it(number):
    assert 2 <= os.getpid() <= 3
    print("output of the test")
    assert len(psutil.pids()) <= 3
"""

#: Mounts a file system without free space on the directory tmp.
FULL = "mount -t tmpfs -o size=64k none tmp; cat /dev/zero >tmp/fill 2>&- || true"

#: Shell commands that damage the machine in ways that still leave tests isolated.
WORKING = {
    "no /dev/shm, no /dev/mqueue": BARE_DEV,
    "read-only /dev/shm": "mount -t tmpfs -o ro none /dev/shm",
    "full temporary directory": f"{FULL}; export TMPDIR=$PWD/tmp",
    "full working directory": f"{FULL}; rm tmp/fill; cp *.* tmp; cd tmp; "
    "cat /dev/zero >fill 2>&- || true",
    "read-only root": "mount -t tmpfs none tmp; export TMPDIR=$PWD/tmp; "
    "mount -o remount,bind,ro /; ! touch /test 2>&-",
    "unwritable temporary directory": "mount -t tmpfs -o ro none tmp; "
    "export TMPDIR=$PWD/tmp",
}

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("nothing_left")]
both_ways = pytest.mark.parametrize("way", list(WAYS))


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Path:
    """
    Return a directory with three tests and an empty directory tmp.
    """
    pytester.makepyfile(test_inside=TESTS)
    pytester.makeini("[pytest]")
    pytester.mkdir("tmp")
    return pytester.path


def run(
    command: Sequence[str], path: Path, before: Callable[[], None] | None = None
) -> tuple[int, str]:
    """
    Return exit code and output of *command*, which must not hang or leave a process.

    Args:
        command: The command that runs pytest.
        path: The working directory.
        before: A function to call in the new process.
    """
    pipe = subprocess.PIPE
    with machine.started(
        command,
        path,
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.STDOUT,
        preexec_fn=before,
    ) as session:
        output, _ = session.process.communicate(timeout=3 * machine.PATIENCE)
        machine.wait_until(lambda: not session.processes(), "the end of all")
    return session.process.returncode, output


@both_ways
@pytest.mark.parametrize("what", list(WORKING))
def test_working(suite: Path, way: str, what: str) -> None:
    """
    Where the plugin does not need what is damaged, all tests pass, isolated.
    """
    code, output = run(changed(way, WORKING[what]), suite)
    assert re.search("^=+ 3 passed in", output, re.MULTILINE), output
    assert code == 0


@both_ways
def test_full_basetemp(suite: Path, way: str) -> None:
    """
    A test that runs out of space fails with its own error, and the next one runs.
    """
    (suite / "test_room.py").write_text(
        """
def test_room(tmp_path):
    (tmp_path / "file").write_text("x" * 100_000)

def test_next(): pass
"""
    )
    script = "mount -t tmpfs -o size=64k none tmp"
    options = ("test_room.py", "--basetemp=tmp/base")
    code, output = run(changed(way, script, *options), suite)
    assert "OSError: [Errno 28] No space left on device" in output
    assert re.search("^=+ 1 failed, 1 passed in", output, re.MULTILINE), output
    assert code == 1


@both_ways
def test_no_sysctl(suite: Path, way: str) -> None:
    """
    Without /proc/sys root is isolated, and others are refused because /proc is masked.
    """
    code, output = run(changed(way, "mount -t tmpfs none /proc/sys"), suite)
    if re.search("^=+ 3 passed in", output, re.MULTILINE):
        assert code == 0
        return
    assert re.search("^=+ 3 errors in", output, re.MULTILINE), output
    assert code == 1
    for name in (r"test_it\[0\]", "3 tests"):
        lines = (
            rf"^cannot isolate {name}: mount\(proc, /proc\) failed: "
            r"EPERM\nwhy: parts of /proc are masked \(/proc/sys[;)].*\nfix: .+"
        )
        assert re.search(lines, output, re.MULTILINE), output


@both_ways
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_streams(suite: Path, way: str, closed: tuple[int, ...]) -> None:
    """
    A closed stdin does no harm, and a closed stdout or stderr ends pytest as plain.
    """

    def close() -> None:
        """
        Close the streams.
        """
        for fd in closed:
            os.close(fd)

    seen = suite / "seen.xml"
    command = pytest_command(WAYS[way], f"--junitxml={seen}")
    code, output = run(command, suite, close)
    if closed == (0,):
        assert re.search("^=+ 3 passed in", output, re.MULTILINE), output
        assert code == 0
        return
    written = seen.exists()
    seen.unlink(missing_ok=True)
    command.remove("--nsisolate")
    plain, _ = run([*command, "-p", "no:nsisolate"], suite, close)
    assert (code, written) == (plain, seen.exists())
