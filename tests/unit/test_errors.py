"""
The errors of the package, which people read and other processes get.
"""

from __future__ import annotations

import copy
import pickle

import pytest

from pytest_nsisolate import (
    BoxError,
    CannotCarry,
    DidNotFinish,
    Explanation,
    Killed,
    LeftBehind,
    NsIsolateError,
    Refused,
    Spec,
    SpecError,
)
from pytest_nsisolate.model.errors import Hidden, Unlimited

LINES = Explanation(what="cannot run", why="it is so", fix="make it other")


@pytest.mark.python
@pytest.mark.parametrize(
    "error",
    [
        BoxError(LINES),
        CannotCarry(LINES),
        DidNotFinish(LINES, Killed(9)),
        LeftBehind(LINES),
        Refused("unshare()", 1),
        SpecError("it is so", "make it other"),
        Hidden("cannot run", "it is so", "make it other"),
        Unlimited("cannot run", "it is so", "make it other"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_copies(error: NsIsolateError) -> None:
    """
    An error can be copied, and sent to another process, with all that it has.
    """
    error.note = "found later"  # type: ignore[attr-defined]
    for one in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - own
        assert type(one) is type(error)
        assert str(one) == str(error)
        assert vars(one) == vars(error)


def test_text_of_a_spec_error() -> None:
    """
    Whoever makes a wrong spec reads what is wrong with it and how to mend it.
    """
    with pytest.raises(SpecError) as caught:
        Spec(hostname=3)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "hostname=3 is of type int, not str\n"
        'fix: write hostname="t1", or leave hostname= out'
    )
