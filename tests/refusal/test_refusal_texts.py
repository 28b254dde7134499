"""
Texts that explain a refusal in three lines.
"""

from __future__ import annotations

import errno
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_nsisolate.diagnosis import explain as diagnosis
from pytest_nsisolate.diagnosis import machine as reading
from pytest_nsisolate.model.errors import (
    Explanation,
    NsIsolateError,
    Refused,
    errno_name,
)

APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"
CLONE = "kernel.unprivileged_userns_clone"


def test_three_lines() -> None:
    """
    An explanation is what, why and fix, each on its own line.
    """
    explanation = Explanation(what="cannot do it", why="it is so", fix="do that")
    assert str(explanation) == "cannot do it\nwhy: it is so\nfix: do that"


def test_refused() -> None:
    """
    A refusal names the call, and the errno by its symbol.
    """
    refused = Refused("unshare(CLONE_NEWUSER)", errno.EPERM)
    assert str(refused) == "unshare(CLONE_NEWUSER) failed: EPERM"
    assert isinstance(refused, NsIsolateError)
    assert errno_name(4095) == "errno 4095"


def test_refused_from_os_error() -> None:
    """
    The call that an error carries wins over the one that is assumed.
    """
    with pytest.raises(FileNotFoundError) as caught:
        os.stat("/no/such/file")
    assert str(Refused.from_os_error(caught.value)) == "/no/such/file failed: ENOENT"
    bare = OSError(errno.EAGAIN, "again")
    assert str(Refused.from_os_error(bare, "fork()")) == "fork() failed: EAGAIN"


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """
    Return the files that a diagnosis reads, none yet: no kernel has them all at once.
    """
    files: dict[str, str] = {}
    monkeypatch.setattr(reading, "read", files.get)
    monkeypatch.setattr(reading, "is_there", files.__contains__)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return files


def _sysctl(name: str) -> str:
    """
    Return the file of the sysctl *name*.
    """
    return "/proc/sys/" + name.replace(".", "/")


def _lines(call: str, number: int) -> list[str]:
    """
    Return the explanation of a refusal, line by line.
    """
    return str(diagnosis.explain("isolate test_a", Refused(call, number))).split("\n")


@pytest.mark.parametrize(("name", "bad", "good"), [(APPARMOR, 1, 0), (CLONE, 0, 1)])
def test_forbidden_user_namespaces(
    facts: dict[str, str], name: str, bad: int, good: int
) -> None:
    """
    The sysctl that forbids user namespaces is named with its value.
    """
    facts[_sysctl(name)] = str(bad)
    assert _lines("unshare(CLONE_NEWUSER)", errno.EPERM) == [
        "cannot isolate test_a: unshare(CLONE_NEWUSER) failed: EPERM",
        f"why: this kernel forbids unprivileged user namespaces ({name} is {bad})",
        f"fix: sudo sysctl -w {name}={good}, or run as root",
    ]


def test_limit_of_zero(facts: dict[str, str]) -> None:
    """
    A limit of zero namespaces is named.
    """
    facts.update({_sysctl(f"user.max_{kind}_namespaces"): "9" for kind in ("pid",)})
    facts[_sysctl("user.max_user_namespaces")] = "0"
    assert _lines("unshare(CLONE_NEWUSER)", errno.ENOSPC) == [
        "cannot isolate test_a: unshare(CLONE_NEWUSER) failed: ENOSPC",
        (
            "why: this system forbids one kind of namespace "
            "(user.max_user_namespaces is 0)"
        ),
        "fix: sudo sysctl -w user.max_user_namespaces=10000",
    ]


def test_limit_reached(facts: dict[str, str]) -> None:
    """
    Where no limit is zero, all of them are shown.
    """
    kinds = ("user", "pid", "ipc", "uts", "mnt")
    facts.update({_sysctl(f"user.max_{kind}_namespaces"): "9" for kind in kinds})
    values = ", ".join(f"user.max_{kind}_namespaces is 9" for kind in kinds)
    assert _lines("unshare(CLONE_NEWUSER)", errno.EUSERS) == [
        "cannot isolate test_a: unshare(CLONE_NEWUSER) failed: EUSERS",
        f"why: there are too many namespaces, or more than 32 are nested ({values})",
        (
            "fix: sudo sysctl -w user.max_user_namespaces=100000 (and the "
            "others likewise), or run pytest outside this container"
        ),
    ]


def test_unmappable_root(
    facts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Root without CAP_SETFCAP is told that it cannot be mapped.
    """
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    facts["/proc/self/status"] = "Name:\tx\nCapEff:\t0000000000000001\n"
    assert _lines("write(/proc/self/uid_map)", errno.EPERM) == [
        "cannot isolate test_a: write(/proc/self/uid_map) failed: EPERM",
        (
            "why: pytest is uid 0 without CAP_SETFCAP, so its uid cannot be mapped "
            "(user_namespaces(7), since Linux 5.12)"
        ),
        (
            "fix: give pytest CAP_SETFCAP, for instance by bwrap --cap-add "
            "CAP_SETFCAP, or run it as a user other than root"
        ),
    ]


def test_process_limit() -> None:
    """
    The limit on processes is named with its value.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    shown = "unlimited" if soft == resource.RLIM_INFINITY else soft
    assert _lines("fork()", errno.EAGAIN) == [
        "cannot isolate test_a: fork() failed: EAGAIN",
        f"why: no more processes can be started (RLIMIT_NPROC is {shown})",
        "fix: sudo prlimit --nproc=unlimited --pid $$, or end processes of this user",
    ]


@pytest.mark.parametrize(
    ("soft", "hard", "fix"),
    [
        (300, 2000, "ulimit -S -n 1024"),
        (1500, 3000, "ulimit -S -n 3000"),
        (300, 1000, "sudo prlimit --nofile=1024 --pid $$"),
    ],
)
def test_descriptor_limit(soft: int, hard: int, fix: str) -> None:
    """
    The limit on descriptors is named with its value, and who can raise it.
    """
    lines = (
        "import errno\n"
        "from pytest_nsisolate.diagnosis.explain import explain\n"
        "from pytest_nsisolate.model.errors import Refused\n"
        "print(explain('isolate test_a', Refused('pipe()', errno.EMFILE)))"
    )
    limited = ["prlimit", f"--nofile={soft}:{hard}", sys.executable, "-c", lines]
    shown = subprocess.run(limited, stdout=subprocess.PIPE, text=True, check=True)
    assert shown.stdout.splitlines() == [
        "cannot isolate test_a: pipe() failed: EMFILE",
        f"why: no more descriptors can be opened (RLIMIT_NOFILE is {soft})",
        f"fix: {fix}",
    ]


def test_lost_directory() -> None:
    """
    A working directory that does not exist inside is named, with a way out.
    """
    assert _lines("chdir(/dev/shm/x)", errno.ENOENT) == [
        "cannot isolate test_a: chdir(/dev/shm/x) failed: ENOENT",
        (
            "why: the working directory cannot be reached in the sandbox, which "
            "has its own /proc, /dev/shm and /dev/mqueue"
        ),
        "fix: cd to a directory outside of these and run pytest there",
    ]


def test_old_kernel() -> None:
    """
    A kernel whose setns() takes no pidfd is named with its version.
    """
    assert _lines("setns(pidfd, CLONE_NEWPID)", errno.EINVAL)[1:] == [
        (
            f"why: this kernel is {platform.release()}; setns() with a pidfd needs "
            "Linux 5.8 or later"
        ),
        "fix: boot Linux 5.8 or later, or pass --nsisolate-unavailable=skip",
    ]


def test_not_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On another system, that system is named.
    """
    monkeypatch.setattr(sys, "platform", "darwin")
    assert _lines("namespaces on darwin", errno.ENOSYS) == [
        "cannot isolate test_a: namespaces on darwin failed: ENOSYS",
        "why: namespaces are a Linux feature, and this is darwin",
        "fix: run the tests on Linux, or pass --nsisolate-unavailable=skip",
    ]


def test_unknown() -> None:
    """
    Where the cause is unknown, the text says which facts were checked.
    """
    what, why, fix = _lines("sethostname()", errno.EIO)
    assert what == "cannot isolate test_a: sethostname() failed: EIO"
    status = Path("/proc/self/status").read_text()
    capabilities = status.partition("CapEff:")[2].split()[0]
    limit = Path("/proc/sys/user/max_user_namespaces").read_text().strip()
    assert why.startswith(
        f"why: unknown; checked uid {os.geteuid()}, CapEff {capabilities}, Seccomp "
    )
    assert why.endswith(
        f"kernel {platform.release()}, user.max_user_namespaces {limit}"
    )
    assert fix == (
        "fix: strace -f -o trace.txt python -m pytest, and read the call in trace.txt"
    )
