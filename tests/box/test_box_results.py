"""
Values and exceptions that come back from a function called in a box.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable

import pytest

from pytest_nsisolate.box.box import Box
from pytest_nsisolate.box.pickled import LARGEST, CannotCarry, RemoteTraceback


class Picky(Exception):
    """
    An exception that cannot be rebuilt from its args, as in many libraries.
    """

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)


def test_an_exception_has_the_remote_traceback(box: Box) -> None:
    """
    An exception is raised here with its attributes, and its cause shows where it was.
    """

    def fail() -> None:
        """
        Raise an exception with an attribute.
        """
        error = KeyError("k")
        error.number = 3  # type: ignore[attr-defined]
        raise error

    with pytest.raises(KeyError, match="k") as caught:
        box.run(fail)

    assert caught.value.number == 3  # type: ignore[attr-defined]
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in fail\n    raise error\n" in str(caught.value.__cause__)
    assert "carriage.py" not in str(caught.value.__cause__)


def test_a_local_class_of_exceptions(box: Box) -> None:
    """
    An exception of a class that only the test knows is caught by that class.
    """

    class Local(Exception):
        """An exception that cannot be imported by its name."""

    def fail() -> None:
        """
        Raise an exception of a local class.
        """
        raise Local("here")

    with pytest.raises(Local, match="here"):
        box.run(fail)


@pytest.mark.parametrize(
    ("outcome", "call"),
    [
        (pytest.skip.Exception, lambda: pytest.skip("why")),
        (pytest.fail.Exception, lambda: pytest.fail("why")),
        (pytest.xfail.Exception, lambda: pytest.xfail("why")),
        (pytest.exit.Exception, lambda: pytest.exit("why", returncode=7)),
        (SystemExit, lambda: sys.exit("why")),
        (KeyboardInterrupt, lambda: _interrupt("why")),
    ],
)
def test_an_outcome_is_raised(
    box: Box, outcome: type[BaseException], call: Callable[[], None]
) -> None:
    """
    An outcome of pytest or an exit is raised here as it was inside.
    """
    with pytest.raises(outcome, match="why") as caught:
        box.run(call)

    assert type(caught.value) is outcome
    assert getattr(caught.value, "returncode", 7) == 7


def _interrupt(text: str) -> None:
    """
    Do what Ctrl-C does.
    """
    raise KeyboardInterrupt(text)


def test_a_value_that_cannot_be_pickled(box: Box) -> None:
    """
    The three lines say what was returned and why it cannot be pickled.
    """
    with pytest.raises(CannotCarry) as caught:
        box.run(threading.Lock)

    what, why, fix = str(caught.value).splitlines()
    assert what == (
        f"{threading.Lock.__name__} in box db returned a lock, which cannot leave "
        "box db"
    )
    assert why.startswith("why: pickle.dumps() raises TypeError(")
    assert "lock" in why
    assert fix == (
        "fix: return what pickle.dumps() takes, or write it to a file outside the box"
    )


def test_a_value_that_is_too_large(box: Box) -> None:
    """
    A value over the limit is refused, and the text gives both sizes.
    """
    value = bytes(LARGEST)

    with pytest.raises(CannotCarry) as caught:
        box.run(lambda: value)

    size = len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    why = f"why: its pickle has {size} bytes and the limit is {LARGEST}"
    assert str(caught.value).splitlines()[1] == why


def test_a_large_value_comes_through(box: Box) -> None:
    """
    A value many times the size of a pipe arrives whole.
    """
    assert box.run(lambda: bytes(3 << 20)) == bytes(3 << 20)


def test_an_exception_that_cannot_be_made_again(box: Box) -> None:
    """
    The error says that pickle cannot rebuild it, and its cause is the remote traceback.
    """

    def fail() -> None:
        """
        Raise an exception that pickle cannot rebuild.
        """
        raise Picky(1, 2)

    with pytest.raises(CannotCarry) as caught:
        box.run(fail)

    what, why, fix = str(caught.value).splitlines()
    assert what == "fail in box db raised a Picky, which cannot leave box db"
    assert why.startswith("why: pickle.loads() raises TypeError(")
    assert fix == (
        "fix: raise an exception that pickle.loads() can make again: its args must be "
        "the arguments of its class"
    )
    assert "raise Picky(1, 2)" in str(caught.value.__cause__)


def test_an_exception_of_a_class_made_inside(box: Box) -> None:
    """
    An exception whose class was defined in the box is reported as unknown here.
    """

    def fail() -> None:
        """
        Raise an exception whose class is made here.
        """

        class Inner(Exception):
            """An exception that only the box knows."""

        raise Inner

    with pytest.raises(CannotCarry, match="Inner was defined in the box"):
        box.run(fail)
