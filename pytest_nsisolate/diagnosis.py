"""
Why a call was refused: facts that are read, and what to type.
"""

from __future__ import annotations

import errno
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import psutil

from pytest_nsisolate.errors import Explanation, Refused, Unlimited

#: Why and fix, or None where this is not the reason.
_Finding: TypeAlias = "tuple[str, str] | None"

_USERNS_CALLS = ("unshare(CLONE_NEWUSER", "write(/proc/self/", "unshare(CLONE_NEWPID")
_DENIED = (errno.EPERM, errno.EACCES)
_CAP_SETFCAP = 31


def explain(action: str, refused: Refused) -> Explanation:
    """
    Return the three lines on *refused*.

    Args:
        action: What could not be done, ``isolate test_login``.
        refused: The call and its errno.
    """
    if isinstance(refused, Unlimited):
        what = f"cannot {action}: {refused}"
        return Explanation(what=what, why=refused.why, fix=refused.fix)
    for check in _CHECKS:
        finding = check(refused)
        if finding is not None:
            why, fix = finding
            break
    else:
        why = f"not known; looked at {_looked_at()}"
        fix = "strace -f -o trace.txt python -m pytest, and read the call in trace.txt"
    return Explanation(what=f"cannot {action}: {refused}", why=why, fix=fix)


def _not_linux(refused: Refused) -> _Finding:
    if sys.platform == "linux":
        return None
    return (
        f"namespaces are a facility of Linux and this is {sys.platform}",
        "run the tests on Linux, or pass --nsisolate-unavailable=skip",
    )


def _old_kernel(refused: Refused) -> _Finding:
    if refused.number != errno.EINVAL or not refused.call.startswith("setns(pidfd"):
        return None
    return (
        f"this kernel is {platform.release()}; setns() takes a pidfd since Linux 5.8",
        "boot a kernel of version 5.8 or later, or pass --nsisolate-unavailable=skip",
    )


def _apparmor(refused: Refused) -> _Finding:
    name = "kernel.apparmor_restrict_unprivileged_userns"
    if refused.number not in _DENIED or _sysctl(name) != "1":
        return None
    return (
        f"this kernel forbids unprivileged user namespaces ({name} is 1)",
        f"sudo sysctl -w {name}=0, or run as root",
    )


def _userns_clone(refused: Refused) -> _Finding:
    name = "kernel.unprivileged_userns_clone"
    if refused.number != errno.EPERM or _sysctl(name) != "0":
        return None
    return (
        f"this kernel forbids unprivileged user namespaces ({name} is 0)",
        f"sudo sysctl -w {name}=1, or run as root",
    )


def _no_room(refused: Refused) -> _Finding:
    # EUSERS until Linux 4.9. Source: unshare(2), ERRORS.
    if refused.number not in {errno.ENOSPC, errno.EUSERS}:
        return None
    limits = {
        f"user.max_{kind}_namespaces": _sysctl(f"user.max_{kind}_namespaces")
        for kind in ("user", "pid", "ipc", "uts", "mnt")
    }
    zero = [name for name, value in limits.items() if value == "0"]
    if zero:
        return (
            f"this system allows no more namespaces of a kind ({zero[0]} is 0)",
            f"sudo sysctl -w {zero[0]}=10000",
        )
    values = ", ".join(f"{name} is {value}" for name, value in limits.items())
    return (
        f"too many namespaces, or more than 32 nested in each other ({values})",
        "sudo sysctl -w user.max_user_namespaces=100000 (likewise the others), or "
        "leave the container that this runs in",
    )


def _masked_proc(refused: Refused) -> _Finding:
    if refused.number != errno.EPERM or refused.call != "mount(proc, /proc)":
        return None
    masks = [path for path in _mount_points() if path.startswith("/proc/")]
    if not masks:
        return None
    return (
        f"the container masks parts of /proc ({', '.join(masks[:3])}), and then the "
        "kernel mounts no fresh one (mount_namespaces(7))",
        "docker run --security-opt systempaths=unconfined, or "
        "podman run --security-opt unmask=ALL",
    )


def _unmappable_root(refused: Refused) -> _Finding:
    if refused.number != errno.EPERM or refused.call != "write(/proc/self/uid_map)":
        return None
    bounding = _status("CapEff")
    if os.geteuid() != 0 or bounding is None or int(bounding, 16) >> _CAP_SETFCAP & 1:
        return None
    return (
        "pytest is uid 0 without CAP_SETFCAP, and such a uid cannot be mapped "
        "(user_namespaces(7), since Linux 5.12)",
        "run pytest as a user other than root, or give it CAP_SETFCAP",
    )


def _seccomp(refused: Refused) -> _Finding:
    if refused.number not in {errno.EPERM, errno.ENOSYS} or _status("Seccomp") != "2":
        return None
    return (
        "a seccomp filter is on this process (Seccomp is 2 in /proc/self/status)",
        "docker run --security-opt seccomp=unconfined, or podman likewise",
    )


def _process_limit(refused: Refused) -> _Finding:
    if refused.number != errno.EAGAIN:
        return None
    soft, _ = psutil.Process().rlimit(psutil.RLIMIT_NPROC)
    shown = "unlimited" if soft == psutil.RLIM_INFINITY else soft
    return (
        f"no more processes can be started (RLIMIT_NPROC is {shown})",
        "ulimit -u unlimited, or end processes of this user",
    )


def _descriptor_limit(refused: Refused) -> _Finding:
    if refused.number != errno.EMFILE:
        return None
    # RLIMIT_NOFILE, for which psutil would need a descriptor. Source: sysconf(3).
    soft = os.sysconf("SC_OPEN_MAX")
    return (
        f"no more descriptors can be opened (RLIMIT_NOFILE is {soft})",
        f"ulimit -n {max(2 * soft, 1024)}",
    )


def _lost_directory(refused: Refused) -> _Finding:
    if not refused.call.startswith("chdir("):
        return None
    return (
        "the working directory cannot be reached inside; what is below /dev/shm and "
        "/dev/mqueue is not there",
        "cd to a directory outside of /dev/shm and run pytest there",
    )


_CHECKS: tuple[Callable[[Refused], _Finding], ...] = (
    _not_linux,
    _lost_directory,
    _old_kernel,
    _no_room,
    _process_limit,
    _descriptor_limit,
    _apparmor,
    _userns_clone,
    _masked_proc,
    _unmappable_root,
    _seccomp,
)


def _looked_at() -> str:
    facts = {
        "uid": str(os.geteuid()),
        "CapEff": _status("CapEff"),
        "Seccomp": _status("Seccomp"),
        "kernel": platform.release(),
        "user.max_user_namespaces": _sysctl("user.max_user_namespaces"),
    }
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _sysctl(name: str) -> str | None:
    return _read("/proc/sys/" + name.replace(".", "/"))


def _status(field: str) -> str | None:
    for line in (_read("/proc/self/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return None


def _mount_points() -> list[str]:
    # Field 5. Source: proc_pid_mountinfo(5).
    lines = (_read("/proc/self/mountinfo") or "").splitlines()
    return [line.split()[4] for line in lines]


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
