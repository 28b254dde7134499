"""
Is a port that is taken on the machine free for a test?
"""

import os
import socket


def test_2_looks() -> None:
    """
    Listen at the port.
    """
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("", int(os.environ["PROBE_PORT"])))
            server.listen()
            shared = False
        except OSError:
            shared = True

    assert not shared, "SHARED"
