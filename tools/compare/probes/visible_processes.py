"""
Does a test see the processes of the machine?
"""

import os
from pathlib import Path


def test_2_looks() -> None:
    """
    Look for a process of the machine.
    """
    witness = os.environ["PROBE_WITNESS"].encode()
    lines = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                lines.append((directory / "cmdline").read_bytes())
            except OSError:
                continue

    # It is also in the environment, but not in the arguments, of this process.
    assert not any(witness in line for line in lines), "SHARED"
