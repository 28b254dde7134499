"""
The two ways into a sandbox, and the skip of a test that has neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import pytest

from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.launcher_client import user_namespace_for

#: Set in CI: a test that this machine cannot run then fails instead of being skipped.
MUST_WORK = "NSISOLATE_MUST_WORK"


def cannot(reason: str) -> NoReturn:
    """
    Skip this test because something is missing; fail it where everything must work.
    """
    if os.environ.get(MUST_WORK):
        pytest.fail(f"{MUST_WORK} is set, but {reason}", pytrace=False)
    pytest.skip(f"{reason}; to see the error: {MUST_WORK}=1")


def is_capable() -> bool:
    """
    Say whether this process can make sandboxes without a user namespace.
    """
    return user_namespace_for(Spec()) is UserNamespace.NONE


GAIN = "unshare --user --map-root-user --pid --fork --kill-child --mount-proc"
LOSE = "setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin"

#: The two ways into a sandbox: without a user namespace, and with one.
PLAIN, KEEP = "plain", "keep"

#: Runs a command with CAP_SYS_ADMIN (in a user namespace, if need be), or without it.
WAYS = {
    PLAIN: [] if is_capable() else GAIN.split(),
    KEEP: LOSE.split() if is_capable() else [],
}

#: Runs a command where the kernel makes no network namespace. The PID namespace is one
#: that this user namespace owns, so that a sandbox needs no other user namespace, where
#: another limit would apply.
WITHOUT_NET = [
    *GAIN.split(),
    "sh",
    "-c",
    'echo 0 > /proc/sys/user/max_net_namespaces; exec "$@"',
    "sh",
]

RunPytest = Callable[..., pytest.RunResult]
