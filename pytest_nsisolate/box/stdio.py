"""
What the standard streams hold that a fork does not share with who forked it.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from typing import TypeAlias

from pytest_nsisolate.guest import inherited

#: What was written to each of `Streams`, in an order that is theirs.
Written: TypeAlias = "list[str]"


class Streams:
    """
    Standard output and error as they are now, as far as they are kept in memory.

    What is written to a descriptor is seen by all who have inherited it. What is
    written to memory, as to pytest's ``capsys`` or to a `io.StringIO` that output is
    redirected to, is in the memory of the fork that wrote it and has to be carried.
    """

    def __init__(self) -> None:
        inherited.flush_streams()
        found = [_in_memory(stream) for stream in (sys.stdout, sys.stderr)]
        # Both may be one.
        unique = {id(one): one for one in found if one is not None}
        self._buffers: list[io.BytesIO | io.StringIO] = list(unique.values())
        self._sizes = [len(one.getvalue()) for one in self._buffers]

    def written(self) -> Written:
        """
        Return what has been written since.
        """
        inherited.flush_streams()
        return [
            base64.b64encode(_bytes(one.getvalue()[size:])).decode()
            for one, size in zip(self._buffers, self._sizes, strict=True)
        ]

    def write(self, written: Written) -> None:
        """
        Write what a fork says it has *written*.
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
