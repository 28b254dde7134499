"""
The two ways into a sandbox, and what becomes of a test where there is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import pytest

from pytest_nsisolate import launcher
from pytest_nsisolate.launching import identity_for
from pytest_nsisolate.spec import Spec

#: Set in CI: a test that this machine cannot run is then a failure, not a skip.
MUST_WORK = "NSISOLATE_MUST_WORK"


def cannot(reason: str) -> NoReturn:
    """
    Skip this test for want of a capability; fail it where all must work.
    """
    if os.environ.get(MUST_WORK):
        pytest.fail(f"{MUST_WORK} is set, but {reason}", pytrace=False)
    pytest.skip(f"{reason}; to see the error: {MUST_WORK}=1")


def is_capable() -> bool:
    """
    Say whether this process needs no user namespace for its sandboxes.
    """
    return identity_for(Spec()) == launcher.PLAIN


_GAIN = "unshare --user --map-root-user --pid --fork --kill-child --mount-proc"
LOSE = "setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin"

#: Run a command with CAP_SYS_ADMIN (in a user namespace, if need be), or without it.
WAYS = {
    launcher.PLAIN: [] if is_capable() else _GAIN.split(),
    launcher.KEEP: LOSE.split() if is_capable() else [],
}

RunPytest = Callable[..., pytest.RunResult]
