"""
The standard streams that are in memory, where a fork does not share its output.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from typing import TypeAlias

from pytest_nsisolate.guest import inherited

#: The text written to each stream in memory, in base 64.
Written: TypeAlias = "list[str]"


class Streams:
    """
    Standard output and error, as far as they are streams in memory.

    A descriptor is shared with all processes that have inherited it. But output to
    memory, such as pytest's ``capsys`` or an `io.StringIO`, stays in the memory of the
    fork, and has to be carried.
    """

    def __init__(self) -> None:
        inherited.flush_streams()
        found = [_in_memory(stream) for stream in (sys.stdout, sys.stderr)]
        # Both may be the same object.
        unique = {id(one): one for one in found if one is not None}
        self._buffers: list[io.BytesIO | io.StringIO] = list(unique.values())
        self._sizes = [len(one.getvalue()) for one in self._buffers]

    def written(self) -> Written:
        """
        Return what was written to each stream since this object was made.
        """
        inherited.flush_streams()
        return [
            base64.b64encode(_bytes(one.getvalue()[size:])).decode()
            for one, size in zip(self._buffers, self._sizes, strict=True)
        ]

    def write(self, written: Written) -> None:
        """
        Write what a fork has *written*.
        """
        for buffer, data in zip(self._buffers, written, strict=False):
            raw = base64.b64decode(data)
            buffer.seek(0, os.SEEK_END)
            if isinstance(buffer, io.StringIO):
                buffer.write(raw.decode("utf-8", "surrogatepass"))
            else:
                buffer.write(raw)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _in_memory(stream: object) -> io.BytesIO | io.StringIO | None:
    where = stream if isinstance(stream, io.StringIO) else None
    where = where or getattr(stream, "buffer", None)
    if not isinstance(where, io.BytesIO | io.StringIO) or where.closed:
        return None
    return where
