"""
System calls that this project makes, as typed functions. No other module uses ctypes.

The launcher, a bare interpreter that forks for every sandbox, imports this module, so
it imports only what the launcher needs.
"""

from __future__ import annotations

import ctypes
import errno
import os

from pytest_nsisolate.linux import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable
    from typing import TypeVar

    _T = TypeVar("_T")

# Flags and numbers as in the kernel's uapi headers, grouped by header.

# asm-generic/mman-common.h
_MADV_POPULATE_WRITE = 23

# linux/capability.h
_LINUX_CAPABILITY_VERSION_3 = 0x20080522

# linux/fcntl.h
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000

# linux/if.h
IFF_UP = 0x1

# linux/landlock.h
LANDLOCK_SCOPE_SIGNAL = 0x2

# linux/mount.h
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REC = 0x4000
MS_SLAVE = 0x80000
MNT_DETACH = 0x2
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
_OPEN_TREE_CLONE = 0x1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_FSOPEN_CLOEXEC = 0x1
_FSMOUNT_CLOEXEC = 0x1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24

# linux/sched.h, only those used by name
CLONE_VM = 0x100
CLONE_VFORK = 0x4000
CLONE_NEWNET = namespaces.NET.flag
CLONE_NEWNS = namespaces.MNT.flag
CLONE_NEWPID = namespaces.PID.flag
CLONE_NEWUSER = namespaces.USER.flag
_CLONE_THREAD = 0x00010000

# linux/sockios.h
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914

# asm-generic/unistd.h: calls that the C library has no functions for, with numbers that
# are the same everywhere, as those of all calls since Linux 5.1
_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_PROCESS_MADVISE = 440
_NR_MOUNT_SETATTR = 442
_NR_LANDLOCK_CREATE_RULESET = 444
_NR_LANDLOCK_RESTRICT_SELF = 446

# linux/wait.h
WCLONE = -0x80000000


class _CapHeader(ctypes.Structure):
    """``struct __user_cap_header_struct``, capget(2)."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    """``struct __user_cap_data_struct``, capget(2); two of them hold 64 bits."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


class _Ruleset(ctypes.Structure):
    """``struct landlock_ruleset_attr``, landlock_create_ruleset(2)."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _MountAttributes(ctypes.Structure):
    """``struct mount_attr``, mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _InterfaceRequest(ctypes.Structure):
    """``struct ifreq``, netdevice(7), with the flags of its union."""

    _fields_ = (
        ("name", ctypes.c_char * 16),
        ("flags", ctypes.c_short),
        ("rest", ctypes.c_char * 22),
    )


def _load_libc() -> ctypes.CDLL | None:
    # A system without this library has no namespaces either. There every call fails
    # with ENOSYS, and the plugin can still be imported.
    try:
        return ctypes.CDLL(None, use_errno=True)
    except (OSError, TypeError):
        return None


_libc = _load_libc()
# Looked up here, since the first call is often in a fork.
_functions = {
    name: getattr(_libc, name, None)
    for name in (
        "capget",
        "capset",
        "clearenv",
        "clone",
        "ioctl",
        "mount",
        "prctl",
        "setdomainname",
        "sethostname",
        "setns",
        "syscall",
        "umount2",
        "unshare",
    )
}

# The fork that calls no handlers of pthread_atfork(3); one that calls them must do,
# where there is no other. While it runs, this thread goes on to hold the lock of the
# interpreter. Source: _Fork(3p); it is in glibc since 2.34, and in musl since 1.2.2.
_fork = None
if _libc is not None:
    _with_lock = ctypes.PyDLL(None, use_errno=True)
    _fork = getattr(_with_lock, "_Fork", None) or getattr(_with_lock, "fork", None)

# What `populate`, `confine_signals` and `start_ended` take, made here for the same
# reason.
_PROCESS_MADVISE = ctypes.c_long(_NR_PROCESS_MADVISE)
_POPULATE = (ctypes.c_long(_MADV_POPULATE_WRITE), ctypes.c_long(0))
_RULESET = _Ruleset(scoped=LANDLOCK_SCOPE_SIGNAL)
_CREATE_RULESET = (
    ctypes.c_long(_NR_LANDLOCK_CREATE_RULESET),
    ctypes.byref(_RULESET),
    ctypes.c_size_t(ctypes.sizeof(_RULESET)),
    ctypes.c_long(0),
)
_RESTRICT_SELF = ctypes.c_long(_NR_LANDLOCK_RESTRICT_SELF)
_STACK = ctypes.create_string_buffer(4096)
_ENDED = (
    getattr(_libc, "_exit", None),
    ctypes.c_void_p((ctypes.addressof(_STACK) + len(_STACK)) & -16),
    ctypes.c_int(CLONE_VM | CLONE_VFORK),
    None,
)


def _call(name: str, text: str, *args: object) -> int:
    """
    Call the function *name* of the C library.

    Raises:
        OSError: Its *filename* is *text*, the call as a person would write it.
    """
    function = _functions[name]
    if function is None:
        raise _error(errno.ENOSYS, text)
    result = int(function(*args))
    if result == -1:
        raise _error(ctypes.get_errno(), text)
    return result


def _error(number: int, text: str) -> OSError:
    return OSError(number, os.strerror(number), text)


def named(text: str, function: Callable[..., _T], *args: object) -> _T:
    """
    Return what *function* returns for *args*.

    Raises:
        OSError: Its *filename* is *text*, the call as a person would write it.
    """
    try:
        return function(*args)
    except OSError as error:
        raise _error(error.errno or 0, text) from None


def unshare(flags: int) -> None:
    """
    Give the calling process new namespaces of the kinds in *flags*.

    Raises:
        OSError: The kernel refused.

    Source: unshare(2). ``os.unshare`` exists since Python 3.12.
    """
    try:
        if hasattr(os, "unshare"):
            os.unshare(flags)
        else:
            _call("unshare", "unshare()", ctypes.c_int(flags))
    except OSError as error:
        text = f"unshare({namespaces.clone_names(flags)})"
        raise _error(error.errno or 0, text) from None


def has_threads() -> bool:
    """
    Say whether this process has other threads, also such as C code has started.

    Where this cannot be known, as under a seccomp filter, it may have some.

    Source: unshare(2), CLONE_THREAD: has no effect if the caller is single threaded,
    and is an error if not. This needs no ``/proc``.
    """
    try:
        _call("unshare", "unshare(CLONE_THREAD)", ctypes.c_int(_CLONE_THREAD))
    except OSError:
        return True
    return False


def fork_alone(*, is_told: bool) -> int:
    """
    Fork a process that has one thread, without the handlers of pthread_atfork(3).

    Args:
        is_told: Whether Python is told, as by `os.fork`. It then calls what is
            registered by `os.register_at_fork`.

    Raises:
        OSError: The kernel refused.
    """
    assert _fork is not None
    if is_told:
        ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(_fork())
    if is_told and pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    elif is_told:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid == -1:
        raise _error(ctypes.get_errno(), "fork()")
    return pid


def start_ended() -> int:
    """
    Start a process that ends at once, and return its id, which stays taken.

    Reap it by `reap_ended`. It shares the memory of this process, so it is cheap
    whatever this process weighs. As no signal announces its end, it stays a zombie even
    if SIGCHLD is ignored.

    Raises:
        OSError: The kernel refused.

    Source: clone(2), CLONE_VFORK and "The child termination signal"; wait(2).
    """
    return _call("clone", "clone()", *_ENDED)


def reap_ended(pid: int) -> None:
    """
    Reap the process *pid* that `start_ended` has started.

    Source: wait(2), __WCLONE.
    """
    os.waitpid(pid, WCLONE)


def setns(fd: int, flags: int) -> None:
    """
    Join the namespaces of the kinds in *flags* of the process behind the pidfd *fd*.

    Raises:
        OSError: The kernel refused. EINVAL may mean that it is older than 5.8.

    Source: setns(2), "Linux 5.8: fd may be a PID file descriptor". ``os.setns``
    exists since Python 3.12.
    """
    try:
        if hasattr(os, "setns"):
            os.setns(fd, flags)
        else:
            _call("setns", "setns()", ctypes.c_int(fd), ctypes.c_int(flags))
    except OSError as error:
        text = f"setns(pidfd, {namespaces.clone_names(flags)})"
        raise _error(error.errno or 0, text) from None


def mount(
    source: str, target: str, fstype: str | None, flags: int, data: str | None = None
) -> None:
    """
    Mount a file system of type *fstype* at *target*, or change a mount's flags.

    Raises:
        OSError: The kernel refused.

    Source: mount(2).
    """
    _call(
        "mount",
        f"mount({fstype or source}, {target})",
        source.encode(),
        os.fsencode(target),
        None if fstype is None else fstype.encode(),
        ctypes.c_ulong(flags),
        None if data is None else data.encode(),
    )


def unmount(target: str) -> None:
    """
    Take down the mount at *target*, and what is mounted below it.

    Who uses it already goes on to use it.

    Raises:
        OSError: The kernel refused.

    Source: umount2(2), MNT_DETACH.
    """
    flags = ctypes.c_int(MNT_DETACH)
    _call("umount2", f"umount2({target})", os.fsencode(target), flags)


def clone_tree(path: str, *, below: bool) -> int:
    """
    Return the descriptor of a copy of the mount at *path*, which is attached nowhere.

    Its root is *path*, which need not be a mount point.

    Args:
        path: A directory or a file.
        below: Whether what is mounted below *path* is copied with it.

    Raises:
        OSError: The kernel refused. EINVAL means that there are mounts below, which it
            must not leave out in this user namespace.

    Source: open_tree(2), Linux 5.2; mount_namespaces(7), restrictions on mount
    namespaces.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE * below
    return _call(
        "syscall",
        f"open_tree({path})",
        ctypes.c_long(_NR_OPEN_TREE),
        ctypes.c_long(_AT_FDCWD),
        os.fsencode(path),
        ctypes.c_long(flags),
    )


def attach_mount(mount: int, path: str) -> None:
    """
    Attach the *mount* of this descriptor at *path*.

    Raises:
        OSError: The kernel refused.

    Source: move_mount(2), Linux 5.2.
    """
    _call(
        "syscall",
        f"move_mount({path})",
        ctypes.c_long(_NR_MOVE_MOUNT),
        ctypes.c_long(mount),
        b"",
        ctypes.c_long(_AT_FDCWD),
        os.fsencode(path),
        ctypes.c_long(_MOVE_MOUNT_F_EMPTY_PATH),
    )


def make_read_only(mount: int, path: str) -> None:
    """
    Make the *mount* of this descriptor read-only, and those below it.

    Args:
        mount: The mount.
        path: What it shows, for the error.

    Raises:
        OSError: The kernel refused.

    Source: mount_setattr(2), Linux 5.12.
    """
    attributes = _MountAttributes(attr_set=MOUNT_ATTR_RDONLY)
    _call(
        "syscall",
        f"mount_setattr({path})",
        ctypes.c_long(_NR_MOUNT_SETATTR),
        ctypes.c_long(mount),
        b"",
        ctypes.c_long(_AT_EMPTY_PATH | _AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def new_mount(
    fstype: str, about: str, options: dict[str, str | None], attributes: int
) -> int:
    """
    Return the descriptor of a new file system, which is attached nowhere.

    Args:
        fstype: Its type.
        about: What it is for, for the error.
        options: Its options; None is the value of one that has none.
        attributes: The attributes of its mount.

    Raises:
        OSError: The kernel refused.

    Source: fsopen(2), fsconfig(2), fsmount(2), Linux 5.2.
    """
    context = _call(
        "syscall",
        f"fsopen({fstype})",
        ctypes.c_long(_NR_FSOPEN),
        os.fsencode(fstype),
        ctypes.c_long(_FSOPEN_CLOEXEC),
    )
    try:
        for key, value in options.items():
            command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
            _configure(context, f"{fstype}, {key}", command, key, value)
        _configure(context, f"{fstype}, {about}", _FSCONFIG_CMD_CREATE)
        return _call(
            "syscall",
            f"fsmount({fstype}, {about})",
            ctypes.c_long(_NR_FSMOUNT),
            ctypes.c_long(context),
            ctypes.c_long(_FSMOUNT_CLOEXEC),
            ctypes.c_long(attributes),
        )
    finally:
        os.close(context)


def _configure(
    context: int,
    text: str,
    command: int,
    key: str | None = None,
    value: str | None = None,
) -> None:
    _call(
        "syscall",
        f"fsconfig({text})",
        ctypes.c_long(_NR_FSCONFIG),
        ctypes.c_long(context),
        ctypes.c_long(command),
        None if key is None else os.fsencode(key),
        None if value is None else os.fsencode(value),
        ctypes.c_long(0),
    )


def sethostname(name: str) -> None:
    """
    Set the hostname of the calling process's UTS namespace.

    Raises:
        OSError: The kernel refused.

    Source: sethostname(2); at most 64 bytes.
    """
    raw = os.fsencode(name)
    _call("sethostname", "sethostname()", raw, ctypes.c_size_t(len(raw)))


def setdomainname(name: str) -> None:
    """
    Set the NIS domain name of the calling process's UTS namespace.

    Raises:
        OSError: The kernel refused.

    Source: setdomainname(2); at most 64 bytes.
    """
    raw = os.fsencode(name)
    _call("setdomainname", "setdomainname()", raw, ctypes.c_size_t(len(raw)))


def clearenv() -> None:
    """
    Clear the environment that C code sees, which may hold more than `os.environ`.

    Source: clearenv(3). readline(3) sets LINES and COLUMNS there, for example.
    """
    _call("clearenv", "clearenv()")


def set_link_up(fd: int, name: str) -> None:
    """
    Bring up the interface *name* in the network namespace of the socket *fd*.

    Args:
        fd: The descriptor of any socket.
        name: The interface. ``lo`` gets its addresses, too.

    Raises:
        OSError: The kernel refused.

    Source: netdevice(7), SIOCSIFFLAGS, which takes CAP_NET_ADMIN. The kernel adds the
    addresses before the call returns: inetdev_event() in net/ipv4/devinet.c and
    init_loopback() in net/ipv6/addrconf.c.
    """
    request = _InterfaceRequest(name=os.fsencode(name))
    for code, text in (
        (SIOCGIFFLAGS, "SIOCGIFFLAGS"),
        (SIOCSIFFLAGS, "SIOCSIFFLAGS"),
    ):
        _call(
            "ioctl",
            f"ioctl({text}, {name})",
            ctypes.c_int(fd),
            ctypes.c_ulong(code),
            ctypes.byref(request),
        )
        request.flags |= IFF_UP


def set_parent_death_signal(number: int) -> None:
    """
    Make the kernel send signal *number* when the thread that forked this one ends.

    Raises:
        OSError: The kernel refused.

    Source: PR_SET_PDEATHSIG(2const). A change of credentials clears it, so set it after
    the last one.
    """
    _prctl("prctl(PR_SET_PDEATHSIG)", PR_SET_PDEATHSIG, number)


def confine_signals() -> None:
    """
    Let this process send signals only to itself and to what it will start.

    Nor can it trace others. It takes CAP_SYS_ADMIN, and cannot be undone.

    Raises:
        OSError: The kernel refused. It has no such rule before 6.12.

    Source: landlock(7), LANDLOCK_SCOPE_SIGNAL.
    """
    fd = _call("syscall", "landlock_create_ruleset()", *_CREATE_RULESET)
    try:
        call = (_RESTRICT_SELF, ctypes.c_long(fd), ctypes.c_long(0))
        _call("syscall", "landlock_restrict_self()", *call)
    finally:
        os.close(fd)


def address_of(memory: mmap.mmap) -> int:
    """
    Return the address at which *memory* is mapped.
    """
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def populate(pidfd: int, ranges: int, count: int) -> int:
    """
    Give this process pages of its own, as if it had written to them.

    Args:
        pidfd: Its pidfd.
        ranges: The address of *count* ranges, as an array of ``struct iovec``.
        count: How many there are, at most 1,024.

    Returns:
        The size of those ranges of which this was done: all, or the first ones.

    Raises:
        OSError: The kernel refused. EINVAL may mean that it is older than 6.13, and
            ENOMEM that the first range is not mapped.

    Source: process_madvise(2); madvise(2), MADV_POPULATE_WRITE; iovec(3type).
    """
    return _call(
        "syscall",
        "process_madvise()",
        _PROCESS_MADVISE,
        ctypes.c_long(pidfd),
        ctypes.c_void_p(ranges),
        ctypes.c_size_t(count),
        *_POPULATE,
    )


def capabilities() -> tuple[int, int, int]:
    """
    Return the calling thread's effective, permitted and inheritable capabilities.

    Raises:
        OSError: The kernel refused.

    Source: capget(2).
    """
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapData * 2)()
    _call("capget", "capget()", ctypes.byref(header), data)
    return (
        data[0].effective | data[1].effective << 32,
        data[0].permitted | data[1].permitted << 32,
        data[0].inheritable | data[1].inheritable << 32,
    )


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """
    Set the calling thread's capabilities, given as three bit masks.

    Raises:
        OSError: The kernel refused.

    Source: capset(2).
    """
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    low = 0xFFFFFFFF
    data = (_CapData * 2)(
        _CapData(effective & low, permitted & low, inheritable & low),
        _CapData(effective >> 32, permitted >> 32, inheritable >> 32),
    )
    _call("capset", "capset()", ctypes.byref(header), data)


def bounding_set() -> int:
    """
    Return the capability bounding set as a bit mask.

    Source: capabilities(7), "Capability bounding set"; PR_CAPBSET_READ(2const)
    answers EINVAL for the first number that the kernel does not know.
    """
    mask = 0
    for number in range(64):
        try:
            present = _prctl("prctl(PR_CAPBSET_READ)", PR_CAPBSET_READ, number)
        except OSError:
            break
        mask |= present << number
    return mask


def drop_from_bounding_set(mask: int) -> None:
    """
    Remove the capabilities in the bit mask *mask* from the bounding set.

    Raises:
        OSError: The kernel refused.

    Source: PR_CAPBSET_DROP(2const); needs CAP_SETPCAP.
    """
    for number in range(mask.bit_length()):
        if mask >> number & 1:
            _prctl("prctl(PR_CAPBSET_DROP)", PR_CAPBSET_DROP, number)


def _prctl(text: str, option: int, argument: int) -> int:
    zero = ctypes.c_ulong(0)
    return _call(
        "prctl",
        text,
        ctypes.c_int(option),
        ctypes.c_ulong(argument),
        zero,
        zero,
        zero,
    )
