"""
Running a command within a time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class CannotRun(Exception):
    """
    Something could not be run, or what it says cannot be trusted.
    """


def run(command: Sequence[object], timeout: float) -> str:
    """
    Run *command* and return what it printed.

    Args:
        command: Program and arguments; paths will do.
        timeout: Seconds.

    Raises:
        CannotRun: It failed or took longer.
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
