"""
Facts about the machine and this process, for the explanation of a refusal.

No function here raises an error: a fact that cannot be read is None or empty.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pytest_nsisolate.launcher.audit import rows
from pytest_nsisolate.launcher.directories import unescaped
from pytest_nsisolate.linux import capabilities

#: Mount points in /proc that are made for mounts, are always empty, and mask nothing.
#: Source: proc_create_mount_point() in Linux, fs/proc/generic.c.
_MADE_FOR_MOUNTS = {"/proc/sys/fs/binfmt_misc", "/proc/fs/nfsd", "/proc/xen"}

#: The id map of the initial user namespace. Source: user_namespaces(7).
_EVERY_ID = ["0", "0", "4294967295"]

#: The version that gVisor gives in uname(2), on any machine.
_GVISOR = "Sun Jan 10 15:06:54 PST 2016"

#: user:role:type:level. Source: selinux(8).
_COLONS_IN_LABEL = 3


class Container(NamedTuple):
    """
    The kind of container that this process is in.
    """

    name: str
    """``docker``, ``podman``, ``kubernetes`` or ``nspawn``."""
    sign: str
    """The fact that shows it."""


def read(path: str) -> str | None:
    """
    Return the content of the file at *path*, None if it cannot be read.
    """
    try:
        return Path(path).read_text("utf-8", "replace").strip(" \t\n\0")
    except OSError:
        return None


def is_there(path: str) -> bool:
    """
    Say whether *path* exists.
    """
    return os.path.exists(path)


def sysctl(name: str) -> str | None:
    """
    Return the setting *name*, such as ``user.max_user_namespaces``.
    """
    return read("/proc/sys/" + name.replace(".", "/"))


def status(field: str) -> str | None:
    """
    Return the value of *field* in /proc/self/status. Source: proc_pid_status(5).
    """
    for line in (read("/proc/self/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return None


def limit(name: str) -> str | None:
    """
    Return the soft limit *name*, such as ``Max processes``.

    Source: proc_pid_limits(5).
    """
    for line in (read("/proc/self/limits") or "").splitlines():
        if line.startswith(name):
            return line[len(name) :].split()[0]
    return None


def cgroup_limit() -> tuple[str, str] | None:
    """
    Return the cgroup with the least room for processes, and how many it may have.

    Returns:
        None if no cgroup of this process has ever refused one.

    Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst in Linux, "PID".
    """
    found = []
    was_refused = False
    for line in (read("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "pids" not in controllers.split(","):
            continue
        place = "/sys/fs/cgroup/pids" if controllers else "/sys/fs/cgroup"
        for part in ["", *filter(None, path.split("/"))]:
            place = f"{place}/{part}" if part else place
            # Which of them counts a refusal has changed with Linux 6.11.
            was_refused |= read(f"{place}/pids.events") not in {None, "max 0"}
            limit = read(f"{place}/pids.max") or "max"
            if limit != "max":
                room = int(limit) - int(read(f"{place}/pids.current") or 0)
                found.append((room, place, limit))
    if not was_refused or not found:
        return None
    _, place, limit = min(found)
    return place, limit


def has_capability(name: str, field: str = "CapEff") -> bool | None:
    """
    Say whether the capability *name* is in effect, or in another set of this process.

    Source: capabilities(7); proc_pid_status(5), CapInh and the following.
    """
    mask = status(field)
    return None if mask is None else capabilities.is_in(name, int(mask, 16))


def is_initial_user_namespace() -> bool | None:
    """
    Say whether this is the initial user namespace: it maps every id to itself.
    """
    mapped = read("/proc/self/uid_map")
    return None if mapped is None else mapped.split() == _EVERY_ID


def unmapped() -> tuple[str, int, str] | None:
    """
    Return what of this process has no mapping in its user namespace, None if all has.

    Returns:
        ``uid`` or ``gid``, the number that it shows as, and the map.

    Source: user_namespaces(7), "Unmapped user and group IDs".
    """
    for kind, number in (("uid", os.geteuid()), ("gid", os.getegid())):
        mapped = read(f"/proc/self/{kind}_map")
        if mapped is None:
            continue
        ranges = [map(int, line.split()) for line in mapped.splitlines()]
        if not any(first <= number < first + count for first, _, count in ranges):
            return kind, number, " ".join(mapped.split()) or "empty"
    return None


def is_privileged() -> bool:
    """
    Say whether restrictions on unprivileged processes do not apply to this one.
    """
    capable = has_capability(capabilities.SYS_ADMIN)
    return bool(capable and is_initial_user_namespace())


def mounts() -> list[tuple[str, str]]:
    """
    Return the mount points, each with the options of its file system.

    Source: proc_pid_mountinfo(5), fields 5 and 11.
    """
    lines = rows(read("/proc/self/mountinfo") or "")
    return [(unescaped(fields[4]), fields[-1]) for fields in lines]


def file_system(path: str) -> str:
    """
    Return the type of the file system that *path* is on, which is absolute.

    Source: proc_pid_mountinfo(5), fields 5 and 9.
    """
    lines = rows(read("/proc/self/mountinfo") or "")
    found = [
        (point, fields[fields.index("-") + 1])
        for fields in lines
        for point in [unescaped(fields[4]).rstrip("/")]
        if f"{path}/".startswith(f"{point}/")
    ]
    # The latest of the longest is the one that is seen.
    longest = max((len(point) for point, _ in found), default=0)
    kinds = [kind for point, kind in found if len(point) == longest]
    return kinds[-1] if kinds else "unknown"


def is_older(major: int, minor: int) -> bool:
    """
    Say whether the kernel is older than this release.
    """
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return found is not None and (int(found[1]), int(found[2])) < (major, minor)


def masks() -> list[str]:
    """
    Return the mount points that mask parts of /proc.
    """
    inside = [point for point, _ in mounts() if point.startswith("/proc/")]
    return [point for point in inside if point not in _MADE_FOR_MOUNTS]


def missing_proc() -> str | None:
    """
    Return why /proc does not show this process, None if it does.
    """
    if os.path.exists("/proc/self"):
        return None
    if not os.path.exists("/proc"):
        return "there is no directory /proc"
    # The link is in every procfs. Source: proc(5), /proc/self.
    if os.path.lexists("/proc/self"):
        return "/proc shows a PID namespace that pytest is not in"
    return "no procfs is mounted at /proc (/proc/self does not exist)"


def is_proc_read_only() -> bool:
    """
    Say whether /proc is mounted read-only. Source: proc_pid_mountinfo(5), field 6.
    """
    found = False
    for fields in rows(read("/proc/self/mountinfo") or ""):
        if fields[4] == "/proc":
            found = "ro" in {*fields[5].split(","), *fields[-1].split(",")}
    return found


def fakeroot() -> str:
    """
    Return the name of the library of fakeroot in this process, empty without it.
    """
    for line in (read("/proc/self/maps") or "").splitlines():
        name = os.path.basename(line)
        if name.startswith("libfakeroot"):
            return name
    return ""


def hidepid() -> str | None:
    """
    Return the option hidepid of /proc; None if it hides nothing.

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
    Return the fact that shows that this process is in a chroot, None if none does.

    Only a process that may read the root of process 1 can recognise a chroot whose root
    is a mount point. Source: chroot(2), proc_pid_root(5).
    """
    points = [point for point, _ in mounts()]
    if points and "/" not in points:
        return "/proc/self/mountinfo has no mount at /"
    if unknown_root() is None:
        with contextlib.suppress(OSError):
            if not os.path.samestat(os.stat("/proc/1/root"), os.stat("/")):
                return "/proc/1/root is not the same directory as /"
    return None


def unknown_root() -> str | None:
    """
    Return why the root of process 1 does not tell a chroot, None if it does.
    """
    try:
        os.stat("/proc/1/root")
        same = os.readlink("/proc/1/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    except OSError:
        return "cannot be read"
    return None if same else "is in another mount namespace"


def container() -> Container | None:
    """
    Return the container that this process is in, None if none is recognised.
    """
    manager = "/run/host/container-manager"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return Container(name="kubernetes", sign="KUBERNETES_SERVICE_HOST is set")
    # Source: systemd's "Container Interface".
    if read(manager) == "systemd-nspawn":
        return Container(name="nspawn", sign=f"{manager} says systemd-nspawn")
    # With --read-only it leaves no file. Source: podman-run(1), --env.
    if os.environ.get("container") == "podman":  # noqa: SIM112 - its name
        return Container(name="podman", sign="container=podman is in the environment")
    # The last one stays in a tree that other engines may run.
    for name, path in (
        ("kubernetes", "/var/run/secrets/kubernetes.io"),
        ("podman", "/run/.containerenv"),
        ("docker", "/.dockerenv"),
    ):
        if is_there(path):
            return Container(name=name, sign=f"{path} exists")
    return None


def apparmor() -> str | None:
    """
    Return the AppArmor profile of this process, None without AppArmor.

    Source: apparmor(7); the kernel's Documentation/admin-guide/LSM.
    """
    path = "/proc/self/attr/apparmor/current"
    if is_there("/sys/module/apparmor") and not is_there(path):
        # Before Linux 5.8 only one security module could use the attribute.
        path = "/proc/self/attr/current"
    return read(path) or None


def selinux() -> str | None:
    """
    Return how SELinux may be in the way of pytest, None without it or if it only warns.

    Inside a container, its file system is mostly not there. Source: selinux(8); the
    kernel's security/selinux/selinuxfs.c.
    """
    label = read("/proc/self/attr/current") or ""
    # A label has a user, a role, a type and a level; AppArmor has a profile here.
    if apparmor() is not None or label.count(":") < _COLONS_IN_LABEL:
        return None
    enforcing = read("/sys/fs/selinux/enforce")
    if enforcing is None:
        return (
            f"has pytest run as {label} (/proc/self/attr/current), whether it is "
            "enforcing cannot be read"
        )
    if enforcing != "1":
        return None
    return f"is enforcing (/sys/fs/selinux/enforce is 1), pytest runs as {label}"


def has_gil() -> bool:
    """
    Say whether this Python has its global interpreter lock, as all had before 3.13.
    """
    is_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return is_enabled()


def is_gvisor() -> bool:
    """
    Say whether the kernel is that of gVisor, whose uname(2) is always the same.
    """
    return "gvisor" in platform.release() or _GVISOR in platform.version()


def is_wsl1() -> bool:
    """
    Say whether this is the Windows Subsystem for Linux, version 1.

    Its releases end with ``-Microsoft``; those of version 2 end with ``-WSL2``.
    """
    return platform.release().endswith("-Microsoft")
