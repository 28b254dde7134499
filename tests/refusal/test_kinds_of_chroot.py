"""
A chroot, as package builds use it: works as root, and is named as the reason if not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from examination import DOCTOR, examine, refused
from ways import KEEP, LOSE, PLAIN, WAYS

pytestmark = pytest.mark.faults

#: Enters a tree that has the directories of the host. By its arguments: the tree, a
#: command that is run before the chroot, the command inside.
CHROOT = """
for path in /*; do
    if [ -L "$path" ]; then cp -P "$path" "$1"
    elif [ -d "$path" ]; then
        mkdir "$1$path" && mount --rbind "$path" "$1$path"
    fi
done
tree=$1 here=$PWD before=$2
shift 2
eval "$before"
# Not chroot(8), since Debian's users do not have /usr/sbin in their PATH.
unshare --root="$tree" sh -c 'cd "$0" && exec "$@"' "$here" "$@"
exit $?
"""

#: What is run before the chroot, by whether its root is then a mount point.
BEFORE = {"directory": "true", "mount": "mount --rbind $tree $tree"}

TESTS = """
import os
import socket
from pathlib import Path
import pytest

HERE = os.getcwd()
ROOT = os.stat("/")

def check():
    assert os.getcwd() == HERE
    assert os.path.samestat(os.stat("/"), ROOT)
    assert os.readlink("/proc/self") == str(os.getpid())
    assert not os.listdir("/dev/shm")

@pytest.mark.isolated(hostname="t1", net=True)
def test_it():
    check()
    assert os.path.samestat(os.stat("/proc/1/root"), ROOT)

@pytest.mark.isolated(tmpfs=["/var/tmp"])
def test_fresh():
    check()
    assert not os.listdir("/var/tmp")

def test_box(sandbox_factory):
    box = sandbox_factory(hostname="b")
    box.run(check)
    assert box.popen(["cat", "test_chroot.py"], stdout=-1).communicate()[0]

@pytest.mark.isolated
def test_nested(sandbox_factory):
    assert sandbox_factory(hostname="b").run(socket.gethostname) == "b"
"""


#: Returns the command that enters a tree: see `chroot`.
Chroot = Callable[..., list[str]]


@pytest.fixture
def chroot(tmp_path_factory: pytest.TempPathFactory) -> Chroot:
    """
    Return what enters a tree, whose root is what the argument says, as root.
    """

    def command(root: str, before: str = "true") -> list[str]:
        """
        Return the command.

        Args:
            root: A key of `BEFORE`.
            before: What to do before anything else.
        """
        tree = tmp_path_factory.mktemp("tree")
        script = f"{before}\n{CHROOT}"
        # Process 1 stays outside the tree, for everyone to see its root.
        space = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-ec",
        ]
        return [*WAYS[PLAIN], *space, script, "sh", str(tree), BEFORE[root]]

    return command


RUN = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rsx"]


@pytest.mark.parametrize("root", list(BEFORE))
def test_as_root(pytester: pytest.Pytester, chroot: Chroot, root: str) -> None:
    """
    Root isolates tests in a chroot, whether or not its root is a mount point.
    """
    pytester.makepyfile(test_chroot=TESTS)

    result = pytester.run(*chroot(root), *RUN, timeout=60)

    result.assert_outcomes(passed=4)


@pytest.mark.parametrize("root", list(BEFORE))
def test_mounts_stay_inside(
    pytester: pytest.Pytester, chroot: Chroot, root: str
) -> None:
    """
    No mount of a sandbox in a chroot reaches the tree outside, nor an unmount.
    """
    pytester.makepyfile(
        """
        from pathlib import Path
        import pytest

        def mounts():
            lines = Path("/proc/self/mountinfo").read_text().splitlines()
            return sorted(line.split()[4] for line in lines)

        BEFORE = mounts()

        @pytest.mark.isolated(tmpfs=["/var/tmp"])
        def test_inside():
            assert mounts().count("/proc") > BEFORE.count("/proc")
            assert "/var/tmp" in mounts()

        def test_outside():
            assert mounts() == BEFORE
        """
    )
    enter = chroot(root, "mount --make-rshared /")

    result = pytester.run(*enter, *RUN, timeout=60)

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("root", "sign"),
    [
        ("directory", "/proc/self/mountinfo has no mount at /"),
        ("mount", "/proc/1/root is not the same directory as /"),
    ],
)
def test_as_user(
    pytester: pytest.Pytester, chroot: Chroot, root: str, sign: str
) -> None:
    """
    Others than root are told that the kernel refuses user namespaces in a chroot.
    """
    pytester.makepyfile(test_chroot=TESTS)

    result = pytester.run(
        *chroot(root), *LOSE.split(), *RUN, "-k", "test_it", timeout=60
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: unshare(CLONE_NEWUSER) failed: EPERM",
            (
                f"why: pytest is in a chroot ({sign}), where the kernel refuses to "
                "make a user namespace (unshare(2))"
            ),
            (
                "fix: run pytest outside the chroot, or as root with all capabilities, "
                "or enter the tree with systemd-nspawn instead of chroot"
            ),
        ]
    )


@pytest.mark.parametrize(
    ("inside", "state"),
    [
        # Without CAP_SYS_PTRACE, it cannot look at a process with more capabilities.
        (LOSE.replace("-sys_admin", "-sys_admin,-sys_ptrace"), "cannot be read"),
        (f"unshare --mount {LOSE}", "is in another mount namespace"),
    ],
)
def test_unknown(
    pytester: pytest.Pytester, chroot: Chroot, inside: str, state: str
) -> None:
    """
    Where nothing tells a chroot, the text says so, with "perhaps".
    """
    enter = [*chroot("mount"), *inside.split()]

    found = examine(pytester, *enter, *DOCTOR, "--json")

    assert found["status"] == 1
    assert found["facts"]["privileges"]["chroot"] == "none found"
    assert refused(found, KEEP)["user"] == "EPERM"
    (line,) = (one for one in found["refusals"] if "chroot" in one["why"])
    assert line["why"] == (
        "perhaps pytest is in a chroot, where the kernel refuses to make a user "
        f"namespace (unshare(2)): /proc/1/root, which would tell, {state}, and no "
        "other known cause applies"
    )


def test_doctor(pytester: pytest.Pytester, chroot: Chroot) -> None:
    """
    The doctor tells root in a chroot that tests can be isolated, and others why not.
    """
    sign = "/proc/self/mountinfo has no mount at /"

    found = examine(pytester, *chroot("directory"), *DOCTOR, "--json")

    assert found["status"] == 0
    assert found["facts"]["privileges"]["chroot"] == sign
    assert refused(found, PLAIN) == {}
    whys = [one["why"] for one in found["refusals"]]
    assert any(why.startswith(f"pytest is in a chroot ({sign})") for why in whys)
