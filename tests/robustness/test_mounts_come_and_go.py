"""
Mounts and directories of the host that come and go while a sandbox is made or in use.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from ways import GAIN, KEEP, PLAIN, WAYS, cannot, is_capable

#: A mount namespace in which the host mounts and unmounts; what is in it sees that.
SHARED = ("unshare", "--mount", "--propagation", "shared")

#: Arranges directories as init does, in the second of two processes. The first is the
#: host, and changes something at the moment that the second is about to make a call.
ARRANGE = """
import errno
import os
import subprocess
import sys
from pathlib import Path

from pytest_nsisolate.launcher import directories, mounts
from pytest_nsisolate.linux import namespaces, syscalls

way, place, call, change = sys.argv[1:]
asked, ask = os.pipe()
answer, done = os.pipe()
if os.fork():
    os.close(ask)
    if os.read(asked, 1):
        subprocess.run(["sh", "-ec", change], cwd=place, check=True)
    os.close(done)
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
os.close(done)

made = syscalls if hasattr(syscalls, call) else os
real = getattr(made, call)

def changing(*args, **keywords):
    if f"{place}/it" in args:
        setattr(made, call, real)
        os.write(ask, b"y")
        # It ends when that is done.
        os.read(answer, 1)
    return real(*args, **keywords)

setattr(made, call, changing)
if way == "keep":
    syscalls.unshare(namespaces.USER.flag)
    Path("/proc/self/setgroups").write_text("deny")
    for name in ("uid_map", "gid_map"):
        Path("/proc/self", name).write_text("0 0 1")
syscalls.unshare(namespaces.MNT.flag)
mounts.detach_mounts()
nothing = dict.fromkeys(["tmpfs", "overlay_size", "readonly"])
directories.arrange({**nothing, "overlay": True, "kept": (), "written": ()})
assert getattr(made, call) is real, "the call was not made"
for name in ("beside", "it"):
    try:
        Path(place, name, "new").touch()
        print("written")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""

MOUNTED = "mount -t tmpfs none it"
UNMOUNTED = "umount it && rmdir it"
#: In a user namespace, each directory with mounts below is looked into.
BELOW = "mkdir it/m && mount -t tmpfs none it/m"

#: What the host has done before, the call before which it does what, and what becomes
#: of a write there.
CHANGES = {
    (PLAIN, "unmounted before the copy"): (MOUNTED, "clone_tree", UNMOUNTED, "ENOENT"),
    (PLAIN, "unmounted later"): (MOUNTED, "attach_mount", UNMOUNTED, "ENOENT"),
    (PLAIN, "looked at"): (MOUNTED, "stat", UNMOUNTED, "ENOENT"),
    (KEEP, "removed before the look"): (
        *(BELOW, "scandir"),
        *("umount it/m && rmdir it/m it", "ENOENT"),
    ),
    (KEEP, "removed before the copy"): (":", "clone_tree", "rmdir it", "ENOENT"),
    (KEEP, "removed later"): (":", "attach_mount", "rmdir it", "ENOENT"),
    (KEEP, "mounted"): (":", "clone_tree", BELOW, "written"),
    (KEEP, "unmounted"): (MOUNTED, "clone_tree", "umount it", "written"),
}


@pytest.mark.parametrize(
    ("way", "case"), [pytest.param(*one, id="-".join(one)) for one in CHANGES]
)
def test_while_overlays_are_made(
    pytester: pytest.Pytester, way: str, case: str
) -> None:
    """
    What is gone meanwhile is left out, and stops no sandbox. Nor does a new mount.
    """
    before, call, change, expected = CHANGES[way, case]
    for name in ("it", "beside", "other"):
        pytester.mkdir(name)
    # With a mount in it, the directory is looked into.
    begin = f'mount -t tmpfs none other\n{before}\nexec "$@"'
    result = pytester.run(
        *([] if is_capable() else GAIN.split()),
        *(*SHARED, "sh", "-ec", begin, "sh", sys.executable, "-c", ARRANGE),
        *(way, pytester.path, call, change),
        timeout=60,
    )
    assert result.ret == 0
    assert result.outlines == ["written", expected]
    assert not (pytester.path / "beside" / "new").exists()


#: The host mounts during the test what is in a peer group that was there before, and
#: unmounts one between the audit and the look of the supervisor at its own mounts.
IN_USE = """
import subprocess

import pytest
from pytest_nsisolate.sandbox import sandbox

BOTH = ("one", "other")
real = sandbox.mounts

def unmounted():
    subprocess.run(["umount", BOTH[0]], check=False)
    return real()

sandbox.mounts = unmounted

@pytest.mark.isolated(leaks="fail")
def test_it(on_host):
    for name in BOTH:
        command = ["mount", "--bind", "source", name]
        assert on_host(f"__import__('subprocess').run({command}).returncode") == 0
    with open("/proc/self/mountinfo") as file:
        assert {"one", "other"} <= {line.split()[4].split("/")[-1] for line in file}
"""


@pytest.mark.usefixtures("view_of_host")
def test_while_in_use(pytester: pytest.Pytester) -> None:
    """
    What the host has mounted is no leak of the test, even if it has unmounted it again.
    """
    pytester.makepyfile(test_it=IN_USE)
    for name in ("source", "one", "other"):
        pytester.mkdir(name)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_it.py"]
    gain = [] if is_capable() else GAIN.split()
    result = pytester.run(*gain, *SHARED, *command, timeout=60)
    result.assert_outcomes(passed=1)
    assert result.ret == 0


#: Mounts a directory as a file system in user space of somebody else, or of one whose
#: server has ended; then runs a command.
FUSE = """
import ctypes
import os
import sys

path, uid, *command = sys.argv[1:]
fd = os.open("/dev/fuse", os.O_RDWR)
data = f"fd={fd},rootmode=40000,user_id={uid},group_id=0".encode()
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(b"fuse", path.encode(), b"fuse", 0, data) == 0, ctypes.get_errno()
# There is no server any more. With one, what it serves is still its user's only.
os.close(fd)
try:
    os.stat(path)
except OSError as error:
    print(error, flush=True)
os.execvp(command[0], command)
"""

OVER_FUSE = """
import os
from pathlib import Path

import pytest

@pytest.mark.isolated(overlay=True, leaks="fail")
def test_it():
    Path("new").touch()
    with pytest.raises(OSError):
        os.listdir({fuse!r})
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount for another user")
@pytest.mark.parametrize("way", [PLAIN, KEEP])
@pytest.mark.parametrize(("uid", "why"), [("1", "denied"), ("0", "not connected")])
def test_closed_to_root(
    pytester: pytest.Pytester, tmp_path: Path, way: str, uid: str, why: str
) -> None:
    """
    A mount that not even root may look into, or that is dead, stops no overlay.
    """
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        cannot("there is no /dev/fuse")
    pytester.makepyfile(test_it=OVER_FUSE.format(fuse=str(tmp_path)))
    command = [*WAYS[way], sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    result = pytester.run(
        *("unshare", "--mount", "--propagation", "private"),
        *(sys.executable, "-c", FUSE, str(tmp_path), uid, *command, "test_it.py"),
        timeout=60,
    )
    assert why in result.outlines[0]
    result.assert_outcomes(passed=1)
    assert not (pytester.path / "new").exists()
