"""
What can be read of the machine and of this process, for whoever asks why.

Nothing here raises: what cannot be read is None, or not there.
"""

from __future__ import annotations

import dataclasses
import os
import platform
from pathlib import Path

CAP_SYS_ADMIN, CAP_SETFCAP = 21, 31

#: Mount points in /proc that are made for mounts, are always empty, and mask nothing.
#: Source: proc_create_mount_point() in Linux, fs/proc/generic.c.
_MADE_FOR_MOUNTS = {"/proc/sys/fs/binfmt_misc", "/proc/fs/nfsd", "/proc/xen"}

#: The user namespace that no other is above of. Source: user_namespaces(7).
_EVERY_ID = ["0", "0", "4294967295"]

#: What gVisor answers to uname(2), whatever machine it runs on.
_GVISOR = "Sun Jan 10 15:06:54 PST 2016"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """
    The kind of container that this process is in.
    """

    name: str
    """``docker``, ``podman`` or ``kubernetes``."""
    sign: str
    """The fact that it is told by."""


def read(path: str) -> str | None:
    """
    Return what the file at *path* says, None if it cannot be read.
    """
    try:
        return Path(path).read_text("utf-8", "replace").strip(" \t\n\0")
    except OSError:
        return None


def is_there(path: str) -> bool:
    """
    Say whether there is something at *path*.
    """
    return os.path.exists(path)


def sysctl(name: str) -> str | None:
    """
    Return the setting *name*, ``user.max_user_namespaces``.
    """
    return read("/proc/sys/" + name.replace(".", "/"))


def status(field: str) -> str | None:
    """
    Return what /proc/self/status says of *field*. Source: proc_pid_status(5).
    """
    for line in (read("/proc/self/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return None


def limit(name: str) -> str | None:
    """
    Return the soft limit *name*, ``Max processes``. Source: proc_pid_limits(5).
    """
    for line in (read("/proc/self/limits") or "").splitlines():
        if line.startswith(name):
            return line[len(name) :].split()[0]
    return None


def has_capability(number: int) -> bool | None:
    """
    Say whether capability *number* is effective. Source: capabilities(7).
    """
    mask = status("CapEff")
    return None if mask is None else bool(int(mask, 16) >> number & 1)


def is_initial_user_namespace() -> bool | None:
    """
    Say whether no user namespace is above this one: it maps every id to itself.
    """
    mapped = read("/proc/self/uid_map")
    return None if mapped is None else mapped.split() == _EVERY_ID


def is_privileged() -> bool:
    """
    Say whether limits on unprivileged processes do not concern this one.
    """
    capable = has_capability(CAP_SYS_ADMIN)
    return bool(capable and is_initial_user_namespace())


def mounts() -> list[tuple[str, str]]:
    """
    Return mount points with the options of their file systems.

    Source: proc_pid_mountinfo(5), fields 5 and 11.
    """
    lines = [line.split() for line in (read("/proc/self/mountinfo") or "").splitlines()]
    return [(fields[4], fields[-1]) for fields in lines]


def masks() -> list[str]:
    """
    Return what is mounted over parts of /proc.
    """
    inside = [point for point, _ in mounts() if point.startswith("/proc/")]
    return [point for point in inside if point not in _MADE_FOR_MOUNTS]


def hidepid() -> str | None:
    """
    Return the option hidepid of /proc; None where it hides nothing.

    Source: proc(5), "Mount options".
    """
    found = None
    for point, options in mounts():
        if point == "/proc":
            given = dict(option.partition("=")[::2] for option in options.split(","))
            found = given.get("hidepid")
    return None if found in {"0", "off"} else found


def chroot() -> str | None:
    """
    Return the fact that tells that this process is in a chroot, if there is one.

    A chroot that begins at a mount point can be told only by who may look at the root
    of process 1. Source: chroot(2), proc_pid_root(5).
    """
    points = [point for point, _ in mounts()]
    if points and "/" not in points:
        return "no mount is at / in /proc/self/mountinfo"
    try:
        same = os.readlink("/proc/1/ns/mnt") == os.readlink("/proc/self/ns/mnt")
        if same and not os.path.samestat(os.stat("/proc/1/root"), os.stat("/")):
            return "/proc/1/root is another directory than /"
    except OSError:
        return None
    return None


def container() -> Container | None:
    """
    Return what container this process is in, if that can be told.
    """
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return Container(name="kubernetes", sign="KUBERNETES_SERVICE_HOST is set")
    for name, path in (
        ("kubernetes", "/var/run/secrets/kubernetes.io"),
        ("podman", "/run/.containerenv"),
        ("docker", "/.dockerenv"),
    ):
        if is_there(path):
            return Container(name=name, sign=f"{path} is there")
    return None


def apparmor() -> str | None:
    """
    Return the AppArmor profile of this process, None where there is no AppArmor.

    Source: apparmor(7); the kernel's Documentation/admin-guide/LSM.
    """
    path = "/proc/self/attr/apparmor/current"
    if is_there("/sys/module/apparmor") and not is_there(path):
        # Until Linux 5.8 one security module has it for itself.
        path = "/proc/self/attr/current"
    return read(path) or None


def is_gvisor() -> bool:
    """
    Say whether the kernel is gVisor's: its uname(2) is always the same.
    """
    return "gvisor" in platform.release() or _GVISOR in platform.version()


def is_wsl1() -> bool:
    """
    Say whether this is the Windows Subsystem for Linux, version 1.

    Its releases end with ``-Microsoft``, those of version 2 with ``-WSL2``.
    """
    return platform.release().endswith("-Microsoft")
