"""
The channel: messages of any content, cut anywhere, read in linear time.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from property_tests import QUICKLY

from pytest_nsisolate.guest.channel import GuestChannel, Reader, frame, write_all
from pytest_nsisolate.guest.messages import OF_GUEST, Garbled, HandOver
from pytest_nsisolate.linux.signals import Blocked

#: Text with lone surrogates too, since pytest's captured output may contain them.
TEXT = st.text(st.characters())
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT
)
VALUES: Any = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)
PAYLOADS: Any = st.dictionaries(TEXT, VALUES, max_size=6)

#: Values of odd types too, and keys that are not strings.
ODD: Any = st.recursive(
    st.one_of(
        SCALARS,
        st.binary(),
        st.complex_numbers(),
        st.sets(st.integers()),
        st.builds(object),
        st.builds(pow, st.just(10), st.just(5000)),
        st.floats(),
    ),
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.integers() | st.tuples(st.integers()) | TEXT, inner),
    ),
    max_leaves=20,
)


class BrokenRepr:
    """
    A value whose repr() raises.
    """

    def __repr__(self) -> str:
        """
        Fail.
        """
        raise RuntimeError


def _encode(payload: dict[str, object]) -> bytes:
    """
    Return the bytes that carry a message with *payload*.
    """
    return frame(HandOver(payload=payload))


def _taken(reader: Reader[Any]) -> dict[str, object]:
    """
    Remove the first message from *reader* and return its payload.
    """
    message = reader.ready.popleft().message
    assert isinstance(message, HandOver)
    return message.payload


def _read(pieces: Iterator[bytes] | list[bytes]) -> list[dict[str, object]]:
    """
    Write *pieces* one after another and return the payloads that come out.
    """
    read, write = os.pipe()
    try:
        reader = Reader(read, OF_GUEST)
        for piece in pieces:
            # A pipe holds 64 KiB by default: pipe(7).
            for start in range(0, len(piece), 1 << 15):
                write_all(write, piece[start : start + (1 << 15)])
                reader.read()
        return [_taken(reader) for _ in range(len(reader.ready))]
    finally:
        os.close(read)
        os.close(write)


@QUICKLY
@given(st.lists(PAYLOADS, max_size=5), st.lists(st.integers(1, 40), min_size=1))
def test_round_trip(payloads: list[dict[str, object]], sizes: list[int]) -> None:
    """
    What went in comes out, however the bytes are cut.
    """
    data = b"".join(map(_encode, payloads))
    pieces, start, turn = [], 0, 0
    while start < len(data):
        size = sizes[turn % len(sizes)]
        pieces.append(data[start : start + size])
        start, turn = start + size, turn + 1
    assert _read(pieces) == payloads


@QUICKLY
@given(ODD)
def test_anything(value: object) -> None:
    """
    Any value arrives in some form and does not harm the values next to it.
    """
    (payload,) = _read([_encode({"outcome": "passed", "value": value})])
    assert payload["outcome"] == "passed"
    assert "value" in payload


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (b"\xff", b"\xff"),
        ({1}, {1}),
        ({(1, 2): "a"}, {(1, 2): "a"}),
        ({None: 1, "b": [{2.5: b"x"}]}, {None: 1, "b": [{2.5: b"x"}]}),
        (10**5000, 10**5000),
        (math.inf, math.inf),
        ((1, 2), (1, 2)),
        (BrokenRepr(), "<BrokenRepr whose repr() raises RuntimeError>"),
        ([BrokenRepr()], ["<BrokenRepr whose repr() raises RuntimeError>"]),
        ("\ud800\udfff", "\ud800\udfff"),
        ("\0", "\0"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_how_values_arrive(value: object, arrives: object) -> None:
    """
    A value of a builtin type arrives as it is, and any other as its repr.
    """
    (payload,) = _read([_encode({"value": value})])
    assert payload["value"] == arrives


def test_not_a_number() -> None:
    """
    NaN arrives as NaN.
    """
    (payload,) = _read([_encode({"value": math.nan})])
    assert math.isnan(float(str(payload["value"])))


def test_list_in_itself() -> None:
    """
    A list that contains itself arrives so.
    """
    endless: list[object] = [1]
    endless.append(endless)
    (payload,) = _read([_encode({"outcome": "passed", "value": endless})])
    assert payload["outcome"] == "passed"
    assert repr(payload["value"]) == "[1, [...]]"


def test_deep_nesting() -> None:
    """
    A value nested too deeply for Python's recursion limit arrives whole.
    """
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    (payload,) = _read([_encode({"outcome": "passed", "value": deep})])
    assert payload["outcome"] == "passed"
    arrived = payload["value"]
    for _ in range(100_000):
        assert isinstance(arrived, list)
        (arrived,) = arrived
    assert arrived == []


#: Reads messages of so many bytes, and prints for how many pages of memory it asked
#: the kernel meanwhile: one for each 4096 bytes that it has copied.
PAGES = """
import ctypes
import os
import resource
import sys
import threading

from pytest_nsisolate.guest.channel import Reader, frame, write_all
from pytest_nsisolate.guest.messages import OF_GUEST, HandOver

# Source: prctl(2). A huge page would count as one.
PR_SET_THP_DISABLE = 41
numbers = map(ctypes.c_ulong, (1, 0, 0, 0))
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, *numbers)

def pages():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt

for size in map(int, sys.argv[1:]):
    text = "x" * size
    data = frame(HandOver(payload={"text": text}))
    read, write = os.pipe()
    writer = threading.Thread(target=write_all, args=(write, data))
    writer.start()
    reader = Reader(read, OF_GUEST)
    before = pages()
    while not reader.ready:
        reader.read()
    print(pages() - before)
    writer.join()
    assert reader.ready.popleft().message.payload == {"text": text}
"""


def test_linear_in_bytes() -> None:
    """
    Each byte is copied a fixed number of times, however many reads a message takes.
    """
    sizes = [2 << 20, 16 << 20]
    # Each larger block then comes from the kernel, and goes back to it. Source:
    # mallopt(3), M_MMAP_THRESHOLD.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", PAGES, *map(str, sizes)]

    done = subprocess.run(command, check=True, capture_output=True, env=environment)

    small, large = map(int, done.stdout.split())
    assert small > sizes[0] / 4096
    # A linear reader asks for eight times as many; a quadratic one, for fifty times.
    assert large < 16 * small


def test_linear_in_messages() -> None:
    """
    Many messages sent at once arrive complete and are read in linear time.
    """
    data = _encode({"a": 1}) * 40_000
    read, write = os.pipe()
    writer = threading.Thread(target=write_all, args=(write, data))
    writer.start()
    reader = Reader(read, OF_GUEST)
    while len(reader.ready) < 40_000:
        reader.read()
    writer.join()
    os.close(read)
    os.close(write)
    while reader.ready:
        assert _taken(reader) == {"a": 1}


def _behind_length(body: bytes) -> bytes:
    """
    Return *body* with its length in front.
    """
    return struct.pack(">Q", len(body)) + body


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[]", b'"text"', b"null", b"1", b"[" * 100_000],
    ids=["empty", "cut", "not utf-8", "list", "str", "null", "number", "deep"],
)
def test_garbled(body: bytes) -> None:
    """
    A body that is not a JSON object is garbled and raises no other error.
    """
    with pytest.raises(Garbled):
        _read([_behind_length(body)])


@settings(QUICKLY, max_examples=200)
@given(st.binary(min_size=1, max_size=200))
def test_any_bytes(data: bytes) -> None:
    """
    Random bytes are an incomplete message or garbled.
    """
    with contextlib.suppress(Garbled):
        assert _read([data]) == []


def test_nothing_yet() -> None:
    """
    A non-blocking reader raises BlockingIOError until there is something to read.
    """
    read, write = os.pipe()
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        Reader(read, OF_GUEST).read()
    os.close(write)
    with pytest.raises(EOFError):
        Reader(read, OF_GUEST).read()
    os.close(read)


def test_no_one_reads() -> None:
    """
    Writing to a pipe without a reader raises an error and does not block.
    """
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(BrokenPipeError):
        write_all(write, b"x")
    os.close(write)


class _Raised(Exception):
    """
    Raised by the handler of a signal.
    """


def test_signal_in_the_middle() -> None:
    """
    A signal whose handler raises while a long message is written comes after it.
    """

    def handle(*_: object) -> None:
        """
        Fail, as the handler of Ctrl-C does.
        """
        raise _Raised

    def read() -> None:
        """
        Send the signal when a part of the message has been written, and read the rest.
        """
        is_first = True
        with contextlib.suppress(EOFError):
            while True:
                reader.read()
                if is_first:
                    signal.pthread_kill(main, signal.SIGUSR1)
                is_first = False

    main = threading.get_ident()
    source, target = os.pipe()
    reader = Reader(source, OF_GUEST)
    message = HandOver(payload={"plugin": "x" * (1 << 20)})
    before = signal.signal(signal.SIGUSR1, handle)
    thread = threading.Thread(target=read)
    thread.start()
    try:
        with pytest.raises(_Raised):
            GuestChannel(target, -1, 0, Blocked()).send(message)
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.close(target)
        thread.join()
        os.close(source)
    assert [one.message for one in reader.ready] == [message]
