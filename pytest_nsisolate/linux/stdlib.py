"""
Copies of modules of the standard library, as they were when pytest started.

A test may replace `os.write()`, `os.getpid()` or `sys.executable`, but only for the
code under test.
With ``from pytest_nsisolate.linux.stdlib import os`` this project calls the originals.

The launcher, a bare interpreter, imports this module, so its imports must be cheap.
"""

from __future__ import annotations

import os
import select
import sys
import time
from types import ModuleType

__all__ = ["EXECUTABLE", "os", "select", "time"]

#: The interpreter of this process.
EXECUTABLE = sys.executable

TYPE_CHECKING = False


def _copy(name: str, *more: str) -> ModuleType:
    """
    Return a copy of the module *name*, overridden by the contents of *more*.
    """
    copy = ModuleType(name)
    for one in (name, *more):
        vars(copy).update(vars(sys.modules[one]))
    return copy


if not TYPE_CHECKING:
    # On Linux os gets its functions from posix. coverage.py may have wrapped
    # os._exit() by now.
    os = _copy("os", *(sys.modules.keys() & {"posix"}))
    select = _copy("select")
    time = _copy("time")
