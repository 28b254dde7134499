"""
Exceptions as data: what comes back, and what a guest can do with such data.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import fuzzing
import pytest

from pytest_nsisolate.guest import messages
from pytest_nsisolate.guest.messages import Failure, Garbled
from pytest_nsisolate.reporting.exceptions import Described, describe, revive

pytestmark = pytest.mark.python


class Coded(Exception):
    """
    An exception whose text comes from an attribute, and that takes no text.
    """

    made = 0

    def __init__(self, *, code: int) -> None:
        super().__init__()
        type(self).made += 1
        self.code = code

    def __str__(self) -> str:
        """
        Return the code.
        """
        return f"code {self.code}"


def _coded() -> None:
    """
    Raise an exception with a code.
    """
    raise Coded(code=7)


def _chained() -> None:
    """
    Raise an exception with a cause.
    """
    try:
        _coded()
    except Coded as error:
        if sys.version_info >= (3, 11):
            error.add_note("a note")
        raise OSError(2, "gone", "file") from error


def _of_a_local_class() -> None:
    """
    Raise an exception that nobody can import.
    """

    class Local(LookupError):
        """
        A class that nobody can import.
        """

    raise Local("local")


def _without_traceback_text() -> None:
    """
    Raise an exception that hides its context.
    """
    try:
        1 / 0  # noqa: B018 - for its error
    except ZeroDivisionError:
        raise KeyError("hidden") from None


def _recursive() -> None:
    """
    Raise an exception from very deep.
    """
    _recursive()


def _import() -> None:
    """
    Raise an exception that has fields of its own.
    """
    __import__("a_module_that_nobody_has")


RAISING = [
    *(_coded, _chained, _of_a_local_class, _without_traceback_text, _recursive),
    _import,
]


def _caught(function: Callable[[], object]) -> BaseException:
    """
    Return what *function* raises.
    """
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - of any class
        function()
    return caught.value


def _carried(described: list[Described]) -> object:
    """
    Return *described* as it arrives.
    """
    sent = Failure(when="call", errors=described, report=None, marked=None)
    message = messages.OF_GUEST.decode(messages.encode(sent)).message
    assert isinstance(message, Failure)
    return message.errors


@pytest.mark.parametrize("function", RAISING, ids=lambda one: one.__name__)
def test_round_trip(function: Callable[[], object]) -> None:
    """
    An exception comes back with its class, texts, traceback and chain.
    """
    error = _caught(function)
    before = Coded.made
    back = revive(_carried(describe(error)))
    assert Coded.made == before
    assert traceback.format_exception(back) == traceback.format_exception(error)
    assert (str(back), repr(back)) == (str(error), repr(error))
    assert type(back).__qualname__ == type(error).__qualname__
    assert isinstance(back, type(error).__mro__[1])
    assert vars(back).get("code") == vars(error).get("code")
    assert back.args == error.args


def test_runs_nothing() -> None:
    """
    No line of the code that has raised an exception runs again when it comes back.

    A debugger would stop there, at a breakpoint, in the supervisor, and coverage would
    measure it.
    """
    described = _carried(describe(_caught(_chained)))
    events = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        """
        Note what is said of these two functions.
        """
        if frame.f_code.co_name in ("_chained", "_coded"):
            events.append((event, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        # Also when it is freed.
        assert revive(described)
        gc.collect()
    finally:
        sys.settrace(before)
    assert not events


def test_loaded_class_is_kept() -> None:
    """
    An exception of a class that both processes have is of that class again.
    """
    back = revive(_carried(describe(_caught(_chained))))
    assert type(back) is FileNotFoundError
    assert back.filename == "file"
    assert type(back.__cause__) is Coded


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no groups")
def test_group() -> None:
    """
    A group comes back with its members.
    """
    members = [_caught(_chained), _caught(_of_a_local_class)]
    kind: Any = vars(__import__("builtins"))["ExceptionGroup"]
    error = kind("many", members)
    back: Any = revive(_carried(describe(error)))
    assert type(back) is kind
    assert [str(one) for one in back.exceptions] == [str(one) for one in members]
    assert traceback.format_exception(back) == traceback.format_exception(error)


def test_chain_that_ends_in_itself() -> None:
    """
    A chain that leads back is cut where it does.
    """
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    back = revive(_carried(describe(one)))
    assert str(back.__cause__) == "other"
    assert back.__cause__ is not None
    assert back.__cause__.__cause__ is None


def test_what_raises() -> None:
    """
    An exception that cannot be shown comes back with a text that says so.
    """

    class Bad(Exception):
        """
        An exception without a text, and whose properties raise.
        """

        @property
        def exceptions(self) -> None:
            """
            Raise an exception.
            """
            raise ValueError

        def __str__(self) -> str:
            """
            Raise an exception.
            """
            raise ValueError

        __repr__ = __str__

    back = revive(_carried(describe(Bad())))
    assert str(back) == "<exception whose str() raises ValueError>"
    assert repr(back) == "<exception whose repr() raises ValueError>"


def _spoiled(value: Any) -> Iterator[Any]:
    """
    Yield *value* with each of its parts replaced by each of other values, in turn.
    """
    if isinstance(value, dict | list):
        for key in [*value] if isinstance(value, dict) else range(len(value)):
            for one in (*fuzzing.VALUES, -2, 1 << 25):
                spoiled = copy.copy(value)
                spoiled[key] = one
                yield spoiled
            for part in _spoiled(value[key]):
                spoiled = copy.copy(value)
                spoiled[key] = part
                yield spoiled


def _is_garbled(described: list[Described]) -> bool:
    """
    Say whether *described* is garbage, and check that it can be shown if it is not.
    """
    with contextlib.suppress(Garbled):
        traceback.format_exception(revive(described))
        return False
    return True


def test_spoiled() -> None:
    """
    Whatever a guest sends is an exception that can be shown, or garbage.
    """
    described = json.loads(json.dumps(describe(_caught(_chained))))
    for one in described:
        # Each place is the same to a reader.
        del one["places"][1:]
    garbled = [*map(_is_garbled, _spoiled(described))]
    assert sum(garbled) > 100


def test_place_in_a_fifo(tmp_path: Path) -> None:
    """
    Nobody who shows the traceback reads from a file that has no end.
    """
    os.mkfifo(tmp_path / "fifo")
    described = describe(_caught(_coded))
    place: Any = described[0]["places"]
    place[-1][0] = str(tmp_path / "fifo")
    shown = traceback.format_exception(revive(described))
    assert any(f"<{tmp_path}/fifo>" in line for line in shown)
