"""
A /proc that is missing, or that shows other processes: a true reason, a fix that works.
"""

from __future__ import annotations

import re
import sys

import pytest
from mounts import MASK, NEW_ROOT, SPACE, changed
from ways import KEEP, LOSE, PLAIN, WAYS

pytestmark = pytest.mark.faults

TEST = """
import pytest

@pytest.mark.isolated
def test_it(): pass
"""

FIX = (
    "sudo mount -t proc proc /proc, or start the sandbox that pytest is in with a "
    "/proc, as bwrap --proc /proc does"
)

#: Leaves an empty directory in the place of /proc.
HIDE = "mount -t tmpfs none /proc"

#: Leaves no directory /proc, but a procfs elsewhere, without which not even root of a
#: user namespace can mount another one.
REMOVE = """
mkdir /kept
mount --rbind /proc /kept
umount --lazy /proc
rmdir /proc
"""

#: Mounts a /proc that shows a PID namespace below pytest's own.
OTHERS = "unshare --pid --fork --kill-child mount -t proc proc /proc"

RUN = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]


def typed(fix: str) -> str:
    """
    Return the command of the line *fix*, for a shell of root: the part with sudo.
    """
    command = fix.removeprefix("fix: ").partition(", or ")[0]
    assert command.startswith("sudo ")
    return re.sub("(^|&& )sudo ", r"\1", command)


def fix_of(result: pytest.RunResult) -> str:
    """
    Return the line ``fix:`` of the only refusal.
    """
    (fix,) = {line for line in result.outlines if line.startswith("fix: ")}
    return fix


@pytest.mark.parametrize(
    ("make", "state"),
    [
        (HIDE, "no procfs is mounted at /proc (/proc/self does not exist)"),
        (OTHERS, "/proc shows a PID namespace that pytest is not in"),
    ],
    ids=["none", "others"],
)
def test_not_of_pytest(pytester: pytest.Pytester, make: str, state: str) -> None:
    """
    Where /proc does not show pytest and a user namespace is needed, the text says so.
    """
    pytester.makepyfile(TEST)

    result = pytester.run(*changed(KEEP, make), timeout=60)
    fixed = f"{make}; {typed(fix_of(result))}"
    again = pytester.run(*changed(KEEP, fixed), timeout=60)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: write(/proc/self/uid_map) failed: ENOENT",
            (
                f"why: {state}, and the ids of a user namespace are written to a file "
                "there"
            ),
            f"fix: {FIX}",
        ]
    )
    again.assert_outcomes(passed=1)


@pytest.mark.parametrize("way", list(WAYS))
def test_no_directory(
    pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory, way: str
) -> None:
    """
    A root directory without /proc is named, with both commands that it takes.
    """
    pytester.makepyfile(TEST)
    place = str(tmp_path_factory.mktemp("tree"))
    lose = LOSE.split() if way == KEEP else []

    def run(before: str) -> pytest.RunResult:
        """
        Run the test in the tree, after *before*.
        """
        script = f'{NEW_ROOT}{REMOVE}\n{before}\nexec "$@"'
        space = ["unshare", "--mount", "sh", "-ec", script, place, *lose]
        return pytester.run(*WAYS[PLAIN], *space, *RUN, timeout=60)

    result = run("")
    again = run(typed(fix_of(result)))

    result.assert_outcomes(errors=1)
    need = "and so a fresh one has no place"
    if way == KEEP:
        need = "and the ids of a user namespace are written to a file there"
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: * failed: ENOENT",
            f"why: there is no directory /proc, {need}",
            f"fix: sudo mkdir /proc && {FIX}",
        ]
    )
    again.assert_outcomes(passed=1)


def test_none_to_copy(
    pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """
    In a user namespace that has no /proc, root is told that none can be made there.
    """
    pytester.makepyfile(TEST)
    place = str(tmp_path_factory.mktemp("tree"))
    space = [*SPACE, "--pid", "--fork", "--kill-child"]
    # A procfs of another program, somewhere else, is to be no help.
    mask = [*SPACE, "sh", "-ec", MASK, "sh"]

    def run(before: list[str], last: str) -> pytest.RunResult:
        """
        Run the test in a tree, entered after *before*, in which *last* was done.
        """
        tree = ["sh", "-ec", f'{NEW_ROOT}{last}\nexec "$@"', place]
        return pytester.run(*before, *space, *tree, *RUN, timeout=60)

    result = run(mask, "umount --lazy /proc")
    # What bwrap --proc does.
    again = run([], "mount -t proc proc /proc")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: mount(proc, /proc) failed: EPERM",
            (
                "why: no procfs is mounted at /proc (/proc/self does not exist), and "
                "in a user namespace the kernel allows a fresh /proc only where there "
                "is one already (mount_namespaces(7))"
            ),
            (
                "fix: start the sandbox that pytest is in with a /proc, as bwrap "
                "--proc /proc does"
            ),
        ]
    )
    again.assert_outcomes(passed=1)
