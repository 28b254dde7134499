"""
Commands with a time limit.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


class CannotRun(Exception):
    """
    A command could not be run, or its result cannot be trusted.
    """


def run(
    command: Sequence[object],
    timeout: float,
    *,
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """
    Run *command* and return its output, without what it says on descriptor 2.

    Args:
        command: Program and arguments; paths are allowed.
        timeout: The time limit in seconds.
        cwd: The working directory.
        environment: Its whole environment, if not that of this process.

    Raises:
        CannotRun: The command failed or took longer.
    """
    line = " ".join(map(str, command))
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            check=False,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(f"{line}: {error}") from None
    if done.returncode:
        said = f"{done.stdout[-1000:]}{done.stderr[-1000:]}"
        raise CannotRun(f"{line}: exit code {done.returncode}\n{said}")
    return done.stdout
