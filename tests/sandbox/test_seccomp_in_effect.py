"""
The seccomp profile in effect: what Docker's default refuses can be done with it.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

import pytest
from seccomp import PROFILE
from ways import KEEP, WAYS

from pytest_nsisolate.seccomp import profile

pytestmark = pytest.mark.faults

TESTS = """
import os
import socket
import subprocess
import pytest

@pytest.mark.isolated(hostname="t1", domainname="lab", net=True, tmpfs=["/var/tmp"])
def test_it():
    assert socket.gethostname() == "t1"

@pytest.mark.isolated(user="root")
def test_programs():
    spaces = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    subprocess.run(["unshare", *spaces, "true"], check=True)
    script = "mount -t tmpfs none /var/tmp && umount /var/tmp"
    subprocess.run(["sh", "-c", script], check=True)

def test_box(sandbox_factory):
    box = sandbox_factory(hostname="b", user="root")
    assert box.run(socket.gethostname) == "b"
    with box.popen(["cat", "/proc/sys/kernel/hostname"], stdout=-1) as process:
        assert process.stdout.read() == b"b\\n"
"""

LINK = """
import socket

def test_link(sandbox_factory):
    boxes = [sandbox_factory(net=True) for _ in range(2)]
    address = sandbox_factory.link(*boxes).address(boxes[0])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    boxes[0].run(lambda: socket.socket(family).bind((address, 0)))
"""

#: Makes each call with arguments that the kernel refuses for another reason than a
#: filter does. Root of a user namespace has the capabilities that it checks first.
WRONG = """
import ctypes
import errno
import pytest

CALLS = {calls}

@pytest.mark.isolated(user="root")
def test_it():
    libc = ctypes.CDLL(None, use_errno=True)
    resolve = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name
    wrong = [ctypes.c_long(-1)] * 5
    answers = {{}}
    for call in CALLS:
        number = resolve(call.encode())
        assert libc.syscall(ctypes.c_long(number), *wrong) == -1, call
        answers[call] = errno.errorcode[ctypes.get_errno()]
    assert "EPERM" not in answers.values(), answers
    # Docker's default answers that to make the C library use clone(2).
    assert answers["clone3"] != "ENOSYS"
"""

#: The calls without which a test, or a program that it runs, could not have namespaces
#: and mounts of its own.
CALLS = ["clone", "clone3", "mount", "pivot_root", "setdomainname", "sethostname"]
CALLS += ["setns", "umount2", "unshare"]
#: And what mount(8) does it with.
CALLS += ["fsconfig", "fsmount", "fsopen", "fspick", "mount_setattr", "move_mount"]
CALLS += ["open_tree"]

RUN = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]


@pytest.fixture
def under(pytester: pytest.Pytester) -> list[str]:
    """
    Return the command that runs another one, without CAP_SYS_ADMIN, under the profile.
    """
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        pytest.skip(f"libseccomp makes the filter: {error}")
    script = pytester.makepyfile(under=PROFILE)
    Path("profile.json").write_text(profile.text())
    return [*WAYS[KEEP], sys.executable, str(script), "profile.json"]


def test_profile(pytester: pytest.Pytester, under: list[str]) -> None:
    """
    Tests, boxes and the programs in them have namespaces and mounts of their own.
    """
    pytester.makepyfile(TESTS)

    result = pytester.run(*under, *RUN, timeout=60)

    result.assert_outcomes(passed=3)


def test_link(pytester: pytest.Pytester, under: list[str]) -> None:
    """
    Boxes can be linked.
    """
    pytest.importorskip("pyroute2")
    pytester.makepyfile(LINK)

    result = pytester.run(*under, *RUN, timeout=60)

    result.assert_outcomes(passed=1)


def test_each_call(pytester: pytest.Pytester, under: list[str]) -> None:
    """
    The kernel answers each of the further calls, and not the filter.
    """
    pytester.makepyfile(WRONG.format(calls=CALLS))

    result = pytester.run(*under, *RUN, timeout=60)

    result.assert_outcomes(passed=1)
    assert sorted(CALLS) == sorted(profile.CALLS)


@pytest.mark.parametrize("left_out", ["unshare", "mount", "setns", "sethostname"])
def test_without_a_call(
    pytester: pytest.Pytester, under: list[str], left_out: str
) -> None:
    """
    Without one of the calls, isolation is refused, and the text blames the filter.
    """
    calls = [one for one in profile.CALLS if one != left_out]
    docker = json.loads(profile._DOCKER.read_text("utf-8"))
    Path("profile.json").write_text(json.dumps(profile.allowing(docker, calls)))
    pytester.makepyfile(TESTS)

    result = pytester.run(*under, *RUN, "-k", "test_it", timeout=60)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            f"cannot isolate test_it: {left_out}(*) failed: EPERM",
            "why: *a seccomp filter*Seccomp is 2 in /proc/self/status*",
        ]
    )
