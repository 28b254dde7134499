"""
Too little for all the lanes that were asked for: fewer tests run side by side.

No test fails of that, and a warning says it once.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import machine
import pytest
from users import AS_NOBODY, is_exempt
from ways import WAYS, WITHOUT_NET

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("nothing_left")]

#: Tests, of which as many as there are jobs meet, as long as there is room.
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(20))
def test_it(number, tmp_path):
    (tmp_path / "file").write_text("text")
"""

#: Runs a command in a user namespace in which it is the only process, so that others of
#: the same user do not count.
ONLY = ["unshare", "--user", "--map-current-user"]


def warnings_of(output: str) -> list[tuple[str, ...]]:
    """
    Return the three lines of each warning about jobs in *output*.
    """
    lines = r"JobsWarning: (.+)\n +why: (.+)\n +fix: (.+)"
    return re.findall(lines, output)


def run(
    path: Path, prefix: Sequence[str], *options: str, jobs: int = 8, text: str = TESTS
) -> str:
    """
    Return the output of a session with *jobs* jobs in *path* behind *prefix*.
    """
    (path / "test_inside.py").write_text(text)
    (path / "pytest.ini").write_text("[pytest]\n")
    command = [
        *(*prefix, sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
        *("--nsisolate", f"--nsisolate-jobs={jobs}", *options),
    ]
    pipe = subprocess.PIPE
    with machine.started(
        command, path, stdout=pipe, stderr=subprocess.STDOUT
    ) as session:
        output, _ = session.process.communicate(timeout=3 * machine.PATIENCE)
    return str(output)


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize(("limit", "jobs"), [(128, range(2, 5)), (60, [1])])
def test_descriptors(
    pytester: pytest.Pytester, way: str, limit: int, jobs: Sequence[int]
) -> None:
    """
    With a low limit on open files, as many lanes are made as leave enough to others.
    """
    prefix = [*WAYS[way], "prlimit", f"--nofile={limit}"]

    output = run(pytester.path, prefix)

    assert re.search(r"^=+ 20 passed, 1 warning in", output, re.MULTILINE), output
    ((what, why, fix),) = warnings_of(output)
    number = int(re.findall(r"jobs=(\d+)", fix)[0])
    assert number in jobs
    more = f"more than {number} tests" if number > 1 else "tests"
    assert what == f"cannot run {more} side by side: too few descriptors are left"
    assert re.fullmatch(
        rf"RLIMIT_NOFILE is {limit}, the lowest free descriptor of pytest is \d+, 64 "
        "are left to fixtures and plugins, and each test takes 10",
        why,
    )
    assert re.fullmatch(
        rf"--nsisolate-jobs={number}, or sudo prlimit --nofile=\d+ --pid \$\$", fix
    )


@pytest.mark.parametrize("way", list(WAYS))
def test_descriptors_of_a_fixture(pytester: pytest.Pytester, way: str) -> None:
    """
    If a borrowed fixture takes what the lanes would need, they make way for its tests.
    """
    text = """
import os
import pytest

@pytest.fixture(scope="module")
def full():
    fds = []
    try:
        while True:
            fds.append(os.dup(0))
    except OSError:
        pass
    # Those that two guests take.
    for _ in range(25):
        os.close(fds.pop())
    yield
    for fd in fds:
        os.close(fd)

@pytest.mark.parametrize("number", range(10))
def test_before(number): pass

@pytest.mark.parametrize("number", range(10))
def test_it(full, number): pass
"""
    output = run(pytester.path, [*WAYS[way], "prlimit", "--nofile=250"], text=text)

    assert re.search(r"^=+ 20 passed, 1 warning in", output, re.MULTILINE), output
    ((what, why, fix),) = warnings_of(output)
    assert re.fullmatch(
        r"cannot run .*tests side by side: \S+\(\).* failed: EMFILE", what
    )
    assert re.fullmatch(
        r"no more descriptors can be opened \(RLIMIT_NOFILE is 250\)", why
    )
    assert re.fullmatch(
        r"--nsisolate-jobs=\d, or sudo prlimit --nofile=1024 --pid \$\$", fix
    )


@pytest.fixture
def shared(temporary: Path) -> Iterator[Path]:
    """
    Provide a directory that any user may write to.
    """
    path = temporary / "shared"
    for one in (temporary, path):
        one.mkdir(exist_ok=True)
        one.chmod(0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def crowded(shared: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    Return what runs a command by itself, as a user whose processes a limit counts.
    """
    prefix = ONLY
    if is_exempt(ONLY):
        monkeypatch.chdir(shared)
        prefix = [*AS_NOBODY, *ONLY]
        look = [*prefix, sys.executable, "-c", "import pytest, pytest_nsisolate.plugin"]
        if subprocess.run(look, capture_output=True, check=False).returncode:
            pytest.skip("the lane of users without privilege tests this")
    return prefix


@pytest.mark.parametrize("number", [12, 14, 16, 18])
def test_processes(shared: Path, crowded: list[str], number: int) -> None:
    """
    With few processes, no more tests run at the same time than can be forked.
    """
    output = run(shared, [*crowded, "prlimit", f"--nproc={number}"])

    assert re.search(r"^=+ 20 passed, 1 warning in", output, re.MULTILINE), output
    ((what, why, fix),) = warnings_of(output)
    assert re.fullmatch(
        r"cannot run .*tests side by side: (fork|clone)\(\) failed: EAGAIN",
        what,
    )
    assert why == f"no more processes can be started (RLIMIT_NPROC is {number})"
    assert re.fullmatch(
        r"--nsisolate-jobs=\d, or sudo prlimit --nproc=unlimited --pid \$\$, or end "
        "processes of this user",
        fix,
    )


def test_as_an_error(pytester: pytest.Pytester) -> None:
    """
    The warning is no error, whatever filters say; a filter may leave it out.
    """
    few = ["prlimit", "--nofile=60"]

    error = run(pytester.path, few, "-W", "error")
    silent = run(pytester.path, few, "-W", "ignore::pytest_nsisolate.JobsWarning")

    assert re.search(r"^=+ 20 passed, 1 warning in", error, re.MULTILINE), error
    assert re.search(r"^=+ 20 passed in", silent, re.MULTILINE), silent


def test_namespaces(pytester: pytest.Pytester) -> None:
    """
    A sandbox that is refused only beside others is made when it is its test's turn.
    """
    few = [
        part.replace(
            "echo 0 > /proc/sys/user/max_net", "echo 5 > /proc/sys/user/max_uts"
        )
        for part in WITHOUT_NET
    ]
    output = run(pytester.path, few)

    assert re.search(r"^=+ 20 passed, 1 warning in", output, re.MULTILINE), output
    ((what, why, _),) = warnings_of(output)
    assert re.fullmatch(
        r"cannot run .*tests side by side: unshare\(.*\) failed: ENOSPC", what
    )
    assert "the limits of the namespaces above it count too" in why


def test_refused_alone_too(pytester: pytest.Pytester) -> None:
    """
    A sandbox that is refused alone too has the error of its test, and no warning.
    """
    text = (
        TESTS
        + """
@pytest.mark.isolated(net=True)
def test_refused(): pass

@pytest.mark.parametrize("number", range(20))
def test_later(number): pass
"""
    )
    output = run(pytester.path, WITHOUT_NET, text=text)

    assert re.search(r"^=+ 40 passed, 1 error in", output, re.MULTILINE), output
    assert "cannot isolate test_refused: " in output
    assert warnings_of(output) == []
