"""
The channel: a pipe that carries messages from guest to supervisor.

Each message is preceded by its length, eight bytes, big-endian. The supervisor answers
through the gate, a second pipe, where the guest waits.
"""

from __future__ import annotations

import mmap
import struct
from collections import deque
from contextlib import nullcontext
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
from pytest_nsisolate.guest.standstill import standstill
from pytest_nsisolate.linux.signals import Blocked
from pytest_nsisolate.linux.stdlib import os, select

_M = TypeVar("_M")

_LENGTH = struct.Struct(">Q")

#: How much to read at a time: all that fits into a pipe. Source: pipe(7), "Pipe
#: capacity". Python makes a buffer of that size for each read, which from 128 KiB on
#: costs three system calls and a page fault. Source: mallopt(3), M_MMAP_THRESHOLD.
_CHUNK = 16 * mmap.PAGESIZE

#: The longest message. Anything else that was written to the channel usually reads as a
#: greater length.
_LONGEST = 1 << 32

#: The length of a word that comes through the gate, which precedes it.
WORD_LENGTH = struct.Struct("=i")


def frame(message: Message, *, synchronous: bool = False) -> bytes:
    """
    Return *message* with its length in front.
    """
    body = encode(message, synchronous=synchronous)
    return _LENGTH.pack(len(body)) + body


def send(fd: int, message: Message, *, synchronous: bool = False) -> None:
    """
    Write all of *message* to *fd*.

    Raises:
        OSError: As for `write_all`.
    """
    _write_whole(fd, frame(message, synchronous=synchronous))


def _write_whole(fd: int, data: bytes) -> None:
    """
    Write all of *data* to *fd*, or nothing, if the handler of a signal raises.

    More than PIPE_BUF bytes may be written in parts. Source: pipe(7).
    """
    if len(data) <= select.PIPE_BUF:
        write_all(fd, data)
        return
    with Blocked():
        write_all(fd, data)


def write_all(fd: int, data: bytes) -> None:
    """
    Write all of *data* to *fd*, in as many writes as it takes.

    Raises:
        OSError: The pipe cannot be written to; EPIPE if it has no reader.
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
        #: The process id of the guest outside the sandbox.
        self.pid_on_host = pid_on_host
        self._signals = signals
        #: Whether the test runs before its turn, for which it may have to wait.
        self.is_early = False
        #: What is to be written with the next message.
        self._waiting = b""

    def send(
        self, message: GuestMessage, *, synchronous: bool = False, later: bool = False
    ) -> str:
        """
        Write all of *message* to the channel.

        Args:
            message: The message.
            synchronous: Whether to wait until the supervisor has acted on it.
            later: Whether to write it together with the next one, which wakes the
                supervisor once less. If the guest dies before, it is lost.

        Returns:
            The answer of the supervisor, empty if this does not wait.
        """
        if os.getpid() != self._owner or not self._is_open():
            # A fork that the test made and that returned into pytest is not the guest,
            # and a descriptor that is no longer the channel belongs to the test.
            os._exit(1)
        data = self._waiting + frame(message, synchronous=synchronous)
        self._waiting = data if later else b""
        if later:
            return ""
        may_wait = self.is_early and (synchronous or not self._is_room(data))
        with standstill() if may_wait else nullcontext():
            _write_whole(self._fd, data)
            return self.wait() if synchronous else ""

    def _is_room(self, data: bytes) -> bool:
        """
        Say whether *data* can be written at once. Source: pipe(7), PIPE_BUF.
        """
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return len(data) <= select.PIPE_BUF and bool(poll.poll(0))

    def conclude(self, outcome: CallMessage) -> None:
        """
        Send the outcome of a call, the last message of its process.
        """
        if not self._is_open():
            os._exit(1)
        send(self._fd, outcome)

    def hand_on(self) -> None:
        """
        Let this process send, a fork that the guest waits for.
        """
        self._owner = os.getpid()

    def _is_open(self) -> bool:
        """
        Say whether the descriptor is still the channel: a test may close every one.
        """
        try:
            return os.path.samestat(os.fstat(self._fd), self._file)
        except OSError:
            return False

    def unblock_signals(self) -> None:
        """
        Unblock the signals that the supervisor itself has not blocked.
        """
        self._signals.restore()

    def wait(self) -> str:
        """
        Wait until the supervisor opens the gate, and return its word.
        """
        head = os.read(self._gate, WORD_LENGTH.size)
        if not head:
            os._exit(1)
        return os.read(self._gate, *WORD_LENGTH.unpack(head)).decode(
            "utf-8", "surrogateescape"
        )


class Reader(Generic[_M]):
    """
    A reader of messages from the channel, in time linear in their bytes.

    Args:
        fd: The reading end of the channel.
        grammar: The messages that may arrive.
    """

    def __init__(self, fd: int, grammar: Grammar[_M]) -> None:
        self.fd = fd
        self._grammar = grammar
        #: The messages that have arrived and were not taken yet.
        self.ready: deque[Envelope[_M]] = deque()
        #: How many bytes have arrived.
        self.received = 0
        self._chunks: list[bytes] = []
        self._size = 0
        self._wanted = _LENGTH.size
        self._in_body = False

    def read(self) -> None:
        """
        Read once, and add the messages that are complete now to `ready`.

        Raises:
            BlockingIOError: There is nothing to read now.
            EOFError: All writing ends are closed.
            Garbled: The bytes are not a message.
        """
        data = os.read(self.fd, _CHUNK)
        if not data:
            raise EOFError
        self.received += len(data)
        self._chunks.append(data)
        self._size += len(data)
        if self._size < self._wanted:
            self._look_for_head(data)
            return
        # Chunks are joined only when a part is complete, and cut by position, so each
        # byte is copied a fixed number of times, whatever the number of reads.
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
        Make sure that *data* of an incomplete message contains no further message.

        After a wrong length that is too large, the supervisor would wait for more bytes
        while the guest waits for an answer. JSON contains no null byte, but the length
        of each message does.
        """
        if self._in_body and b"\0" in data:
            raise Garbled(f"an incomplete message of {self._wanted} bytes")
