"""
Tests of sysv, with the keys that the programs on a real machine use.
"""

from collections.abc import Iterator

import pytest
from sysv import Queue, Segment, Semaphore

pytestmark = pytest.mark.isolated

KEY = 0x6E736971


@pytest.fixture
def queue() -> Iterator[Queue]:
    """
    Return a new queue.
    """
    queue = Queue(KEY, create=True)
    yield queue
    queue.remove()


def test_messages_come_in_their_order(queue: Queue) -> None:
    """
    The first message to be sent is the first to be received.
    """
    for text in (b"one", b"\0two"):
        queue.send(text)

    assert [queue.receive(), queue.receive()] == [b"one", b"\0two"]


def test_kind_is_chosen(queue: Queue) -> None:
    """
    Whoever waits for messages of one kind gets no other.
    """
    queue.send(b"login", kind=1)
    queue.send(b"logout", kind=2)

    assert queue.receive(kind=2) == b"logout"


def test_queue_is_found_by_its_key(queue: Queue) -> None:
    """
    A program that opens the same key has the same queue.
    """
    Queue(KEY).send(b"hello")

    assert queue.receive() == b"hello"


def test_semaphore_counts() -> None:
    """
    It can be acquired as often as its value says, and again when it was released.
    """
    semaphore = Semaphore(KEY, create=True, value=2)
    semaphore.acquire()
    semaphore.acquire()
    with pytest.raises(BlockingIOError):
        semaphore.acquire()
    semaphore.release()
    semaphore.acquire()
    semaphore.remove()


def test_segment_is_shared() -> None:
    """
    What is written through one attachment is read through another.
    """
    segment = Segment(KEY, 4096, create=True)
    segment.memory.value = b"hello"
    other = Segment(KEY, 4096)

    assert other.memory.value == b"hello"
    segment.remove()
