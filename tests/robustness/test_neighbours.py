"""
What other programs do on this machine meanwhile, and what the tests make of it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import machine
import pytest

#: Makes a file and has it open until its input ends.
NEIGHBOUR = """
import sys
with open(sys.argv[1], "x"):
    print(flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def started(path: Path) -> Iterator[None]:
    """
    Run a program that makes the file at *path* and has it open.
    """
    command = [sys.executable, "-c", NEIGHBOUR, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as neighbour:
        assert neighbour.stdout is not None
        assert neighbour.stdout.read(1) == b"\n"
        yield
        neighbour.communicate()


def test_files_in_use_are_not_left(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file in shared memory counts as left only when no other program has it open.
    """
    if machine.is_alone():
        pytest.skip("no other program has the /dev/shm of this session")
    path = Path(f"/dev/shm/nsi-neighbour-{os.getpid()}")
    try:
        with started(path):
            before = machine.snapshot("none", temporary) - {f"file {path}"}
            machine.nothing_left(before, "none", temporary)
        monkeypatch.setattr(machine, "PATIENCE", 0.1)
        with pytest.raises(AssertionError, match=str(path)):
            machine.nothing_left(before, "none", temporary)
    finally:
        path.unlink()
