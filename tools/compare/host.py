"""
A fresh machine for one trial: its PID 1, which runs sessions of pytest and looks on.

Usage: unshare ... host.py ORDER, where ORDER is a file with JSON:

commands: The command of each session.
limit: The seconds that each may take.
variables: Environment variables for them.
answer: Where to write what was seen.

It holds a port, and runs a process that everyone on this machine can see. When it ends,
the kernel kills what the sessions left. Source: pid_namespaces(7).
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

#: What the process that all can see is called.
_WITNESS = "compare-witness"

#: What a process that a test leaves keeps locked.
_LOCK = "left.lock"


def main() -> None:
    """
    Do what the order says.
    """
    order = json.loads(Path(sys.argv[1]).read_text())
    # A command ends the loop with its input: nothing else can, until this process ends.
    asleep = ["sh", "-c", "read line", _WITNESS]
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        subprocess.Popen(asleep, stdin=subprocess.PIPE),
    ):
        variables = {
            "PROBE_WITNESS": _WITNESS,
            "PROBE_PORT": str(server.getsockname()[1]),
            "PROBE_UPTIME": str(time.monotonic()),
        }
        environment = os.environ | variables | order["variables"]
        seen: dict[str, Any] = {"sessions": []}
        for command in order["commands"]:
            seen["sessions"].append(_session(command, order["limit"], environment))
        seen["left"] = Path(_LOCK).exists() and _is_locked()
        Path(order["answer"]).write_text(json.dumps(seen))
        # Do not wait for the witness.
        os._exit(0)


def _session(
    command: list[str], limit: float, environment: dict[str, str]
) -> dict[str, Any]:
    """
    Run *command*, and return its exit code, or None after *limit*, and what it printed.
    """
    # A file, because what is left would keep a pipe open.
    with (
        open("printed", "w+b") as printed,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            code = None
        printed.seek(0)
        return {"code": code, "printed": printed.read().decode(errors="replace")}


def _is_locked() -> bool:
    """
    Say whether a process that a test left still lives.
    """
    with open(_LOCK, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


if __name__ == "__main__":
    main()
