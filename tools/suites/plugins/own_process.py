"""
Lets the suite of pyftpdlib look at the process that its tests run in.

Its conftest.py counts the descriptors of a process that it looks up when it is
imported: pytest, by a process id that in a sandbox is that of another, or of none.
"""

from __future__ import annotations

import sys

import psutil


def pytest_nsisolate_enter() -> None:
    """
    Look up the process anew.
    """
    sys.modules["tests.conftest"].this_proc = psutil.Process()  # type: ignore[attr-defined]
