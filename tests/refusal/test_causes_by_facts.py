"""
Causes of a refusal that this machine cannot have, found from made-up facts.
"""

from __future__ import annotations

import errno
import os
import platform

import pytest
from reasons import RESTRICTED, Files, lines

from pytest_nsisolate.diagnosis import explain
from pytest_nsisolate.diagnosis.causes import CAUSES


def test_each_cause_has_a_check() -> None:
    """
    Each cause in the table has a check, in the same order.
    """
    assert [cause.name for cause in CAUSES] == list(explain.CHECKS)


def test_a_mount_that_masks_nothing(files: Files) -> None:
    """
    The mount that every desktop has below ``/proc`` is not named as the cause.
    """
    point = "/proc/sys/fs/binfmt_misc"
    files["/proc/self/mountinfo"] = f"1 0 0:1 / {point} rw - autofs none rw"
    assert lines("mount(proc, /proc)", errno.EPERM)[0].startswith("unknown")


def test_restriction_is_not_for_root(files: Files) -> None:
    """
    A limit on unprivileged users is no reason for a process with CAP_SYS_ADMIN.
    """
    files.update({**RESTRICTED, "/proc/self/uid_map": "0 0 4294967295"})
    files["/proc/self/status"] = "CapEff:\t000001ffffffffff\n"
    assert lines("mount(none, /)", errno.EPERM)[0].startswith("unknown")


def test_chroot(files: Files) -> None:
    """
    A chroot is recognised because nothing is mounted at its root.
    """
    files["/proc/self/mountinfo"] = "1 0 0:1 / /proc rw - proc proc rw"
    assert lines("unshare(CLONE_NEWUSER)", errno.EPERM) == [
        (
            "pytest is in a chroot (/proc/self/mountinfo has no mount at /), where the "
            "kernel refuses to make a user namespace (unshare(2))"
        ),
        (
            "run pytest outside the chroot, or as root with all capabilities, or enter "
            "the tree with systemd-nspawn instead of chroot"
        ),
    ]


def test_nested(files: Files) -> None:
    """
    In a user namespace, the limits of the outer ones are named.
    """
    files["/proc/self/uid_map"] = "      1000          0          1"
    options = "--unshare-pid --cap-add CAP_SETFCAP " if os.geteuid() == 0 else ""
    assert lines("unshare(CLONE_NEWUSER)", errno.ENOSPC) == [
        (
            "pytest is already in a user namespace (/proc/self/uid_map is 1000 0 1); "
            "the limits of the namespaces above it count too, and at most 32 can be "
            "nested"
        ),
        (
            f"run pytest outside that sandbox, or run bwrap {options}without "
            "--disable-userns"
        ),
    ]


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("4.4.0", "#1 SMP Sun Jan 10 15:06:54 PST 2016"),
        ("4.19.0-gvisor", "#1 SMP"),
    ],
)
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EFAULT, errno.ENOSPC])
def test_gvisor(
    files: Files,
    monkeypatch: pytest.MonkeyPatch,
    release: str,
    version: str,
    number: int,
) -> None:
    """
    gVisor is recognised by uname, whatever the errno.
    """
    monkeypatch.setattr(platform, "release", lambda: release)
    monkeypatch.setattr(platform, "version", lambda: version)
    assert lines("setns(pidfd, CLONE_NEWPID)", number) == [
        (
            f"this is the kernel of gVisor (uname says {release} {version}), which "
            "lacks some of the namespaces"
        ),
        (
            "run the container with runc instead of runsc, or pass "
            "--nsisolate-unavailable=skip"
        ),
    ]


def test_wsl1(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    WSL 1 is recognised by its release, and WSL 2 counts as Linux.
    """
    monkeypatch.setattr(platform, "release", lambda: "4.4.0-19041-Microsoft")
    assert lines("unshare(CLONE_NEWUSER)", errno.EINVAL) == [
        (
            "this is version 1 of the Windows Subsystem for Linux (uname says "
            "4.4.0-19041-Microsoft), which is not a Linux kernel and lacks these "
            "namespaces"
        ),
        "wsl --set-version DISTRIBUTION 2, in Windows",
    ]
    monkeypatch.setattr(platform, "release", lambda: "5.15.0-microsoft-standard-WSL2")
    assert lines("unshare(CLONE_NEWUSER)", errno.EINVAL)[0].startswith("unknown")


@pytest.mark.parametrize(
    ("enforce", "state"),
    [
        ("1", "is enforcing (/sys/fs/selinux/enforce is 1), pytest runs as {}"),
        (
            None,
            (
                "has pytest run as {} (/proc/self/attr/current), whether it is "
                "enforcing cannot be read"
            ),
        ),
        ("0", None),
    ],
)
def test_selinux(files: Files, enforce: str | None, state: str | None) -> None:
    """
    SELinux is named with "perhaps", and not where it only warns.
    """
    context = "user_u:user_r:user_t:s0"
    files["/proc/self/attr/current"] = context
    if enforce is not None:
        files["/sys/fs/selinux/enforce"] = enforce

    why, fix = lines("unshare(CLONE_NEWUSER)", errno.EACCES)

    if state is None:
        assert why.startswith("unknown; ")
    else:
        text = f"perhaps SELinux: it {state.format(context)}"
        assert why == f"{text}, and no other known cause applies"
        assert fix == (
            "sudo ausearch -m AVC -ts recent, and allow pytest what it shows; see "
            "audit2allow(1)"
        )


def test_other_modules_attribute(files: Files) -> None:
    """
    The profile of AppArmor, which may be in the same file, is not taken for SELinux.
    """
    files["/sys/module/apparmor"] = ""
    files["/proc/self/attr/current"] = "unconfined"
    assert lines("mount(none, /)", errno.EACCES)[0].startswith("unknown")


def test_nothing_can_be_read(files: Files) -> None:
    """
    Where there is no ``/proc`` at all, every reason is still checked.
    """
    for number in (*errno.errorcode, 0):
        why, fix = lines("write(/proc/self/uid_map)", number)
        assert why
        assert fix
    assert os.path.exists("/proc/self/status")


@pytest.mark.parametrize(
    ("cgroup", "place"),
    [
        ("0::/tests.scope", "/sys/fs/cgroup/tests.scope"),
        ("5:cpu:/x\n4:pids:/tests.scope\n0::/", "/sys/fs/cgroup/pids/tests.scope"),
    ],
    ids=["version 2", "version 1"],
)
def test_cgroup_limit(files: Files, cgroup: str, place: str) -> None:
    """
    Of the cgroups with limits, the fullest one is named if one has refused a process.
    """
    files["/proc/self/cgroup"] = cgroup
    files["/proc/self/limits"] = "Max processes  1000  1000  processes"
    outer = os.path.dirname(place)
    files.update({f"{outer}/pids.max": "9000", f"{outer}/pids.current": "600"})
    files.update({f"{place}/pids.max": "500", f"{place}/pids.current": "498"})
    files[f"{place}/pids.events"] = "max 0"
    assert lines("fork()", errno.EAGAIN)[0].endswith("(RLIMIT_NPROC is 1000)")
    files[f"{place}/pids.events"] = "max 3"
    assert lines("fork()", errno.EAGAIN) == [
        (
            f"the cgroup {place} may have 500 processes and threads (pids.max), and "
            "more were asked for (pids.events)"
        ),
        (
            f"echo max | sudo tee {place}/pids.max, or start pytest with a higher "
            "limit: systemd-run -p TasksMax=, docker run --pids-limit"
        ),
    ]
    files[f"{place}/pids.max"] = "max"
    del files[f"{outer}/pids.max"]
    assert lines("fork()", errno.EAGAIN)[0].endswith("(RLIMIT_NPROC is 1000)")
