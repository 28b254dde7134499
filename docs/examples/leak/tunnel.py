"""
A tunnel to another host, which a shell opens again whenever it breaks.
"""

import subprocess


class Tunnel:
    """
    An open tunnel.

    Args:
        command: What opens it, and says so in a line.
    """

    def __init__(self, command: str) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-c", f"while true; do {command}; sleep 1; done"],
            stdout=subprocess.PIPE,
        )
        assert self._shell.stdout is not None
        self._shell.stdout.readline()

    def is_open(self) -> bool:
        """
        Say whether the tunnel is kept open.
        """
        return self._shell.poll() is None

    def close(self) -> None:
        """
        Close the tunnel.
        """
        # A fault: this ends the shell, but not what the shell has started.
        self._shell.terminate()
        self._shell.wait()
        assert self._shell.stdout is not None
        self._shell.stdout.close()
