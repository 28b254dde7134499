"""
Modules of the standard library as they were when pytest started.

A test may put something else in the place of `os.write()` or `os.getpid()`, and what it
puts there is meant for the code under test: ``from pytest_nsisolate.linux.stdlib import
os`` keeps this project's own calls apart.

Imported by the launcher, a bare interpreter, where nothing of it costs time.
"""

from __future__ import annotations

import os
import select
import sys
import time
from types import ModuleType

__all__ = ["os", "select", "time"]

TYPE_CHECKING = False


def _copy(name: str, *more: str) -> ModuleType:
    """
    Return a copy of the module *name*, with what the modules *more* have instead.
    """
    copy = ModuleType(name)
    for one in (name, *more):
        vars(copy).update(vars(sys.modules[one]))
    return copy


if not TYPE_CHECKING:
    # Where os has its calls from, on Linux. coverage.py puts something before
    # os._exit() when it starts, which may have been earlier.
    os = _copy("os", *(sys.modules.keys() & {"posix"}))
    select = _copy("select")
    time = _copy("time")
