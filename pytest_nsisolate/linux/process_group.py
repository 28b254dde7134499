"""
A process group that no process leads.

A leader may neither found a session nor join another group. Source: setsid(2),
setpgid(2).
"""

from __future__ import annotations

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os


def found() -> None:
    """
    Put this process into a new group, which another process has led and left.

    A group lasts as long as it has a member, and so does its id.

    Raises:
        OSError: The kernel refused.
    """
    leader = syscalls.start_ended()
    try:
        # A zombie can still be moved, and joined.
        for pid in (leader, 0):
            syscalls.named("setpgid()", os.setpgid, pid, leader)
    finally:
        syscalls.reap_ended(leader)
