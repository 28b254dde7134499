"""
The beginning of a module whose tests meet, to show that they run at the same time.
"""

from __future__ import annotations

#: Functions for tests that see each other by files. They wait for an event, at most
#: for as long as a slow machine may take.
MEET = """
import os
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.isolated
HERE = Path(__file__).parent

def wait_for(*names):
    until = time.monotonic() + 60
    while not all((HERE / name).exists() for name in names):
        assert time.monotonic() < until, f"no {names}"
        time.sleep(0.001)

def meet(name, *others):
    (HERE / name).touch()
    wait_for(*others)
"""
