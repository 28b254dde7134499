"""
Values and exceptions that come back from a function called in a box.
"""

from __future__ import annotations

import asyncio
import pickle
import re
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from pytest_nsisolate.box.box import Box
from pytest_nsisolate.box.explanations import DidNotFinish
from pytest_nsisolate.box.pickled import LARGEST, CannotCarry, RemoteTraceback
from pytest_nsisolate.model.ending import Killed
from pytest_nsisolate.model.errors import Explanation

pytestmark = pytest.mark.python


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


def test_what_is_too_large(box: Box) -> None:
    """
    A value or exception over the limit is refused with both sizes, and the fix says so.
    """
    value = bytes(LARGEST)

    def fail() -> None:
        """
        Raise an exception that holds too much.
        """
        raise ValueError(value)

    size = len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    for function, held, fix in (
        (lambda: value, size, "return less"),
        (fail, None, "raise an exception that holds less"),
    ):
        with pytest.raises(CannotCarry) as caught:
            box.run(function)

        _, why, advice = str(caught.value).splitlines()
        assert re.fullmatch(
            rf"why: its pickle has {held or '[0-9]+'} bytes and the limit is {LARGEST}",
            why,
        )
        assert advice == f"fix: {fix}, or write it to a file outside the box"


def test_a_value_that_only_a_call_can_make(box: Box) -> None:
    """
    A coroutine or a generator is not what a function is called for: the fix runs it.
    """

    async def wait() -> int:
        """
        Return a number, in time.
        """
        return 7

    def count() -> Iterator[int]:
        """
        Yield numbers.
        """
        yield from range(3)

    functions: list[tuple[Callable[[], object], str, str]] = [
        (wait, "coroutine", "box.run(lambda: asyncio.run(f()))"),
        (count, "generator", "box.run(lambda: list(f()))"),
    ]
    for function, kind, fix in functions:
        with pytest.raises(CannotCarry, match=f"returned a {kind}, which") as caught:
            box.run(function)
        assert str(caught.value).splitlines()[2] == f"fix: {fix}"
    assert box.run(lambda: asyncio.run(wait())) == 7
    assert box.run(lambda: list(count())) == [0, 1, 2]


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

    with pytest.raises(CannotCarry) as caught:
        box.run(fail)

    _, why, fix = str(caught.value).splitlines()
    assert why.startswith(f"why: the class {__name__}.test_an_exception_of_a_class_")
    assert why.endswith(".fail.<locals>.Inner was defined in the box")
    assert fix == "fix: define this class outside the box, before the call"


def _with_attribute(error: Exception, value: object) -> Exception:
    """
    Return *error* with *value* as its attribute.
    """
    error.__dict__["hook"] = value
    return error


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (ValueError("why", lambda: None), "args[1]"),
        (_with_attribute(ValueError("why"), lambda: None), "attribute hook"),
        (_with_attribute(Picky(1, 2), threading.Lock()), "attribute hook"),
    ],
)
def test_an_exception_that_cannot_be_pickled(
    box: Box, error: Exception, part: str
) -> None:
    """
    The three lines name the part of the exception that cannot be pickled.
    """

    def fail() -> None:
        """
        Raise the exception.
        """
        raise error

    with pytest.raises(CannotCarry) as caught:
        box.run(fail)

    what, why, fix = str(caught.value).splitlines()
    kind = type(error).__name__
    assert what == f"fail in box db raised a {kind}, which cannot leave box db"
    assert why.startswith("why: pickle.dumps() raises ")
    assert why.endswith(f"because of its {part}")
    assert fix == f"fix: raise it without its {part}, or with repr() of that instead"


class Reduced(Exception):
    """
    An exception that pickles as something else.
    """

    def __reduce__(self) -> tuple[type, tuple[str]]:
        """
        Pickle as a text.
        """
        return str, ("no exception",)


class Refusing(Exception):
    """
    An exception that does not want to be pickled.
    """

    def __reduce__(self) -> tuple[type, tuple[str]]:
        """
        Refuse.
        """
        raise NotImplementedError


@pytest.mark.parametrize(
    ("kind", "why", "fix"),
    [
        (
            Reduced,
            "its pickle is of type str",
            "make its __reduce__() return what makes the exception again",
        ),
        (
            Refusing,
            "pickle.dumps() raises NotImplementedError()",
            "raise an exception that pickle.dumps() takes",
        ),
    ],
)
def test_an_exception_with_its_own_reduce(
    box: Box, kind: type[Exception], why: str, fix: str
) -> None:
    """
    An exception whose own __reduce__ is at fault says so.
    """

    def fail() -> None:
        """
        Raise the exception.
        """
        raise kind

    with pytest.raises(CannotCarry) as caught:
        box.run(fail)

    assert str(caught.value).splitlines()[1:] == [f"why: {why}", f"fix: {fix}"]


class Once:
    """
    A value that can be pickled, but not made again.
    """

    def __init__(self, one: int) -> None:
        self.one = one

    def __reduce__(self) -> tuple[type[Once], tuple[()]]:
        """
        Leave out what it takes to be made again.
        """
        return Once, ()


def test_a_value_that_cannot_be_made_again(box: Box) -> None:
    """
    A value that pickle cannot make again here is not told about pickle.dumps().
    """
    with pytest.raises(CannotCarry) as caught:
        box.run(Once, 1)

    _, why, fix = str(caught.value).splitlines()
    assert why.startswith("why: pickle.loads() raises TypeError(")
    assert fix == (
        "fix: return what pickle.loads() can make again, or write it to a file outside "
        "the box"
    )


def test_an_error_of_a_box_within(box: Box) -> None:
    """
    A function that did not finish in a box can be made known in another one.
    """

    def fail() -> None:
        """
        Raise what `Box.run` raises.
        """
        lines = Explanation(what="f did not finish", why="killed", fix="see who did")
        raise DidNotFinish(lines, Killed(9))

    with pytest.raises(DidNotFinish, match="f did not finish") as caught:
        box.run(fail)

    assert caught.value.ending == Killed(9)
