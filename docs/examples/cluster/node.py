"""
A node of a cluster, which takes part only while it sees a majority of the nodes.
"""

import socket
import socketserver
from collections.abc import Sequence

PORT = 7000


def is_up(address: str) -> bool:
    """
    Say whether a node answers at *address*.
    """
    try:
        socket.create_connection((address, PORT), timeout=0.5).close()
    except OSError:
        return False
    return True


def has_majority(others: Sequence[str]) -> bool:
    """
    Say whether this node and those of the *others* that it sees are more than half.
    """
    seen = 1 + sum(is_up(address) for address in others)
    return seen > (1 + len(others)) / 2


if __name__ == "__main__":
    with socketserver.TCPServer(("", PORT), socketserver.BaseRequestHandler) as server:
        print("ready", flush=True)
        server.serve_forever()
