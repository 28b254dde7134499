"""
An inbox in shared memory, into which any process puts messages.
"""

from pathlib import Path

INBOX = Path("/dev/shm/inbox")


def put(message: str) -> None:
    """
    Add a message.
    """
    with INBOX.open("a") as file:
        print(message, file=file)


def take_all() -> list[str]:
    """
    Return all messages, and remove the inbox.
    """
    try:
        messages = INBOX.read_text().splitlines()
    except FileNotFoundError:
        return []
    INBOX.unlink()
    return messages
