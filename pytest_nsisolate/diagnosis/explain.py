"""
The explanation of a refusal: checks each known cause against facts that it reads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import stat
import sys
import time
from collections.abc import Callable
from typing import TypeAlias

from pytest_nsisolate.diagnosis import engines, machine, seccomp
from pytest_nsisolate.diagnosis.causes import (
    BWRAP_PROC,
    CAUSES,
    MOUNT_PROC,
    WITHOUT_FILTER,
    Cause,
)
from pytest_nsisolate.guest.entry import WITH_THREADS
from pytest_nsisolate.linux import capabilities, namespaces
from pytest_nsisolate.model.errors import Explanation, Known, Refused, errno_name
from pytest_nsisolate.model.user_namespace import UserNamespace

# Windows lacks this module, and no limit is reached there.
with contextlib.suppress(ImportError):
    import resource

#: The facts for the texts of a cause, by placeholder; None if the cause does not apply.
_Finding: TypeAlias = "dict[str, str] | None"

_DENIED = (errno.EPERM, errno.EACCES)
#: EUSERS until Linux 4.9. Source: unshare(2), ERRORS.
_NO_ROOM = (errno.ENOSPC, errno.EUSERS)
_OPEN_TREE = "open_tree("
_OVERLAY = ("fsopen(overlay", "fsconfig(overlay", "fsmount(overlay")
#: The calls that name a directory of a keyword, and the keywords that it may be of.
_DIRECTORIES = {
    "mount(tmpfs, ": "tmpfs=",
    _OPEN_TREE: "overlay= or readonly=",
}
_STATES = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "has a parent that is not a directory",
    errno.EACCES: "cannot be reached by this user",
}
_WRITE_PROC = "write(/proc/"
_MAP_UID = "write(/proc/self/uid_map)"
_MOUNT_PROC = "mount(proc, /proc)"
_MAKE_USER = "unshare(CLONE_NEWUSER)"
_SHIFT_CLOCKS = "write(/proc/self/timens_offsets)"
#: The causes that leave only the way without a user namespace.
_FORBIDDEN = ("apparmor-userns", "userns-clone")

#: By the beginning of a call, the capability that it takes. Sources: unshare(2),
#: setns(2), mount(2), open_tree(2), fsopen(2), chroot(2), sethostname(2), netdevice(7),
#: rtnetlink(7), time_namespaces(7).
_TAKEN = {
    "unshare(": capabilities.SYS_ADMIN,
    "setns(": capabilities.SYS_ADMIN,
    "mount(": capabilities.SYS_ADMIN,
    _OPEN_TREE: capabilities.SYS_ADMIN,
    "move_mount(": capabilities.SYS_ADMIN,
    "fsopen(": capabilities.SYS_ADMIN,
    "mount_setattr(": capabilities.SYS_ADMIN,
    "chroot(": capabilities.SYS_CHROOT,
    "sethostname(": capabilities.SYS_ADMIN,
    "setdomainname(": capabilities.SYS_ADMIN,
    "ioctl(SIOCSIFFLAGS": capabilities.NET_ADMIN,
    "RTM_": capabilities.NET_ADMIN,
    _SHIFT_CLOCKS: capabilities.SYS_TIME,
}


def explain(action: str, refused: Refused) -> Explanation:
    """
    Return the three lines that explain *refused*.

    Args:
        action: What could not be done, such as ``isolate test_login``.
        refused: The call and its errno.
    """
    if isinstance(refused, Known):
        what = f"cannot {action}: {refused}"
        return Explanation(what=what, why=refused.why, fix=refused.fix)
    cause, values = choose(refused)
    why = cause.why.format_map(values)
    fix = cause.fix
    # Without CAP_SYS_ADMIN, the others alone would not help.
    is_capable = machine.has_capability(capabilities.SYS_ADMIN)
    lacking = refused.lacking if is_capable else ()
    found = machine.container()
    if found is not None:
        values["start"] = _start(found, refused, cause)
        is_about_user_namespace = lacking and refused.number in _DENIED
        fix = cause.contained or ("{start}" if is_about_user_namespace else fix)
    if lacking and refused.number in {*_DENIED, *_NO_ROOM, errno.ENOSYS}:
        why = f"{_not_in_effect(lacking)}, so a user namespace is needed; {why}"
    return Explanation(
        what=f"cannot {action}: {refused}", why=why, fix=fix.format_map(values)
    )


def _start(found: machine.Container, refused: Refused, cause: Cause) -> str:
    """
    Return how to start the container so that sandboxes can be made in it.
    """
    is_lacking = cause.name == "no-capability"
    need = engines.needs(
        as_root=os.geteuid() == 0 or is_lacking or cause.name in _FORBIDDEN,
        more=(*refused.lacking, *(_taken(refused.call) if is_lacking else ())),
        filtered=cause.name in {"seccomp", "perhaps-seccomp"},
    )
    return engines.ENGINES[found.name].write(need)


def _taken(call: str) -> list[str]:
    """
    Return the capabilities that *call* takes.
    """
    if call == _MAKE_USER:
        return []
    taken = [name for start, name in _TAKEN.items() if call.startswith(start)]
    if call.startswith("setns(") and namespaces.MNT.clone_name in call:
        taken.append(capabilities.SYS_CHROOT)
    return taken


def _not_in_effect(names: tuple[str, ...]) -> str:
    verb = "is" if len(names) == 1 else "are"
    shown = " and ".join(names)
    return f"{shown} {verb} not in effect (CapEff is {machine.status('CapEff')})"


def choose(refused: Refused) -> tuple[Cause, dict[str, str]]:
    """
    Return the cause of *refused*, and the facts for its texts.
    """
    for cause in CAUSES:
        values = CHECKS[cause.name](refused)
        if values is not None:
            return cause, values
    raise AssertionError(CAUSES)


def _not_linux(refused: Refused) -> _Finding:
    return None if sys.platform == "linux" else {"platform": sys.platform}


def _no_gil(refused: Refused) -> _Finding:
    return None if machine.has_gil() else {}


def _lost_directory(refused: Refused) -> _Finding:
    return {} if refused.call.startswith("chdir(") else None


def _no_directory(refused: Refused) -> _Finding:
    numbers = {errno.ENOENT, errno.ENOTDIR, errno.EACCES}
    start = next((one for one in _DIRECTORIES if refused.call.startswith(one)), None)
    if refused.number not in numbers or start is None:
        return None
    path = refused.call[len(start) : -1]
    try:
        found = os.stat(path)
    except OSError as error:
        if error.errno not in numbers:
            return None
        state = f"{_STATES[error.errno]} (stat() says {errno_name(error.errno)})"
        lost = error.errno == errno.ENOENT
    else:
        if stat.S_ISDIR(found.st_mode):
            return None
        state, lost = "is not a directory", False
    remedy = f"mkdir -p {path}" if lost else "name another directory"
    keyword = _DIRECTORIES[start]
    return {"path": path, "state": state, "keyword": keyword, "remedy": remedy}


def _mounts_below(refused: Refused) -> _Finding:
    is_tree = refused.call.startswith(_OPEN_TREE)
    is_plain = refused.user_namespace is UserNamespace.NONE
    if refused.number != errno.EINVAL or not is_tree or is_plain:
        return None
    path = refused.call[len(_OPEN_TREE) : -1]
    start = f"{os.path.realpath(path).rstrip('/')}/"
    points = [point for point, _ in machine.mounts()]
    below = [point for point in points if point.startswith(start) and point != start]
    return {"path": path, "mounts": below[0]} if below else None


def _no_overlayfs(refused: Refused) -> _Finding:
    known = (machine.read("/proc/filesystems") or "overlay").split()
    is_missing = refused.number == errno.ENODEV and "overlay" not in known
    return {} if is_missing and refused.call.startswith(_OVERLAY) else None


def _not_a_layer(refused: Refused) -> _Finding:
    start = "fsconfig(overlay, "
    if refused.number != errno.EINVAL or not refused.call.startswith(start):
        return None
    path = refused.call[len(start) : -1]
    return {"path": path, "fstype": machine.file_system(os.path.realpath(path))}


def _no_user_attributes(refused: Refused) -> _Finding:
    if refused.number != errno.EOPNOTSUPP or not refused.call.startswith("setxattr("):
        return None
    return {"release": platform.release()}


def _no_proc(refused: Refused) -> _Finding:
    state = machine.missing_proc()
    if state is None or "/proc" not in refused.call:
        return None
    if refused.call != _MOUNT_PROC:
        need = "and the ids of a user namespace are written to a file there"
    elif refused.number == errno.EPERM:
        need = "and in a user namespace the kernel allows a fresh /proc only where "
        need += "there is one already (mount_namespaces(7))"
        return {"state": state, "need": need, "remedy": BWRAP_PROC}
    else:
        need = "and so a fresh one has no place"
    if refused.number != errno.ENOENT:
        return None
    make = "" if machine.is_there("/proc") else "sudo mkdir /proc && "
    return {"state": state, "need": need, "remedy": make + MOUNT_PROC}


def _read_only_proc(refused: Refused) -> _Finding:
    is_write = refused.call.startswith(_WRITE_PROC)
    is_found = is_write and refused.number == errno.EROFS
    return {} if is_found and machine.is_proc_read_only() else None


def _not_dumpable(refused: Refused) -> _Finding:
    is_write = refused.call.startswith(_WRITE_PROC)
    file = os.path.realpath(sys.executable)
    if not is_write or refused.number != errno.EACCES or os.access(file, os.R_OK):
        return None
    try:
        mode = stat.S_IMODE(os.stat(file).st_mode)
    except OSError:
        return None
    return {"interpreter": file, "mode": f"{mode:o}"}


def _faked_uid(refused: Refused) -> _Finding:
    library = machine.fakeroot()
    if refused.call == _MAP_UID and refused.number == errno.EPERM:
        uid, true = os.geteuid(), (machine.status("Uid") or "").split()[1:2]
        if true in ([], [str(uid)]):
            return None
        by = f" by {library}" if library else ""
        state = f"the uid is faked{by} (geteuid() is {uid}, but {true[0]} in "
        state += "/proc/self/status), and the kernel maps only the true one"
        return {"state": state}
    if refused.number not in {errno.ESRCH, errno.ECHILD} or "sysv" not in library:
        return None
    state = f"{library} is loaded (/proc/self/maps), which needs an IPC queue that no "
    return {"state": f"{state}sandbox has"}


def _mount_limit(refused: Refused) -> _Finding:
    if refused.number != errno.ENOSPC or not refused.call.startswith("mount("):
        return None
    return {"limit": machine.sysctl("fs.mount-max") or "unreadable"}


def _gvisor(refused: Refused) -> _Finding:
    if refused.number in {errno.EAGAIN, errno.EMFILE} or not machine.is_gvisor():
        return None
    return {"release": platform.release(), "version": platform.version()}


def _wsl1(refused: Refused) -> _Finding:
    if refused.number in {errno.EAGAIN, errno.EMFILE} or not machine.is_wsl1():
        return None
    return {"release": platform.release()}


def _no_such_namespaces(refused: Refused) -> _Finding:
    if refused.number != errno.EINVAL or not machine.is_there("/proc/self/ns"):
        return None
    for one in namespaces.TABLE:
        missing = not machine.is_there(f"/proc/self/ns/{one.name}")
        if missing and one.clone_name in refused.call:
            instead = f", or leave {one.keyword}= out" if one.keyword else ""
            return {"name": one.name, "instead": instead}
    return None


def _threads(refused: Refused) -> _Finding:
    _, starts, names = refused.call.partition(WITH_THREADS)
    return {"names": names} if starts and refused.number == errno.EINVAL else None


def _old_kernel(refused: Refused) -> _Finding:
    call = refused.call
    what, since = "", (0, 0)
    if refused.number == errno.EINVAL and call.startswith("setns(pidfd"):
        is_of_time = namespaces.TIME.clone_name in call
        kind = f" for {namespaces.TIME.clone_name}" if is_of_time else ""
        what, since = f"setns() with a pidfd{kind}", (5, 9 if is_of_time else 8)
    elif refused.number == errno.ENOSYS and call.startswith("mount_setattr("):
        what, since = "readonly=", (5, 12)
    # Nothing else than its age makes the first one fail like that.
    if not (call.startswith("setns(") and what) and not machine.is_older(*since):
        return None
    major, minor = since
    release = platform.release()
    return {"release": release, "what": what, "since": f"{major}.{minor}"}


def _has_no_room(refused: Refused) -> bool:
    return refused.number in _NO_ROOM


def _limit_zero(refused: Refused) -> _Finding:
    if _has_no_room(refused):
        for name, value in limits(refused.call).items():
            if value == "0":
                return {"setting": name}
    return None


def _nested(refused: Refused) -> _Finding:
    mapped = machine.read("/proc/self/uid_map")
    if not _has_no_room(refused) or machine.is_initial_user_namespace() is not False:
        return None
    # Root would be refused next: bwrap takes away the capability of `_unmappable_root`,
    # or masks /proc where pytest has no PID namespace that it may return to.
    options = "--unshare-pid --cap-add CAP_SETFCAP " if os.geteuid() == 0 else ""
    return {"map": " ".join((mapped or "").split()), "options": options}


def _limit_reached(refused: Refused) -> _Finding:
    if not _has_no_room(refused):
        return None
    found = limits(refused.call)
    values = ", ".join(f"{name} is {value}" for name, value in found.items())
    return {"values": values}


def limits(call: str) -> dict[str, str | None]:
    """
    Return the limit of each kind of namespace that *call* may be about.
    """
    # A kind that has a keyword is made only by a call that names it.
    return {
        one.limit: machine.sysctl(one.limit)
        for one in namespaces.MADE
        if one.keyword is None or one.clone_name in call
    }


def _cgroup_limit(refused: Refused) -> _Finding:
    if refused.number != errno.EAGAIN:
        return None
    found = machine.cgroup_limit()
    return None if found is None else {"path": found[0], "limit": found[1]}


def _process_limit(refused: Refused) -> _Finding:
    if refused.number != errno.EAGAIN:
        return None
    return {"limit": machine.limit("Max processes") or "unreadable"}


def _descriptor_limit(refused: Refused) -> _Finding:
    if refused.number != errno.EMFILE:
        return None
    # Reading it from a file would take a descriptor.
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {"limit": str(soft), "remedy": more_descriptors(max(2 * soft, 1024))}


def more_descriptors(number: int) -> str:
    """
    Return what to type to allow *number* open descriptors.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Only root may raise the hard limit. Source: getrlimit(2).
    if hard == resource.RLIM_INFINITY or number <= hard:
        return f"ulimit -S -n {number}"
    return f"sudo prlimit --nofile={number} --pid $$"


def _clock_range(refused: Refused) -> _Finding:
    if refused.number != errno.ERANGE or refused.call != _SHIFT_CLOCKS:
        return None
    monotonic = int(time.clock_gettime(time.CLOCK_MONOTONIC))
    boottime = int(time.clock_gettime(time.CLOCK_BOOTTIME))
    return {
        "monotonic": str(monotonic),
        "boottime": str(boottime),
        "lowest": str(-min(monotonic, boottime)),
    }


def _no_capability(refused: Refused) -> _Finding:
    # In a user namespace of its own, a sandbox has all capabilities.
    plain = refused.user_namespace is UserNamespace.NONE
    if refused.number != errno.EPERM or not plain:
        return None
    for name in _taken(refused.call):
        if machine.has_capability(name) is False:
            remedy = "run as root" if os.geteuid() else f"start pytest with {name}"
            return {
                "name": name,
                "capabilities": machine.status("CapEff") or "",
                "remedy": remedy,
            }
    return None


def _seccomp(refused: Refused) -> _Finding:
    if not seccomp.refuses(refused.call, refused.number):
        return None
    return {
        "call": refused.call.partition("(")[0] + "()",
        "errno": errno_name(refused.number),
        "kernels": errno_name(seccomp.expected(refused.call)),
        "remedy": WITHOUT_FILTER,
        **_signed(),
    }


def _perhaps_seccomp(refused: Refused) -> _Finding:
    if refused.number not in {errno.EPERM, errno.ENOSYS} or not seccomp.is_on():
        return None
    if seccomp.refuses(refused.call, refused.number) is False:
        return None
    names = refused.call in {"sethostname()", "setdomainname()"}
    instead = ", or leave out hostname= and domainname=" if names else ""
    return {"remedy": WITHOUT_FILTER, "instead": instead, **_signed()}


def _unmapped(refused: Refused) -> _Finding:
    if refused.number != errno.EPERM or refused.call != _MAKE_USER:
        return None
    found = machine.unmapped()
    if found is None:
        return None
    kind, number, mapped = found
    return {"kind": kind, "number": str(number), "map": mapped}


def _chroot(refused: Refused) -> _Finding:
    if refused.number != errno.EPERM or refused.call != _MAKE_USER:
        return None
    sign = machine.chroot()
    return None if sign is None else {"sign": sign}


def _perhaps_chroot(refused: Refused) -> _Finding:
    if refused.number != errno.EPERM or refused.call != _MAKE_USER:
        return None
    state = machine.unknown_root()
    return None if state is None else {"state": state}


def _apparmor_userns(refused: Refused) -> _Finding:
    name = "kernel.apparmor_restrict_unprivileged_userns"
    if refused.number not in _DENIED or machine.sysctl(name) != "1":
        return None
    profile = machine.apparmor()
    if machine.is_privileged() or (profile and not profile.startswith("unconfined")):
        return None
    return None if refused.user_namespace is UserNamespace.NONE else {}


def _userns_clone(refused: Refused) -> _Finding:
    if refused.number != errno.EPERM or refused.call != _MAKE_USER:
        return None
    forbidden = machine.sysctl("kernel.unprivileged_userns_clone") == "0"
    return {} if forbidden and not machine.is_privileged() else None


def _apparmor_profile(refused: Refused) -> _Finding:
    profile = machine.apparmor()
    if refused.number != errno.EACCES or not profile:
        return None
    return None if profile.startswith("unconfined") else {"profile": profile}


def _masked_proc(refused: Refused) -> _Finding:
    if refused.number != errno.EPERM or refused.call != _MOUNT_PROC:
        return None
    is_plain = refused.user_namespace is UserNamespace.NONE
    if is_plain and machine.is_initial_user_namespace():
        return None
    masks = machine.masks()
    return {"masks": ", ".join(masks[:3]), "sign": _sign()} if masks else None


def _unmappable_root(refused: Refused) -> _Finding:
    if refused.number != errno.EPERM or refused.call != _MAP_UID:
        return None
    lacks = machine.has_capability(capabilities.SETFCAP) is False
    return {} if os.geteuid() == 0 and lacks else None


def _perhaps_selinux(refused: Refused) -> _Finding:
    if refused.number not in _DENIED:
        return None
    state = machine.selinux()
    return None if state is None else {"state": state}


def _unknown(refused: Refused) -> _Finding:
    checked = {
        "uid": str(os.geteuid()),
        "CapEff": machine.status("CapEff"),
        "Seccomp": machine.status("Seccomp"),
        "kernel": platform.release(),
        "user.max_user_namespaces": machine.sysctl("user.max_user_namespaces"),
    }
    text = ", ".join(f"{name} {value}" for name, value in checked.items())
    return {"checked": text}


def _sign() -> str:
    found = machine.container()
    return "" if found is None else f"; {found.sign}"


def _signed() -> dict[str, str]:
    return {"sign": _sign()}


#: The check for each cause, by its name in `causes.CAUSES`.
CHECKS: dict[str, Callable[[Refused], _Finding]] = {
    "not-linux": _not_linux,
    "no-gil": _no_gil,
    "lost-directory": _lost_directory,
    "no-directory": _no_directory,
    "mounts-below": _mounts_below,
    "no-overlayfs": _no_overlayfs,
    "not-a-layer": _not_a_layer,
    "no-user-attributes": _no_user_attributes,
    "no-proc": _no_proc,
    "read-only-proc": _read_only_proc,
    "mount-limit": _mount_limit,
    "gvisor": _gvisor,
    "wsl1": _wsl1,
    "no-such-namespaces": _no_such_namespaces,
    "threads": _threads,
    "old-kernel": _old_kernel,
    "limit-zero": _limit_zero,
    "nested": _nested,
    "limit-reached": _limit_reached,
    "cgroup-limit": _cgroup_limit,
    "process-limit": _process_limit,
    "descriptor-limit": _descriptor_limit,
    "clock-range": _clock_range,
    "no-capability": _no_capability,
    "seccomp": _seccomp,
    "unmapped": _unmapped,
    "chroot": _chroot,
    "not-dumpable": _not_dumpable,
    "faked-uid": _faked_uid,
    "apparmor-userns": _apparmor_userns,
    "userns-clone": _userns_clone,
    "apparmor-profile": _apparmor_profile,
    "masked-proc": _masked_proc,
    "unmappable-root": _unmappable_root,
    "perhaps-seccomp": _perhaps_seccomp,
    "perhaps-chroot": _perhaps_chroot,
    "perhaps-selinux": _perhaps_selinux,
    "unknown": _unknown,
}
