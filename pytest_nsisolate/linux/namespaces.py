"""
The table of namespaces that a sandbox can have; everything else derives from it.

The launcher, a bare interpreter, imports this module, which itself imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# How a process enters a namespace.
#: By setns(), which takes effect at once. Init makes it by unshare().
JOINED = "joined"
#: By being forked into it. The launcher makes it.
FORKED = "forked"
#: By setns(), before all others, which it owns. It is made only if this process may
#: not make the others without it.
OWNER = "owner"


class Namespace:
    """
    A kind of namespace.

    Args:
        name: Its name in ``/proc/PID/ns``.
        flag: Its bit for unshare(2) and setns(2). Source: linux/sched.h.
        clone_name: The name of that bit in C.
        man_page: Its manual page.
        entry: `JOINED`, `FORKED` or `OWNER`.
        keyword: The field of a spec that asks for it; None: every sandbox has it.
        privileged: Whether it takes CAP_SYS_ADMIN. A process without that needs a
            namespace of the kind `OWNER` first. Source: unshare(2), setns(2).
        capability: What else it takes to set it up and to enter it.
    """

    __slots__ = (
        "capability",
        "clone_name",
        "entry",
        "flag",
        "keyword",
        "man_page",
        "name",
        "privileged",
    )

    def __init__(
        self,
        name: str,
        flag: int,
        clone_name: str,
        man_page: str,
        *,
        entry: str = JOINED,
        keyword: str | None = None,
        privileged: bool = True,
        capability: str | None = None,
    ) -> None:
        self.name = name
        self.flag = flag
        self.clone_name = clone_name
        self.man_page = man_page
        self.entry = entry
        self.keyword = keyword
        self.privileged = privileged
        self.capability = capability

    def __repr__(self) -> str:
        return f"<Namespace {self.name}>"

    @property
    def limit(self) -> str:
        """
        The sysctl that limits how many there may be. Source: namespaces(7).
        """
        return f"user.max_{self.name}_namespaces"


USER = Namespace(
    "user",
    0x10000000,
    "CLONE_NEWUSER",
    "user_namespaces(7)",
    entry=OWNER,
    privileged=False,
)
IPC = Namespace("ipc", 0x08000000, "CLONE_NEWIPC", "ipc_namespaces(7)")
UTS = Namespace("uts", 0x04000000, "CLONE_NEWUTS", "uts_namespaces(7)")
PID = Namespace("pid", 0x20000000, "CLONE_NEWPID", "pid_namespaces(7)", entry=FORKED)
# To enter it changes the root directory. Source: setns(2), "Mount namespaces".
MNT = Namespace(
    "mnt",
    0x00020000,
    "CLONE_NEWNS",
    "mount_namespaces(7)",
    capability="CAP_SYS_CHROOT",
)
# Its loopback interface has to be brought up. Source: netdevice(7), SIOCSIFFLAGS.
NET = Namespace(
    "net",
    0x40000000,
    "CLONE_NEWNET",
    "network_namespaces(7)",
    keyword="net",
    capability="CAP_NET_ADMIN",
)
CGROUP = Namespace(
    "cgroup", 0x02000000, "CLONE_NEWCGROUP", "cgroup_namespaces(7)", keyword="cgroup"
)
# setns(2) takes it by a pidfd since Linux 5.9. Unlike the others, it is made for
# children only: init has to join it, and may shift its clocks before that. Source:
# time_namespaces(7).
TIME = Namespace(
    "time",
    0x00000080,
    "CLONE_NEWTIME",
    "time_namespaces(7)",
    keyword="time",
    capability="CAP_SYS_TIME",
)

#: All of them, in the order in which they are shown.
TABLE = (USER, IPC, UTS, PID, MNT, NET, CGROUP, TIME)

#: All of them, in the order in which they are made: init comes last.
MADE = tuple(sorted(TABLE, key=lambda one: one.entry == JOINED))


def asked_for(spec: object) -> tuple[Namespace, ...]:
    """
    Return the namespaces that a sandbox for *spec* has, whoever makes them.
    """
    return tuple(
        one
        for one in TABLE
        if one.entry != OWNER and (one.keyword is None or getattr(spec, one.keyword))
    )


def joined(namespaces: Iterable[Namespace]) -> int:
    """
    Return the combined bits of the `JOINED` ones among *namespaces*.
    """
    return sum(one.flag for one in namespaces if one.entry == JOINED)


def named(names: Iterable[str]) -> tuple[Namespace, ...]:
    """
    Return the namespaces with the given *names*, in that order.
    """
    return tuple(one for name in names for one in TABLE if one.name == name)


def clone_names(flags: int) -> str:
    """
    Return *flags* as C source, such as ``CLONE_NEWIPC|CLONE_NEWUTS``.
    """
    return "|".join(one.clone_name for one in TABLE if flags & one.flag)
