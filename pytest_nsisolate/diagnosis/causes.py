"""
The reasons for which a sandbox is refused: how each is told, and what to type.

A table of data, in the order in which the reasons are looked for. `diagnosis` chooses
by it; the page on refusals in the documentation is made from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

#: What stands for the container where it cannot be told.
ANY = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """
    One reason, with its remedy.
    """

    name: str
    """By which `diagnosis` knows how to tell it."""
    title: str
    """For people."""
    told_by: str
    """The facts that are read."""
    why: str
    """The line ``why:``; facts stand in braces."""
    fix: str
    """The line ``fix:``."""
    fixes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The line ``fix:`` in a container of which the kind is known."""
    environments: str
    """Where people meet it."""
    source: str
    """The manual page, or else who says so."""
    example: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Facts, for the documentation."""


_FIELDS = "securityContext of the pod"

CAUSES = (
    Cause(
        name="not-linux",
        title="Not on Linux",
        told_by="`sys.platform`",
        why="namespaces are a facility of Linux and this is {platform}",
        fix="run the tests on Linux, or pass --nsisolate-unavailable=skip",
        environments="macOS, Windows, the BSDs",
        source="namespaces(7)",
        example={"platform": "darwin"},
    ),
    Cause(
        name="lost-directory",
        title="The working directory does not exist inside",
        told_by="the refused call is `chdir()`",
        why="the working directory cannot be reached inside; what is below /dev/shm "
        "and /dev/mqueue is not there",
        fix="cd to a directory outside of /dev/shm and run pytest there",
        environments="anywhere: a sandbox has its own, empty `/dev/shm` and "
        "`/dev/mqueue`",
        source="shm_overview(7)",
    ),
    Cause(
        name="no-directory",
        title="A directory in tmpfs= is missing",
        told_by="`mount()` of a tmpfs fails with ENOENT, ENOTDIR or EACCES; `stat()` "
        "of its path fails with one of these too, or shows that it is no directory",
        why="{path} {state}, and tmpfs= makes a directory fresh that is there",
        fix="{remedy}, or leave {path} out of tmpfs=",
        environments="paths that exist on one machine but not on another",
        source="mount(2)",
        example={
            "path": "/run/db",
            "state": "is not there (stat() says ENOENT)",
            "remedy": "mkdir -p /run/db",
        },
    ),
    Cause(
        name="mount-limit",
        title="Too many mounts",
        told_by="`mount()` fails with ENOSPC",
        why="no more can be mounted in a mount namespace (fs.mount-max is {limit})",
        fix="sudo sysctl -w fs.mount-max=200000, or unmount what no one needs",
        environments="machines with very many mounts; each sandbox has a copy of them "
        "all",
        source="proc_sys_fs(5), mount-max",
        example={"limit": "100000"},
    ),
    Cause(
        name="gvisor",
        title="gVisor",
        told_by="`uname -r` contains `gvisor`, or `uname -v` is the fixed answer of "
        "gVisor",
        why="this kernel is gVisor's (uname says {release} {version}), which has not "
        "all of the namespaces",
        fix="run the container with runc in place of runsc, or pass "
        "--nsisolate-unavailable=skip",
        environments="containers with the runtime `runsc`, and clouds that use it",
        source="gVisor's issues 221 and 13314",
        example={"release": "4.4.0", "version": "#1 SMP Sun Jan 10 15:06:54 PST 2016"},
    ),
    Cause(
        name="wsl1",
        title="WSL 1",
        told_by="`uname -r` ends with `-Microsoft`",
        why="this is version 1 of the Windows Subsystem for Linux (uname says "
        "{release}), which is no Linux kernel and has not these namespaces",
        fix="wsl --set-version DISTRIBUTION 2, in Windows",
        environments="Windows, WSL 1; WSL 2 has a Linux kernel",
        source="WSL's issue 2981",
        example={"release": "4.4.0-19041-Microsoft"},
    ),
    Cause(
        name="old-kernel",
        title="An old kernel",
        told_by="`setns()` with a pidfd fails with EINVAL",
        why="this kernel is {release}; setns() takes a pidfd since Linux 5.8",
        fix="boot a kernel of version 5.8 or later, or pass "
        "--nsisolate-unavailable=skip",
        environments="distributions from before 2020",
        source="setns(2)",
        example={"release": "5.4.0"},
    ),
    Cause(
        name="limit-zero",
        title="No namespaces allowed",
        told_by="the call fails with ENOSPC, and one of `user.max_*_namespaces` is 0",
        why="this system allows no more namespaces of a kind ({setting} is 0)",
        fix="sudo sysctl -w {setting}=10000",
        environments="RHEL and CentOS 7, hardened systems",
        source="namespaces(7), unshare(2)",
        example={"setting": "user.max_user_namespaces"},
    ),
    Cause(
        name="nested",
        title="A nested sandbox",
        told_by="the call fails with ENOSPC, and `/proc/self/uid_map` does not map "
        "every id to itself",
        why="pytest is in a user namespace already (/proc/self/uid_map is {map}), and "
        "the limits of those above it count too, as does that of 32 nested ones",
        fix="run pytest outside of that sandbox; for bwrap, without --disable-userns",
        environments="bubblewrap and Flatpak with `--disable-userns`, rootless "
        "containers",
        source="namespaces(7), user_namespaces(7)",
        example={"map": "1000 0 1"},
    ),
    Cause(
        name="limit-reached",
        title="Too many namespaces",
        told_by="the call fails with ENOSPC, or with EUSERS up to Linux 4.9, and no "
        "limit is 0",
        why="too many namespaces, or more than 32 nested in each other ({values})",
        fix="sudo sysctl -w user.max_user_namespaces=100000 (likewise the others), or "
        "leave the container that this runs in",
        environments="machines with very many containers; the limits count per user, "
        "and also in each user namespace above",
        source="unshare(2)",
        example={
            "values": "user.max_user_namespaces is 31199, user.max_pid_namespaces is "
            "31199, user.max_ipc_namespaces is 31199, user.max_uts_namespaces is "
            "31199, user.max_mnt_namespaces is 31199"
        },
    ),
    Cause(
        name="process-limit",
        title="Too many processes",
        told_by="the call fails with EAGAIN; the limit is read from "
        "`/proc/self/limits`",
        why="no more processes can be started (RLIMIT_NPROC is {limit})",
        fix="ulimit -u unlimited, or end processes of this user",
        environments="shared machines; the limit counts all processes of the user",
        source="fork(2), getrlimit(2)",
        example={"limit": "63432"},
    ),
    Cause(
        name="descriptor-limit",
        title="Too many open files",
        told_by="the call fails with EMFILE; the limit is `sysconf(SC_OPEN_MAX)`",
        why="no more descriptors can be opened (RLIMIT_NOFILE is {limit})",
        fix="ulimit -n {more}",
        environments="suites that keep many files open",
        source="getrlimit(2)",
        example={"limit": "1024", "more": "2048"},
    ),
    Cause(
        name="no-capability",
        title="No CAP_SYS_ADMIN and no user namespace",
        told_by="the call fails with EPERM, no user namespace was made for it, and "
        "CAP_SYS_ADMIN is not in CapEff",
        why="CAP_SYS_ADMIN is not in effect (CapEff is {capabilities})",
        fix="nothing where the user namespace will do; else run as root",
        environments="only the doctor shows this: a test then uses a user namespace",
        source="capabilities(7), unshare(2)",
        example={"capabilities": "0000000000000000"},
    ),
    Cause(
        name="chroot",
        title="A chroot",
        told_by="`unshare(CLONE_NEWUSER)` fails with EPERM; `/proc/self/mountinfo` "
        "has no mount at `/`, or `/proc/1/root` is another directory",
        why="pytest is in a chroot ({sign}), and there the kernel makes no user "
        "namespace (unshare(2))",
        fix="run pytest outside of the chroot or as root with CAP_SYS_ADMIN, or enter "
        "the tree with systemd-nspawn in place of chroot",
        environments="package builds, rescue systems",
        source="unshare(2), EPERM",
        example={"sign": "no mount is at / in /proc/self/mountinfo"},
    ),
    Cause(
        name="apparmor-userns",
        title="AppArmor forbids user namespaces",
        told_by="the call fails with EPERM or EACCES; the setting is 1; pytest is "
        "unconfined and has no CAP_SYS_ADMIN; no seccomp filter explains the error",
        why="this kernel forbids unprivileged user namespaces "
        "(kernel.apparmor_restrict_unprivileged_userns is 1)",
        fix="sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as "
        "root",
        environments="Ubuntu since 23.10, and so GitHub's images `ubuntu-24.04` and "
        "`ubuntu-latest`. The kernel makes the namespace but takes away the "
        "capabilities in it, so a later call is refused, such as "
        "`write(/proc/self/uid_map)`",
        source="Ubuntu's release notes for 23.10; apparmor(7)",
    ),
    Cause(
        name="userns-clone",
        title="The distribution forbids user namespaces",
        told_by="the call fails with EPERM; the setting is 0; pytest has no "
        "CAP_SYS_ADMIN",
        why="this kernel forbids unprivileged user namespaces "
        "(kernel.unprivileged_userns_clone is 0)",
        fix="sudo sysctl -w kernel.unprivileged_userns_clone=1, or run as root",
        environments="Debian before 11, hardened kernels",
        source="Debian's patch to the kernel",
    ),
    Cause(
        name="apparmor-profile",
        title="An AppArmor profile",
        told_by="the call fails with EACCES, and `/proc/self/attr/current` names a "
        "profile",
        why="an AppArmor profile is on this process ({profile} in "
        "/proc/self/attr/current)",
        fix="docker run --security-opt apparmor=unconfined, or podman likewise",
        fixes={
            "docker": "docker run --security-opt apparmor=unconfined",
            "podman": "podman run --security-opt apparmor=unconfined",
            "kubernetes": f"write appArmorProfile: {{{{type: Unconfined}}}} in the "
            f"{_FIELDS}",
        },
        environments="Docker and Kubernetes on Ubuntu and Debian: `docker-default` "
        "denies `mount()`, even with CAP_SYS_ADMIN",
        source="Docker's documentation, AppArmor security profiles",
        example={"profile": "docker-default (enforce)"},
    ),
    Cause(
        name="masked-proc",
        title="Masked /proc",
        told_by="`mount()` of `/proc` fails with EPERM, and `/proc/self/mountinfo` "
        "has mounts below `/proc`",
        why="the container masks parts of /proc ({masks}{sign}), and then the kernel "
        "mounts no fresh one (mount_namespaces(7))",
        fix="docker run --security-opt systempaths=unconfined, or podman run "
        "--security-opt unmask=ALL, or @pytest.mark.isolated(proc=False)",
        fixes={
            "docker": "docker run --security-opt systempaths=unconfined, or "
            "@pytest.mark.isolated(proc=False)",
            "podman": "podman run --security-opt unmask=ALL, or "
            "@pytest.mark.isolated(proc=False)",
            "kubernetes": "write hostUsers: false in the pod and procMount: Unmasked "
            "in the securityContext of the container, or "
            "@pytest.mark.isolated(proc=False)",
        },
        environments="Docker, Podman, Kubernetes. `proc=False` accepts a sandbox "
        "without a fresh `/proc`",
        source="mount_namespaces(7), restrictions on mount namespaces",
        example={"masks": "/proc/kcore, /proc/keys, /proc/timer_list", "sign": ""},
    ),
    Cause(
        name="unmappable-root",
        title="Root cannot be mapped",
        told_by="a write to `/proc/self/uid_map` fails with EPERM; pytest is uid 0, "
        "and CAP_SETFCAP is not in CapEff",
        why="pytest is uid 0 without CAP_SETFCAP, and such a uid cannot be mapped "
        "(user_namespaces(7), since Linux 5.12)",
        fix="run pytest as a user other than root, or give it CAP_SETFCAP",
        environments="containers that run as root without some capabilities",
        source="user_namespaces(7)",
    ),
    Cause(
        name="hidepid",
        title="Hidden process directories",
        told_by="a write below `/proc` fails with EPERM, EACCES or ENOENT; `/proc` is "
        "mounted with `hidepid`",
        why="/proc hides the directories of processes (it is mounted with hidepid="
        "{hidepid}), and the id maps are written there",
        fix="sudo mount -o remount,hidepid=0 /proc",
        environments="shared and hardened machines",
        source="proc(5), mount options; bubblewrap's issue 198",
        example={"hidepid": "invisible"},
    ),
    Cause(
        name="podman-hostname",
        title="Podman's seccomp filter and the hostname",
        told_by="`sethostname()` or `setdomainname()` fails with EPERM; Seccomp is 2; "
        "Podman's file exists",
        why="Podman's seccomp filter lets namespaces be made and refuses {call} "
        "(Seccomp is 2 in /proc/self/status{sign})",
        fix="podman run --security-opt seccomp=unconfined, or leave hostname= and "
        "domainname= out",
        environments="Podman",
        source="seccomp.json of containers/common",
        example={"call": "sethostname()", "sign": "; /run/.containerenv is there"},
    ),
    Cause(
        name="seccomp",
        title="A seccomp filter",
        told_by="the call fails with EPERM or ENOSYS, and Seccomp is 2 in "
        "`/proc/self/status`",
        why="a seccomp filter is on this process (Seccomp is 2 in /proc/self/status"
        "{sign})",
        fix="docker run --security-opt seccomp=unconfined, or podman likewise",
        fixes={
            "docker": "docker run --security-opt seccomp=unconfined",
            "podman": "podman run --security-opt seccomp=unconfined",
            "kubernetes": f"write seccompProfile: {{{{type: Unconfined}}}} in the "
            f"{_FIELDS}",
        },
        environments="Docker, Podman, Kubernetes with `RuntimeDefault`, CI jobs in "
        "containers; systemd units with `RestrictNamespaces=`",
        source="seccomp(2); Docker's documentation, seccomp security profiles",
        example={"sign": ""},
    ),
    Cause(
        name="unknown",
        title="Unknown cause",
        told_by="none of the causes above applies",
        why="not known; looked at {looked_at}",
        fix="strace -f -o trace.txt python -m pytest, and read the call in trace.txt",
        environments="security modules, patched kernels",
        source="strace(1)",
        example={
            "looked_at": "uid 1000, CapEff 0000000000000000, Seccomp 0, kernel 6.1.0, "
            "user.max_user_namespaces 31199"
        },
    ),
)
