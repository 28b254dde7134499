"""
What one test asked for. Knows no pytest and no process.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, TypeGuard, get_args

from pytest_nsisolate.errors import SpecError, safe_repr
from pytest_nsisolate.limits import Limit, limits_of
from pytest_nsisolate.values import Variables, directories_of, variables_of

#: Longest hostname and domain name, in bytes. Source: uname(2), __NEW_UTS_LEN.
UTS_NAME_MAX = 64

#: Longest time limit, in seconds. Source: poll(2), whose timeout is an int of
#: milliseconds.
LONGEST = (2**31 - 1) // 1000

#: What becomes of a test that leaves something in its sandbox.
Leaks: TypeAlias = Literal["ignore", "warn", "fail"]

#: Whose tests share a sandbox; a fixture's scopes have these names, too.
Scope: TypeAlias = Literal["function", "class", "module", "package", "session"]


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
    memory: str | int | None = None
    """Private writable memory of each process: ``"512M"``, or bytes; None: no limit."""
    cpu: float | None = None
    """Processor time of each process, in seconds, rounded up; None: no limit."""
    nofile: int | None = None
    """Above every number that a descriptor may have inside; None: no limit."""
    nproc: int | None = None
    """Processes and threads of the test, itself included; None: no limit."""

    tmpfs: Sequence[str | os.PathLike[str]] | None = None
    """Absolute paths of directories that are fresh and empty inside; None: none."""
    env: Mapping[str, str | None] | Variables | None = None
    """Environment variables inside, None for one to be unset; None: as outside."""
    clear_env: bool | None = None
    """True: no environment variables inside but those in `env`; None: as outside."""

    timeout: float | None = None
    """Seconds that the test may take, its own fixtures included; 0: as long as it
    takes; None: what the options say."""
    leaks: Leaks | None = None
    """What becomes of a test that leaves something; None: what the options say."""
    net: bool | None = None
    """True: a network of its own, with nothing but a loopback interface, which is up;
    None: as False, the host's."""

    scope: Scope | None = None
    """Whose tests share the sandbox; None: what the options say."""
    fork: bool | None = None
    """True: each test that shares the sandbox has a guest of its own; None: as False,
    they share one."""

    def __post_init__(self) -> None:
        _check_timeout(self.timeout)
        if self.leaks is not None and self.leaks not in get_args(Leaks):
            known = ", ".join(f'"{one}"' for one in get_args(Leaks))
            msg = f"leaks={safe_repr(self.leaks)} is none of {known}"
            raise SpecError(msg, 'write leaks="fail", or leave leaks= out')
        _check_uts_name("hostname", self.hostname)
        _check_uts_name("domainname", self.domainname)
        if self.user is not None and self.user != "root":
            msg = f'user={safe_repr(self.user)} is neither "root" nor None'
            raise SpecError(msg, 'write user="root", or leave user= out')
        if self.proc is not None and not isinstance(self.proc, bool):
            msg = f"proc={safe_repr(self.proc)} is neither True, False nor None"
            raise SpecError(msg, "write proc=False, or leave proc= out")
        if self.net is not None and not isinstance(self.net, bool):
            msg = f"net={safe_repr(self.net)} is neither True, False nor None"
            raise SpecError(msg, "write net=True, or leave net= out")
        if self.scope is not None and self.scope not in get_args(Scope):
            known = ", ".join(f'"{one}"' for one in get_args(Scope))
            msg = f"scope={safe_repr(self.scope)} is none of {known}"
            raise SpecError(msg, 'write scope="module", or leave scope= out')
        if self.fork is not None and not isinstance(self.fork, bool):
            msg = f"fork={safe_repr(self.fork)} is neither True, False nor None"
            raise SpecError(msg, "write fork=True, or leave fork= out")
        self.limits()
        # Values that are equal make specs that are equal, and that can be a key.
        object.__setattr__(self, "tmpfs", directories_of(self.tmpfs))
        object.__setattr__(self, "env", variables_of(self.env))
        _check_switch("clear_env", self.clear_env)

    def limits(self) -> tuple[Limit, ...]:
        """
        Return what the processes of the test may use.
        """
        return limits_of(self.memory, self.cpu, self.nofile, self.nproc)


def _check_switch(keyword: str, value: object) -> None:
    if value is not None and not isinstance(value, bool):
        msg = f"{keyword}={safe_repr(value)} is neither True, False nor None"
        raise SpecError(msg, f"write {keyword}=True, or leave {keyword}= out")


def _check_timeout(seconds: object) -> None:
    if seconds is None:
        return
    fix = "write timeout=5, or leave timeout= out"
    if not is_number(seconds):
        kind = type(seconds).__name__
        shown = f"timeout={safe_repr(seconds)}"
        raise SpecError(f"{shown} is of type {kind}, not float", fix)
    if not is_duration(seconds):
        raise SpecError(f"timeout={seconds} is no number of seconds from 0 up", fix)


def is_number(value: object) -> TypeGuard[float]:
    """
    Say whether *value* is an int or a float; a bool is none.
    """
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_duration(seconds: float) -> bool:
    """
    Say whether *seconds* can be waited for.
    """
    return 0 <= seconds <= LONGEST


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
