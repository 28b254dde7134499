"""
Messages to another program, sent again while it does not listen.
"""

import contextlib
import socket
import time

PORT = 8080


def deliver(message: bytes, tries: int, pause: float = 0.3) -> int:
    """
    Send *message*, and return how many of the *tries* it took.

    Raise ConnectionRefusedError if all were in vain.
    """
    for number in range(1, tries):
        with contextlib.suppress(ConnectionRefusedError):
            _send(message)
            return number
        time.sleep(pause)
    _send(message)
    return tries


def _send(message: bytes) -> None:
    with socket.create_connection(("127.0.0.1", PORT)) as receiver:
        receiver.sendall(message)
