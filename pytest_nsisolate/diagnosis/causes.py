"""
The table of known causes of a refusal: how to recognise each, and what to type.

The order is the order in which `explain` checks them. The page on refusals in the
documentation is generated from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Cause(NamedTuple):
    """
    A cause, with its fix.
    """

    name: str
    """Its key in `explain.CHECKS`."""
    title: str
    """Its heading in the documentation."""
    evidence: str
    """The facts that the check reads."""
    why: str
    """The line ``why:``, with placeholders for facts."""
    fix: str
    """The line ``fix:``, with the same placeholders."""
    environments: str
    """Where it occurs."""
    source: str
    """The manual page, or another source where there is none."""
    contained: str = ""
    """As `fix` in a container, if it differs there: ``{start}`` is how to start it."""
    example: Mapping[str, str] = MappingProxyType({})
    """Facts to fill the placeholders with in the documentation."""


LEAVE_CHROOT = (
    "run pytest outside the chroot, or as root with all capabilities, or enter the "
    "tree with systemd-nspawn instead of chroot"
)
WITHOUT_FILTER = (
    "start pytest without that filter: a systemd unit has one for RestrictNamespaces= "
    "and SystemCallFilter=, and Docker is told by docker run --security-opt "
    "seccomp=unconfined --security-opt systempaths=unconfined"
)

BWRAP_PROC = (
    "start the sandbox that pytest is in with a /proc, as bwrap --proc /proc does"
)
MOUNT_PROC = f"sudo mount -t proc proc /proc, or {BWRAP_PROC}"

CAUSES = (
    Cause(
        name="not-linux",
        title="Not on Linux",
        evidence="`sys.platform`",
        why="namespaces are a Linux feature, and this is {platform}",
        fix="run the tests on Linux, or pass --nsisolate-unavailable=skip",
        environments="macOS, Windows, the BSDs",
        source="namespaces(7)",
        example={"platform": "darwin"},
    ),
    Cause(
        name="no-gil",
        title="A Python without the GIL",
        evidence="`sys._is_gil_enabled()`",
        why="this Python runs without the GIL (sys._is_gil_enabled() is False), and "
        "pytest-nsisolate has never been tested with that",
        fix="PYTHON_GIL=1 python -m pytest, or use a Python that is not free-threaded",
        environments="free-threaded builds of CPython, such as `python3.14t`",
        source="Python documentation, Python support for free threading",
    ),
    Cause(
        name="lost-directory",
        title="The working directory does not exist in the sandbox",
        evidence="the refused call is `chdir()`",
        why="the working directory cannot be reached in the sandbox, which has its own "
        "/proc, /dev/shm and /dev/mqueue",
        fix="cd to a directory outside of these and run pytest there",
        environments="anywhere",
        source="shm_overview(7)",
    ),
    Cause(
        name="no-directory",
        title="A directory in tmpfs=, overlay= or readonly= is missing",
        evidence="`mount()` of a tmpfs, or `open_tree()`, fails with ENOENT, ENOTDIR "
        "or EACCES; `stat()` of its path also fails with one of these, or shows that "
        "it is not a directory",
        why="{path} {state}, and {keyword} needs an existing directory",
        fix="{remedy}, or leave {path} out of {keyword}",
        environments="paths that exist on one machine but not on another",
        source="mount(2), open_tree(2)",
        example={
            "path": "/run/db",
            "state": "does not exist (stat() says ENOENT)",
            "keyword": "tmpfs=",
            "remedy": "mkdir -p /run/db",
        },
    ),
    Cause(
        name="mounts-below",
        title="An overlay over mounts, in a user namespace",
        evidence="`open_tree()` of a directory in overlay= fails with EINVAL in a user "
        "namespace, and `/proc/self/mountinfo` has mounts below it",
        why="in a user namespace no overlay may hide mounts from outside, and below "
        "{path} there is one at {mounts} (/proc/self/mountinfo)",
        fix="run as root, or write overlay=True, where such a directory is read-only",
        environments="containers, which mount files over `/etc/hosts` and "
        "`/etc/resolv.conf`; the root directory anywhere",
        source="mount_namespaces(7), restrictions on mount namespaces",
        example={"path": "/etc", "mounts": "/etc/resolv.conf"},
    ),
    Cause(
        name="no-overlayfs",
        title="A kernel without overlayfs",
        evidence="`fsopen()` fails with ENODEV, and `/proc/filesystems` has no overlay",
        why="this kernel has no overlayfs (overlay is not in /proc/filesystems), which "
        "overlay= takes",
        fix="sudo modprobe overlay, or use tmpfs= instead of overlay=",
        environments="kernels built without `CONFIG_OVERLAY_FS`, or whose modules "
        "cannot be loaded",
        source="fsopen(2), ENODEV; Documentation/filesystems/overlayfs.rst in Linux",
    ),
    Cause(
        name="not-a-layer",
        title="A file system that cannot be under an overlay",
        evidence="`fsconfig()` of an overlay fails with EINVAL; the file system is "
        "read from `/proc/self/mountinfo`",
        why="perhaps its file system, for {path} is on {fstype} "
        "(/proc/self/mountinfo), and overlayfs refuses some: two overlays on each "
        "other, or names without regard to case",
        fix="leave {path} out of overlay=, or use tmpfs= instead",
        environments="containers in containers whose root directories are overlays "
        "already; vfat",
        source="Documentation/filesystems/overlayfs.rst in Linux; fs/overlayfs/super.c",
        example={"path": "/srv", "fstype": "overlay"},
    ),
    Cause(
        name="no-user-attributes",
        title="A tmpfs without user attributes",
        evidence="`setxattr()` on a tmpfs fails with EOPNOTSUPP",
        why="without CAP_SYS_ADMIN outside, an overlay keeps notes in extended user "
        "attributes, and the tmpfs of this kernel has none (it is {release}; they came "
        "with Linux 6.6, as CONFIG_TMPFS_XATTR)",
        fix="boot Linux 6.6 or later, or run as root, or use tmpfs= instead of "
        "overlay=",
        environments="Debian 12, Ubuntu 22.04 and others, for users other than root",
        source="tmpfs(5), xattr(7); Documentation/filesystems/overlayfs.rst in Linux",
        example={"release": "6.1.0"},
    ),
    Cause(
        name="no-proc",
        title="No /proc that shows pytest",
        evidence="the call needs a file in `/proc` and fails with ENOENT, or `mount()` "
        "of `/proc` fails with ENOENT or EPERM; `/proc/self` does not exist",
        why="{state}, {need}",
        fix="{remedy}",
        environments="bubblewrap without `--proc`, chroots without mounts, mount "
        "namespaces entered without their PID namespace",
        source="proc(5), proc_pid_uid_map(5); mount_namespaces(7), restrictions on "
        "mount namespaces",
        example={
            "state": "no procfs is mounted at /proc (/proc/self does not exist)",
            "need": "and the ids of a user namespace are written to a file there",
            "remedy": MOUNT_PROC,
        },
    ),
    Cause(
        name="read-only-proc",
        title="A read-only /proc",
        evidence="the call writes to a file in `/proc` and fails with EROFS; "
        "`/proc/self/mountinfo` has `ro` for `/proc`",
        why="/proc is mounted read-only (ro in /proc/self/mountinfo), and the ids of a "
        "user namespace are written to a file there",
        fix=f"sudo mount -o remount,bind,rw /proc, or {BWRAP_PROC}",
        environments="`bwrap --ro-bind / /`, `docker run --volume /proc:/proc:ro`",
        source="proc_pid_uid_map(5), proc_pid_mountinfo(5)",
    ),
    Cause(
        name="mount-limit",
        title="Too many mounts",
        evidence="`mount()` fails with ENOSPC",
        why="the mount namespace cannot hold more mounts (fs.mount-max is {limit})",
        fix="sudo sysctl -w fs.mount-max=200000, or unmount what you do not need",
        environments="machines with very many mounts; each sandbox copies all of them",
        source="proc_sys_fs(5), mount-max",
        example={"limit": "100000"},
    ),
    Cause(
        name="gvisor",
        title="gVisor",
        evidence="`uname -r` contains `gvisor`, or `uname -v` is gVisor's fixed answer",
        why="this is the kernel of gVisor (uname says {release} {version}), which "
        "lacks some of the namespaces",
        fix="run the container with runc instead of runsc, or pass "
        "--nsisolate-unavailable=skip",
        environments="containers with the runtime `runsc`, and clouds that use it",
        source="gVisor issues 221 and 13314",
        example={"release": "4.4.0", "version": "#1 SMP Sun Jan 10 15:06:54 PST 2016"},
    ),
    Cause(
        name="wsl1",
        title="WSL 1",
        evidence="`uname -r` ends with `-Microsoft`",
        why="this is version 1 of the Windows Subsystem for Linux (uname says "
        "{release}), which is not a Linux kernel and lacks these namespaces",
        fix="wsl --set-version DISTRIBUTION 2, in Windows",
        environments="Windows with WSL 1; WSL 2 has a Linux kernel",
        source="WSL issue 2981",
        example={"release": "4.4.0-19041-Microsoft"},
    ),
    Cause(
        name="no-such-namespaces",
        title="A kernel without a kind of namespace",
        evidence="the call fails with EINVAL, and one of the kinds that it names is "
        "not in `/proc/self/ns`",
        why="this kernel has no {name} namespaces (/proc/self/ns/{name} is not there)",
        fix="boot a kernel that has them{instead}",
        environments="kernels built without `CONFIG_TIME_NS` or `CONFIG_IPC_NS`, for "
        "instance, and kernels older than the kind: time namespaces came with Linux "
        "5.6",
        source="namespaces(7), unshare(2), EINVAL",
        example={"name": "time", "instead": ", or leave time= out"},
    ),
    Cause(
        name="threads",
        title="A library that starts threads in each fork",
        evidence="`setns()` with a pidfd fails with EINVAL, and `/proc/self/task` of "
        "the process that called it has other threads",
        why="a process with threads cannot enter a user or mount namespace (setns(2)), "
        "and in the fork of pytest C code has started some: {names}",
        fix='write @pytest.mark.isolated(scope="session"), or set up what starts them '
        "in a function-scoped fixture; if they are gRPC's and no isolated test uses "
        "it: export GRPC_ENABLE_FORK_SUPPORT=0",
        environments="gRPC, with a server or channel of a borrowed fixture, and others "
        "that start threads by pthread_atfork(3). Threads that "
        "`os.register_at_fork()` starts are no obstacle",
        source="setns(2), EINVAL; pthread_atfork(3)",
        example={"names": "event_engine, lifeguard"},
    ),
    Cause(
        name="old-kernel",
        title="An old kernel",
        evidence="`setns()` with a pidfd fails with EINVAL; or `mount_setattr()` fails "
        "with ENOSYS, and `uname -r` is older than 5.12",
        why="this kernel is {release}; {what} needs Linux {since} or later",
        fix="boot Linux {since} or later, or pass --nsisolate-unavailable=skip",
        environments="distributions from before 2020, and before 2021 for readonly=",
        source="setns(2), mount_setattr(2)",
        example={
            "release": "5.4.0",
            "what": "setns() with a pidfd",
            "since": "5.8",
        },
    ),
    Cause(
        name="limit-zero",
        title="A forbidden kind of namespace",
        evidence="the call fails with ENOSPC, and one of `user.max_*_namespaces` is 0",
        why="this system forbids one kind of namespace ({setting} is 0)",
        fix="sudo sysctl -w {setting}=10000",
        environments="RHEL and CentOS 7, hardened systems",
        source="namespaces(7), unshare(2)",
        example={"setting": "user.max_user_namespaces"},
    ),
    Cause(
        name="nested",
        title="A nested sandbox",
        evidence="the call fails with ENOSPC, and `/proc/self/uid_map` does not map "
        "every id to itself",
        why="pytest is already in a user namespace (/proc/self/uid_map is {map}); the "
        "limits of the namespaces above it count too, and at most 32 can be nested",
        fix="run pytest outside that sandbox, or run bwrap {options}without "
        "--disable-userns",
        environments="bubblewrap and Flatpak with `--disable-userns`, rootless "
        "containers",
        source="namespaces(7), user_namespaces(7)",
        example={"map": "1000 0 1", "options": ""},
    ),
    Cause(
        name="limit-reached",
        title="Too many namespaces",
        evidence="the call fails with ENOSPC, or with EUSERS up to Linux 4.9, and no "
        "limit is 0",
        why="there are too many namespaces, or more than 32 are nested ({values})",
        fix="sudo sysctl -w user.max_user_namespaces=100000 (and the others likewise), "
        "or run pytest outside this container",
        environments="machines with very many containers; each limit applies per user, "
        "in this user namespace and in each one above it",
        source="unshare(2)",
        example={
            "values": "user.max_user_namespaces is 31199, user.max_pid_namespaces is "
            "31199, user.max_ipc_namespaces is 31199, user.max_uts_namespaces is "
            "31199, user.max_mnt_namespaces is 31199"
        },
    ),
    Cause(
        name="cgroup-limit",
        title="Too many processes for the cgroup",
        evidence="the call fails with EAGAIN, and `pids.events` of a cgroup that "
        "pytest is in has counted a refusal; the limit is read from `pids.max`",
        why="the cgroup {path} may have {limit} processes and threads (pids.max), and "
        "more were asked for (pids.events)",
        fix="echo max | sudo tee {path}/pids.max, or start pytest with a higher limit: "
        "systemd-run -p TasksMax=, docker run --pids-limit",
        environments="containers, units of systemd",
        source='fork(2); Documentation/admin-guide/cgroup-v2.rst in Linux, "PID"',
        example={"path": "/sys/fs/cgroup/tests.scope", "limit": "500"},
    ),
    Cause(
        name="process-limit",
        title="Too many processes",
        evidence="the call fails with EAGAIN; the limit is read from "
        "`/proc/self/limits`",
        why="no more processes can be started (RLIMIT_NPROC is {limit})",
        fix="sudo prlimit --nproc=unlimited --pid $$, or end processes of this user",
        environments="shared machines; the limit counts all processes of the user",
        source="fork(2), getrlimit(2)",
        example={"limit": "63432"},
    ),
    Cause(
        name="descriptor-limit",
        title="Too many open files",
        evidence="the call fails with EMFILE; the limit is `sysconf(SC_OPEN_MAX)`",
        why="no more descriptors can be opened (RLIMIT_NOFILE is {limit})",
        fix="{remedy}",
        environments="suites that keep many files open",
        source="getrlimit(2)",
        example={"limit": "1024", "remedy": "ulimit -S -n 2048"},
    ),
    Cause(
        name="clock-range",
        title="An offset that the clocks cannot have",
        evidence="the write to `/proc/self/timens_offsets` fails with ERANGE",
        why="an offset in time= would set a clock below 0 or above 146 years (outside, "
        "CLOCK_MONOTONIC is at {monotonic} s and CLOCK_BOOTTIME at {boottime} s)",
        fix="write offsets from {lowest} up in time=, or pass "
        "--nsisolate-unavailable=skip",
        environments="negative offsets on machines that have just been booted",
        source="time_namespaces(7), ERANGE",
        example={"monotonic": "3600", "boottime": "3600", "lowest": "-3600"},
    ),
    Cause(
        name="no-capability",
        title="A missing capability",
        evidence="the call fails with EPERM, no user namespace was made for it, and "
        "the capability that it takes is not in CapEff",
        why="the call takes {name}, which is not in effect (CapEff is {capabilities})",
        fix="{remedy}; not needed if isolation with a user namespace works",
        contained="{start}; not needed if isolation with a user namespace works",
        environments="only the doctor shows this: tests use a user namespace instead",
        source="capabilities(7)",
        example={
            "name": "CAP_SYS_ADMIN",
            "capabilities": "0000000000000000",
            "remedy": "run as root",
        },
    ),
    Cause(
        name="seccomp",
        title="A seccomp filter",
        evidence="Seccomp is 2 in `/proc/self/status`, and the call fails with the "
        "same errno with arguments for which the kernel gives another one, whatever "
        "the capabilities",
        why="a seccomp filter refuses {call}: even with wrong arguments it fails with "
        "{errno}, for which the kernel has {kernels} (Seccomp is 2 in "
        "/proc/self/status{sign})",
        fix="{remedy}",
        contained="{start}",
        environments="Docker, Podman, Kubernetes with `RuntimeDefault`, CI jobs in "
        "containers; systemd units with `RestrictNamespaces=`",
        source="seccomp(2); Docker documentation, seccomp security profiles",
        example={
            "call": "unshare()",
            "errno": "EPERM",
            "kernels": "EINVAL",
            "sign": "",
            "remedy": WITHOUT_FILTER,
        },
    ),
    Cause(
        name="unmapped",
        title="A user without a mapping",
        evidence="`unshare(CLONE_NEWUSER)` fails with EPERM; the effective uid or gid "
        "is not in `/proc/self/uid_map` or `/proc/self/gid_map`",
        why="{kind} {number} has no mapping in the user namespace that pytest is in "
        "(/proc/self/{kind}_map is {map}), and so may make no other one (unshare(2))",
        fix="map it there, as unshare --user --map-current-user does",
        environments="user namespaces made by hand; containers started with a uid "
        "outside their range",
        source="unshare(2), EPERM; user_namespaces(7)",
        example={"kind": "uid", "number": "65534", "map": "empty"},
    ),
    Cause(
        name="chroot",
        title="A chroot",
        evidence="`unshare(CLONE_NEWUSER)` fails with EPERM; `/proc/self/mountinfo` "
        "has no mount at `/`, or `/proc/1/root` is another directory",
        why="pytest is in a chroot ({sign}), where the kernel refuses to make a user "
        "namespace (unshare(2))",
        fix=LEAVE_CHROOT,
        environments="package builds, rescue systems",
        source="unshare(2), EPERM",
        example={"sign": "/proc/self/mountinfo has no mount at /"},
    ),
    Cause(
        name="not-dumpable",
        title="An interpreter that the user may not read",
        evidence="a write to a file in `/proc/self` fails with EACCES; the "
        "interpreter cannot be read",
        why="this user may run {interpreter} but not read it (its mode is {mode}), so "
        "the kernel lets only root write to the files of its processes in /proc "
        "(proc(5), /proc/pid)",
        fix="sudo chmod a+r {interpreter}",
        environments="interpreters with the mode 711",
        source="proc(5), /proc/pid; prctl(2), PR_SET_DUMPABLE",
        example={"interpreter": "/opt/python/bin/python3.11", "mode": "711"},
    ),
    Cause(
        name="faked-uid",
        title="fakeroot",
        evidence="a write to `/proc/self/uid_map` fails with EPERM and `geteuid()` is "
        "not the uid in `/proc/self/status`; or an init dies and `libfakeroot-sysv` is "
        "in `/proc/self/maps`",
        why="{state}",
        fix="env -u LD_PRELOAD python -m pytest",
        environments="package builds: fakeroot, pseudo",
        source="fakeroot(1); ipc_namespaces(7)",
        example={
            "state": "the uid is faked by libfakeroot-sysv.so (geteuid() is "
            "0, but 1000 in /proc/self/status), and the kernel maps only the true one"
        },
    ),
    Cause(
        name="apparmor-userns",
        title="AppArmor forbids user namespaces",
        evidence="the call fails with EPERM or EACCES; the setting is 1; pytest is "
        "unconfined and has no CAP_SYS_ADMIN",
        why="this kernel forbids unprivileged user namespaces "
        "(kernel.apparmor_restrict_unprivileged_userns is 1)",
        fix="sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as "
        "root",
        contained="sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 on "
        "the host, or {start}",
        environments="Ubuntu since 23.10, and so the GitHub images `ubuntu-24.04` and "
        "`ubuntu-latest`. The kernel makes the namespace but grants no capabilities "
        "in it, so a later call is refused, such as `write(/proc/self/uid_map)`",
        source="Ubuntu 23.10 release notes; apparmor(7)",
    ),
    Cause(
        name="userns-clone",
        title="The distribution forbids user namespaces",
        evidence="`unshare(CLONE_NEWUSER)` fails with EPERM; the setting is 0; pytest "
        "has no CAP_SYS_ADMIN",
        why="this kernel forbids unprivileged user namespaces "
        "(kernel.unprivileged_userns_clone is 0)",
        fix="sudo sysctl -w kernel.unprivileged_userns_clone=1, or run as root",
        contained="sudo sysctl -w kernel.unprivileged_userns_clone=1 on the host, or "
        "{start}",
        environments="Debian before 11, hardened kernels",
        source="Debian's kernel patch",
    ),
    Cause(
        name="apparmor-profile",
        title="An AppArmor profile",
        evidence="the call fails with EACCES, and `/proc/self/attr/current` names a "
        "profile",
        why="an AppArmor profile confines this process ({profile} in "
        "/proc/self/attr/current)",
        fix="docker run --security-opt apparmor=unconfined, or the same with podman",
        contained="{start}",
        environments="Docker and Kubernetes on Ubuntu and Debian: `docker-default` "
        "denies `mount()`, even with CAP_SYS_ADMIN",
        source="Docker documentation, AppArmor security profiles",
        example={"profile": "docker-default (enforce)"},
    ),
    Cause(
        name="masked-proc",
        title="Masked /proc",
        evidence="`mount()` of `/proc` fails with EPERM, and `/proc/self/mountinfo` "
        "has mounts below `/proc`",
        why="parts of /proc are masked ({masks}{sign}), so the kernel refuses to mount "
        "a fresh one in a user namespace (mount_namespaces(7))",
        fix="run pytest outside the sandbox that masks it, or "
        "@pytest.mark.isolated(proc=False)",
        contained="{start}, or @pytest.mark.isolated(proc=False)",
        environments="Docker, Podman, Kubernetes. `proc=False` accepts a sandbox "
        "without a fresh `/proc`",
        source="mount_namespaces(7), restrictions on mount namespaces",
        example={"masks": "/proc/kcore, /proc/keys, /proc/timer_list", "sign": ""},
    ),
    Cause(
        name="unmappable-root",
        title="Root cannot be mapped",
        evidence="a write to `/proc/self/uid_map` fails with EPERM; pytest is uid 0, "
        "and CAP_SETFCAP is not in CapEff",
        why="pytest is uid 0 without CAP_SETFCAP, so its uid cannot be mapped "
        "(user_namespaces(7), since Linux 5.12)",
        fix="give pytest CAP_SETFCAP, for instance by bwrap --cap-add CAP_SETFCAP, or "
        "run it as a user other than root",
        contained="{start}",
        environments="containers that run as root without some capabilities",
        source="user_namespaces(7)",
    ),
    Cause(
        name="perhaps-seccomp",
        title="Perhaps a seccomp filter",
        evidence="the call fails with EPERM or ENOSYS, Seccomp is 2 in "
        "`/proc/self/status`, none of the causes above applies, and wrong arguments "
        "cannot show who refuses this call",
        why="perhaps a seccomp filter: there is one (Seccomp is 2 in "
        "/proc/self/status{sign}) and no other known cause applies",
        fix="{remedy}{instead}",
        contained="{start}{instead}",
        environments="Podman, whose filter allows namespaces and refuses "
        "`sethostname()`",
        source="seccomp(2); seccomp.json of containers/common",
        example={
            "sign": "",
            "remedy": WITHOUT_FILTER,
            "instead": ", or leave out hostname= and domainname=",
        },
    ),
    Cause(
        name="perhaps-chroot",
        title="Perhaps a chroot",
        evidence="`unshare(CLONE_NEWUSER)` fails with EPERM, none of the causes above "
        "applies, and `/proc/1/root` cannot be read, or is in another mount namespace",
        why="perhaps pytest is in a chroot, where the kernel refuses to make a user "
        "namespace (unshare(2)): /proc/1/root, which would tell, {state}, and no other "
        "known cause applies",
        fix=LEAVE_CHROOT,
        environments="package builds, rescue systems",
        source="unshare(2), EPERM; proc_pid_root(5)",
        example={"state": "cannot be read"},
    ),
    Cause(
        name="perhaps-selinux",
        title="Perhaps SELinux",
        evidence="the call fails with EACCES or EPERM, `/proc/self/attr/current` is a "
        "label of SELinux, `/sys/fs/selinux/enforce` is not 0, and none of the causes "
        "above applies",
        why="perhaps SELinux: it {state}, and no other known cause applies",
        fix="sudo ausearch -m AVC -ts recent, and allow pytest what it shows; see "
        "audit2allow(1)",
        contained="{start}",
        environments="Fedora, RHEL, Android; its policies can forbid making a user "
        "namespace since Linux 6.1, and mounts before that",
        source="security/selinux in Linux, selinux_userns_create(); podman-run(1), "
        "--security-opt",
        example={
            "state": "is enforcing (/sys/fs/selinux/enforce is 1), pytest runs as "
            "user_u:user_r:user_t:s0"
        },
    ),
    Cause(
        name="unknown",
        title="Unknown cause",
        evidence="none of the causes above applies",
        why="unknown; checked {checked}",
        fix="strace -f -o trace.txt python -m pytest, and read the call in trace.txt",
        environments="security modules, patched kernels",
        source="strace(1)",
        example={
            "checked": "uid 1000, CapEff 0000000000000000, Seccomp 0, kernel 6.1.0, "
            "user.max_user_namespaces 31199"
        },
    ),
)
