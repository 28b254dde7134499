"""
Tests of webhook, which mostly wait, and all need the same port.
"""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import webhook

pytestmark = pytest.mark.isolated(net=True)


def receive(after: float) -> bytes:
    """
    Listen from some time on, and return the first message.
    """
    time.sleep(after)
    with socket.create_server(("127.0.0.1", webhook.PORT)) as server:
        sender = server.accept()[0]
        with sender:
            return sender.recv(100)


@pytest.mark.parametrize("after", [0, 0.2, 0.4])
def test_message_arrives(after: float) -> None:
    """
    The message arrives, also if the other program starts late.
    """
    with ThreadPoolExecutor() as pool:
        message = pool.submit(receive, after)
        webhook.deliver(b"hello", tries=10)

        assert message.result() == b"hello"


@pytest.mark.parametrize("tries", [2, 3, 4])
def test_nobody_listens(tries: int) -> None:
    """
    The sender gives up at the last refusal.
    """
    with pytest.raises(ConnectionRefusedError):
        webhook.deliver(b"hello", tries)
