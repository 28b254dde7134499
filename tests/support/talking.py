"""
A server in a box, and a client that asks it.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator

from pytest_nsisolate.box.box import Box

#: Answers UDP packets with what it got and who sent it.
ECHO = """
import socket, sys
one = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET,
                    socket.SOCK_DGRAM)
one.bind((sys.argv[1], 7007))
print("ready", flush=True)
while True:
    data, peer = one.recvfrom(100)
    one.sendto(data + b" from " + peer[0].encode(), peer)
"""


@contextlib.contextmanager
def listening(box: Box, address: str) -> Iterator[None]:
    """
    Run something in *box* that echoes what it gets.
    """
    command = [sys.executable, "-c", ECHO, address]
    with box.popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


def ask(address: str, timeout: float) -> str | None:
    """
    Return the answer from *address* within *timeout* seconds, if any.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(timeout)
        one.sendto(b"hello", (address, 7007))
        try:
            return one.recv(100).decode()
        except TimeoutError:
            return None
