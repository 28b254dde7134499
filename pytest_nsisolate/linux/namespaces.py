"""
The namespaces that a sandbox may be made of: one table, from which all else derives.

The launcher imports it, a bare interpreter: it imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: How a process comes to be in one. By setns(), at once: init makes it by unshare().
JOINED = "joined"
#: By its next fork: the launcher makes it, and a guest is forked into it.
FORKED = "forked"
#: By setns(), before any other: it owns the others, and is made where nothing else
#: lets this process make them.
OWNER = "owner"


class Namespace:
    """
    A kind of namespace.

    Args:
        name: What it is called in ``/proc/PID/ns``.
        flag: Its bit for unshare(2) and setns(2). Source: linux/sched.h.
        clone_name: The bit as C source.
        man_page: The manual page on it.
        entry: `JOINED`, `FORKED` or `OWNER`.
        keyword: The field of a spec that asks for it; None: every sandbox has it.
        privileged: Whether it takes CAP_SYS_ADMIN, for which a process without that
            needs a namespace of the kind `OWNER`. Source: unshare(2), setns(2).
    """

    __slots__ = (
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
    ) -> None:
        self.name = name
        self.flag = flag
        self.clone_name = clone_name
        self.man_page = man_page
        self.entry = entry
        self.keyword = keyword
        self.privileged = privileged

    def __repr__(self) -> str:
        return f"<Namespace {self.name}>"

    @property
    def limit(self) -> str:
        """
        The setting of how many there may be. Source: namespaces(7).
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
MNT = Namespace("mnt", 0x00020000, "CLONE_NEWNS", "mount_namespaces(7)")
NET = Namespace(
    "net", 0x40000000, "CLONE_NEWNET", "network_namespaces(7)", keyword="net"
)

#: All of them, in the order in which they are shown.
TABLE = (USER, IPC, UTS, PID, MNT, NET)

#: All of them, in the order in which they are made: init comes last.
MADE = tuple(sorted(TABLE, key=lambda one: one.entry == JOINED))


def asked_for(spec: object) -> tuple[Namespace, ...]:
    """
    Return those that a sandbox for *spec* has, whoever makes it.
    """
    return tuple(
        one
        for one in TABLE
        if one.entry != OWNER and (one.keyword is None or getattr(spec, one.keyword))
    )


def joined(namespaces: Iterable[Namespace]) -> int:
    """
    Return the bits of those of *namespaces* that are `JOINED`.
    """
    return sum(one.flag for one in namespaces if one.entry == JOINED)


def named(names: Iterable[str]) -> list[Namespace]:
    """
    Return those that *names* are the names of.
    """
    wanted = frozenset(names)
    return [one for one in TABLE if one.name in wanted]


def clone_names(flags: int) -> str:
    """
    Return *flags* as C source, ``CLONE_NEWIPC|CLONE_NEWUTS``.
    """
    return "|".join(one.clone_name for one in TABLE if flags & one.flag)
