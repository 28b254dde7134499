"""
The capabilities that a sandbox can take, and whether they are in effect.
"""

from __future__ import annotations

from collections.abc import Iterable

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.namespaces import Namespace

NET_ADMIN = "CAP_NET_ADMIN"
SETFCAP = "CAP_SETFCAP"
SYS_ADMIN = "CAP_SYS_ADMIN"
SYS_CHROOT = "CAP_SYS_CHROOT"
SYS_TIME = "CAP_SYS_TIME"

#: The number of each. Source: linux/capability.h.
NUMBERS = {NET_ADMIN: 12, SYS_CHROOT: 18, SYS_ADMIN: 21, SYS_TIME: 25, SETFCAP: 31}


def is_in(name: str, mask: int) -> bool:
    """
    Say whether the capability *name* is in the bit *mask*.
    """
    return bool(mask >> NUMBERS[name] & 1)


def lacking(kinds: Iterable[Namespace]) -> tuple[str, ...]:
    """
    Return what namespaces of *kinds* take besides CAP_SYS_ADMIN and is not in effect.
    """
    effective, _, _ = syscalls.capabilities()
    taken = [one.capability for one in kinds if one.capability is not None]
    return tuple(name for name in taken if not is_in(name, effective))
