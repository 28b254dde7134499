"""
The seccomp profile with which a container may isolate tests.

It is the default profile of Docker, which Podman reads too, with a few more system
calls. With them a process may make a user namespace, and do in it what takes a
capability over it. What takes one over the host is still refused by the kernel.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

#: The default profile of Docker 28.5: moby/profiles, seccomp v0.1.0. See NOTICE.
_DOCKER = Path(__file__).with_name("docker-default.json")

#: The calls that it refuses to processes without capabilities of the container, and
#: that sandboxes, boxes and links take, or tests with ``user="root"``.
CALLS = (
    # To make namespaces, as programs such as unshare(1) and bwrap(1) do in a test, and
    # to enter them.
    "clone",
    "clone3",
    "setns",
    "unshare",
    # To mount a fresh /proc, for example.
    "mount",
    "pivot_root",
    "umount2",
    # The same in mount(8) since util-linux 2.39, which goes back to mount(2) only if it
    # meets ENOSYS, not for a filter's EPERM.
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount_setattr",
    "move_mount",
    "open_tree",
    # For hostname= and domainname=.
    "setdomainname",
    "sethostname",
)


def text() -> str:
    """
    Return the profile as a file for ``--security-opt seccomp=``.
    """
    profile = json.loads(_DOCKER.read_text("utf-8"))
    return json.dumps(allowing(profile, CALLS), indent="\t") + "\n"


def allowing(profile: dict[str, Any], calls: Collection[str]) -> dict[str, Any]:
    """
    Return *profile* with one rule for *calls*, which allows them to everyone.

    The other rules must not name them. One of Docker's, for example, answers ENOSYS to
    ``clone3``, and engines do not accept two answers to one call.
    """
    rules = []
    for rule in profile["syscalls"]:
        names = [name for name in rule["names"] if name not in calls]
        if names:
            rules.append({**rule, "names": names})
    rule = {
        "names": sorted(calls),
        "action": "SCMP_ACT_ALLOW",
        "comment": "for pytest-nsisolate",
    }
    return {**profile, "syscalls": [*rules, rule]}
