"""
A daemon with a PID file: ``python spoold.py start``, ``status`` or ``stop``.
"""

import os
import select
import signal
import sys
from pathlib import Path

PID_FILE = Path("/run/spoold.pid")


def start() -> str:
    """
    Start the daemon, unless there is a PID file.
    """
    try:
        with PID_FILE.open("x") as file:
            pid = os.fork()
            if pid != 0:
                file.write(str(pid))
                return "started"
    except FileExistsError:
        return f"{PID_FILE} exists"
    os.setsid()
    with open(os.devnull, "r+b") as null:
        for stream in (0, 1, 2):
            os.dup2(null.fileno(), stream)
    while True:
        signal.pause()


def status() -> str:
    """
    Say whether the daemon is running.
    """
    if not PID_FILE.exists():
        return "not running"
    pid = int(PID_FILE.read_text())
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return f"not running, but {PID_FILE} exists"
    return "running"


def stop() -> str:
    """
    End the daemon, wait until it is gone, and remove the PID file.
    """
    daemon = os.pidfd_open(int(PID_FILE.read_text()))
    signal.pidfd_send_signal(daemon, signal.SIGTERM)
    select.select([daemon], [], [])
    PID_FILE.unlink()
    return "stopped"


if __name__ == "__main__":
    print({"start": start, "status": status, "stop": stop}[sys.argv[1]]())
