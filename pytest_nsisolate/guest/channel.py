"""
The channel: a pipe that carries messages from guest to supervisor.

Each message stands behind its length, eight bytes, big-endian. The guest waits for what
the supervisor answers at its gate, another pipe.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Generic, TypeVar

from pytest_nsisolate.guest.messages import (
    CallMessage,
    Envelope,
    Garbled,
    Grammar,
    GuestMessage,
    Message,
    encode,
)
from pytest_nsisolate.linux.signals import Blocked
from pytest_nsisolate.linux.stdlib import os

_M = TypeVar("_M")

_LENGTH = struct.Struct(">Q")
_CHUNK = 1 << 20

#: No message is longer; what else was written to the channel reads as a length above.
_LONGEST = 1 << 32

#: How long a word is that comes through the gate, before the word.
WORD_LENGTH = struct.Struct("=i")


def frame(message: Message, *, synchronous: bool = False) -> bytes:
    """
    Return *message* behind its length.
    """
    body = encode(message, synchronous=synchronous)
    return _LENGTH.pack(len(body)) + body


def send(fd: int, message: Message, *, synchronous: bool = False) -> None:
    """
    Send *message* by *fd*; it has left when this returns.

    Raises:
        OSError: As `write_all`.
    """
    write_all(fd, frame(message, synchronous=synchronous))


def write_all(fd: int, data: bytes) -> None:
    """
    Write *data* to *fd*, however many writes it takes.

    Raises:
        OSError: The pipe cannot be written to; EPIPE when no one reads it any more.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


class GuestChannel:
    """
    The guest's end of the channel.
    """

    def __init__(self, fd: int, gate: int, pid_on_host: int, signals: Blocked) -> None:
        self._fd = fd
        self._file = os.fstat(fd)
        self._gate = gate
        self._owner = os.getpid()
        #: The guest's process id outside.
        self.pid_on_host = pid_on_host
        self._signals = signals

    def send(self, message: GuestMessage, *, synchronous: bool = False) -> str:
        """
        Send *message*; it has left when this returns.

        Args:
            message: The message.
            synchronous: Whether to wait until the supervisor has acted on it.

        Returns:
            What the supervisor answers, if this waits.
        """
        if os.getpid() != self._owner or not self._is_open():
            # A fork that the test made and that came back into pytest is no guest; and
            # what is not the channel is not to be written to.
            os._exit(1)
        send(self._fd, message, synchronous=synchronous)
        return self.wait() if synchronous else ""

    def conclude(self, outcome: CallMessage) -> None:
        """
        Send what became of a call, after which nothing more is said.
        """
        send(self._fd, outcome)

    def hand_on(self) -> None:
        """
        In a fork for which the guest waits: be the one who sends.
        """
        self._owner = os.getpid()

    def _is_open(self) -> bool:
        """
        Say whether the descriptor is the channel still: a test may close all it has.
        """
        try:
            return os.path.samestat(os.fstat(self._fd), self._file)
        except OSError:
            return False

    def unblock_signals(self) -> None:
        """
        Have those signals come through that the supervisor has not blocked itself.
        """
        self._signals.restore()

    def wait(self) -> str:
        """
        Wait until the supervisor opens the gate, and return what it says.
        """
        head = os.read(self._gate, WORD_LENGTH.size)
        if not head:
            os._exit(1)
        return os.read(self._gate, *WORD_LENGTH.unpack(head)).decode(
            "utf-8", "surrogateescape"
        )


class Reader(Generic[_M]):
    """
    Reads messages from the channel as their bytes arrive; linear in bytes.

    Args:
        fd: The end of the channel that is read.
        grammar: What may come over it.
    """

    def __init__(self, fd: int, grammar: Grammar[_M]) -> None:
        self.fd = fd
        self._grammar = grammar
        #: Messages that have come and that no one has taken yet.
        self.ready: deque[Envelope[_M]] = deque()
        self._chunks: list[bytes] = []
        self._size = 0
        self._wanted = _LENGTH.size
        self._in_body = False

    def read(self) -> None:
        """
        Read once; messages that are now whole are `ready`.

        Raises:
            BlockingIOError: There is nothing to read now.
            EOFError: No one has the other end open any more.
            Garbled: This is not a message.
        """
        data = os.read(self.fd, _CHUNK)
        if not data:
            raise EOFError
        self._chunks.append(data)
        self._size += len(data)
        if self._size < self._wanted:
            self._look_for_head(data)
            return
        # Joined only when a part is whole, and cut by position: each byte is copied
        # a fixed number of times, however many reads or messages it took.
        buffer, start = b"".join(self._chunks), 0
        while len(buffer) - start >= self._wanted:
            part = buffer[start : start + self._wanted]
            start += self._wanted
            if self._in_body:
                self._wanted, self._in_body = _LENGTH.size, False
                self.ready.append(self._grammar.decode(part))
            else:
                self._wanted, self._in_body = _LENGTH.unpack(part)[0], True
                if self._wanted > _LONGEST:
                    raise Garbled(f"a message of {self._wanted} bytes")
        self._chunks, self._size = [buffer[start:]], len(buffer) - start
        self._look_for_head(self._chunks[0])

    def _look_for_head(self, data: bytes) -> None:
        """
        Make sure that *data*, of a message that is not whole, is not of the next ones.

        A length that is too large would be waited for, by a guest that waits, too. In
        JSON there is no null byte, and in front of each message there are some.
        """
        if self._in_body and b"\0" in data:
            raise Garbled(f"less than a message of {self._wanted} bytes")
