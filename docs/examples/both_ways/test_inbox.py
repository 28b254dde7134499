"""
Tests of inbox, one of which leaves a message behind.
"""

import inbox
import pytest

# The message disappears with the sandbox, so it needs no warning.
pytestmark = pytest.mark.isolated(leaks="ignore")


def test_message_is_put() -> None:
    """
    The message is in the inbox.
    """
    inbox.put("hello")

    assert inbox.INBOX.read_text().endswith("hello\n")


def test_message_is_taken() -> None:
    """
    The message that was put is the only one.
    """
    inbox.put("bye")

    assert inbox.take_all() == ["bye"]


def test_inbox_is_empty() -> None:
    """
    There is no message before one was put.
    """
    assert inbox.take_all() == []
