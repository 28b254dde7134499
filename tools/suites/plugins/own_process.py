"""
A plugin that lets the suite of pyftpdlib look at the process that its tests run in.

The suite's conftest.py counts the descriptors of a process that it looks up on import.
That is pytest, by a process id that in a sandbox belongs to another process or none.
"""

from __future__ import annotations

import sys

import psutil


def pytest_nsisolate_enter() -> None:
    """
    Look up the process again.
    """
    sys.modules["tests.conftest"].this_proc = psutil.Process()  # type: ignore[attr-defined]
