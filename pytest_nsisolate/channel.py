"""
The channel: messages from guest to supervisor over a pipe.

A message is a JSON object in UTF-8 behind its length, eight bytes, big-endian. Lone
surrogates, which pytest's captured output may hold, pass (``surrogatepass``). What JSON
cannot carry travels as its `repr`. No pickle: a message can break nothing here.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from typing import TypeAlias

from pytest_nsisolate.errors import safe_repr
from pytest_nsisolate.untouched import os

Message: TypeAlias = "dict[str, object]"

_LENGTH = struct.Struct(">Q")
_CHUNK = 1 << 20

#: No message is longer; what else was written to the channel reads as a length above.
_LONGEST = 1 << 32

#: Deeper than this, and ints longer than this, what JSON would not take is a `repr`.
_DEPTH = 50
_PLAIN_BITS = 64


class Garbled(Exception):
    """
    What came over the channel is not a message.
    """


def encode(message: Message) -> bytes:
    """
    Return *message* as a frame.
    """
    try:
        text = _ENCODER.encode(message)
    except (TypeError, ValueError, RecursionError):
        # A key that is no string, or something that contains itself.
        text = _ENCODER.encode(_plain(message))
    body = text.encode("utf-8", "surrogatepass")
    return _LENGTH.pack(len(body)) + body


# Made here, as a fixture may put something else in the place of json.loads().
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=safe_repr)
_DECODER = json.JSONDecoder()


def write_all(fd: int, data: bytes) -> None:
    """
    Write *data* to *fd*, however many writes it takes.

    Raises:
        OSError: The pipe cannot be written to; EPIPE when no one reads it any more.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


class Reader:
    """
    Reads messages from the channel as their bytes arrive; linear in bytes.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        #: Messages that have come and that no one has taken yet.
        self.ready: deque[Message] = deque()
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
                self.ready.append(_decode(part))
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


def _decode(body: bytes) -> Message:
    try:
        message = _DECODER.decode(body.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise Garbled(f"no JSON ({ascii(str(error))[1:-1]})") from None
    if not isinstance(message, dict):
        raise Garbled(f"a JSON {type(message).__name__} and no object")
    return message


def _plain(value: object, depth: int = 0) -> object:
    """
    Return *value* made of what JSON can carry only.
    """
    if depth < _DEPTH:
        if isinstance(value, dict):
            return {
                key if isinstance(key, str) else safe_repr(key): _plain(one, depth + 1)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple):
            return [_plain(one, depth + 1) for one in value]
    if isinstance(value, int) and value.bit_length() > _PLAIN_BITS:
        # Python refuses to print an int of more than 4300 digits in decimal.
        return hex(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return safe_repr(value)
