"""
What one test asked for. Knows no pytest and no process.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Literal

from pytest_nsisolate.errors import SpecError, safe_repr

#: Longest hostname and domain name, in bytes. Source: uname(2), __NEW_UTS_LEN.
UTS_NAME_MAX = 64

#: The namespaces of every sandbox, by their names in /proc/PID/ns.
NAMESPACES = ("ipc", "uts", "pid", "mnt")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """
    The sandbox that one test asked for.

    Raises:
        SpecError: A value is of the wrong type or cannot be.

    .. versionadded:: 0.1.0
    """

    hostname: str | None = None
    """Hostname inside, at most 64 bytes; None: the host's."""
    domainname: str | None = None
    """NIS domain name inside, at most 64 bytes; None: the host's."""
    user: Literal["root"] | None = None
    """``"root"``: uid 0 inside, with its capabilities; None: who pytest runs as."""
    proc: bool | None = None
    """False: no fresh ``/proc``, the one outside shows; None: as True, a fresh one."""

    def __post_init__(self) -> None:
        _check_uts_name("hostname", self.hostname)
        _check_uts_name("domainname", self.domainname)
        if self.user is not None and self.user != "root":
            msg = f'user={safe_repr(self.user)} is neither "root" nor None'
            raise SpecError(msg, 'write user="root", or leave user= out')
        if self.proc is not None and not isinstance(self.proc, bool):
            msg = f"proc={safe_repr(self.proc)} is neither True, False nor None"
            raise SpecError(msg, "write proc=False, or leave proc= out")


def _check_uts_name(keyword: str, name: object) -> None:
    if name is None:
        return
    fix = f'write {keyword}="t1", or leave {keyword}= out'
    if not isinstance(name, str):
        kind = type(name).__name__
        raise SpecError(f"{keyword}={safe_repr(name)} is of type {kind}, not str", fix)
    if not name:
        raise SpecError(f"{keyword} is empty", fix)
    if "\0" in name:
        raise SpecError(f"{keyword}={safe_repr(name)} has a NUL byte", fix)
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:
        shown = f"{keyword}={safe_repr(name)}"
        why = f"{shown} cannot be written in the file system's encoding"
        raise SpecError(why, fix) from None
    if size > UTS_NAME_MAX:
        why = f"{keyword} has {size} bytes and the kernel takes {UTS_NAME_MAX}"
        raise SpecError(why, fix)
