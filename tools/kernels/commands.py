"""
Commands with a time limit.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class CannotRun(Exception):
    """
    Something that a trial needs could not be had.
    """


def run(command: Sequence[object], timeout: float = 600.0) -> str:
    """
    Run *command* and return its output.

    Args:
        command: Program and arguments; paths are allowed.
        timeout: The time limit in seconds.

    Raises:
        CannotRun: The command failed or took longer.
    """
    line = " ".join(map(str, command))
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(part) for part in command],
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(f"{line}: {error}") from None
    if done.returncode:
        raise CannotRun(f"{line}: exit code {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout
