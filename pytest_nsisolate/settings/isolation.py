"""
The facts that the fixture `isolation` yields.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nsisolate.model.errors import Explanation

if TYPE_CHECKING:
    from pytest_nsisolate.linux.namespaces import Namespace


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """
    The facts about the isolation of a test, from the fixture `isolation`.

    .. versionadded:: 1.0.0
    """

    namespaces: tuple[str, ...]
    """The test's own namespaces, as named in ``/proc/PID/ns``; empty on the host."""
    hostname: str
    """The hostname that the test sees."""
    domainname: str
    """The NIS domain name that the test sees; ``(none)`` if none is set."""
    pid_on_host: int
    """Process id of the test outside its PID namespace."""
    proc: bool
    """Whether ``/proc`` shows the test's own process ids; see ``proc=False``."""


def came_too_late(test: str) -> Explanation:
    """
    Explain why *test*, which runs on the host, cannot use the fixture `isolation`.
    """
    return Explanation(
        what=f"cannot isolate {test}: it requested the fixture isolation too late",
        why="request.getfixturevalue() runs after the test has begun on the host",
        fix="mark the test with @pytest.mark.isolated, or request isolation as an "
        "argument",
    )


def isolation_by(namespaces: Sequence[Namespace], pid_on_host: int) -> Isolation:
    """
    Return the facts of this process.

    Args:
        namespaces: Those of the sandbox; empty on the host.
        pid_on_host: Process id outside.
    """
    return Isolation(
        namespaces=tuple(one.name for one in namespaces),
        hostname=socket.gethostname(),
        domainname=_domainname(),
        pid_on_host=pid_on_host,
        proc=_is_proc_true(),
    )


def _is_proc_true() -> bool:
    # In a /proc from outside this is the process id outside. Source: proc_pid(5),
    # /proc/self.
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _domainname() -> str:
    # Source: proc_sys_kernel(5), /proc/sys/kernel/domainname.
    try:
        return Path("/proc/sys/kernel/domainname").read_text().strip()
    except OSError:
        return os.uname().nodename.partition(".")[2]
