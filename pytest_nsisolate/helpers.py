"""
Helper processes that Python keeps outside the sandbox, and how a guest lets go of them.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def forget_multiprocessing() -> None:
    """
    In a guest: start anew the helpers of multiprocessing that the supervisor has.

    The resource tracker would unlink the host's shared memory of a name that the test
    used inside, and the fork server would fork the test's processes outside. Python
    has no public way to part with them; each attribute has been there since 3.8.
    """
    tracker: Any = sys.modules.get("multiprocessing.resource_tracker")
    if tracker is not None:
        _drop(tracker._resource_tracker, "_fd", "_pid")
    server: Any = sys.modules.get("multiprocessing.forkserver")
    if server is not None:
        _drop(server._forkserver, "_forkserver_alive_fd", "_forkserver_pid")
        server._forkserver._forkserver_address = None


def _drop(owner: Any, descriptor: str, pid: str) -> None:
    number = getattr(owner, descriptor, None)
    if number is not None:
        os.close(number)
    setattr(owner, descriptor, None)
    setattr(owner, pid, None)
