"""
Warnings of values that arrived as text, one in a session for each place and type.
"""

from __future__ import annotations

import warnings

import pytest

from pytest_nsisolate.guest.messages import (
    HandOver,
    RecordedWarning,
    Report,
    TestMessage,
    Texts,
)
from pytest_nsisolate.model.errors import Explanation, ReprWarning

#: What has been said: place and type.
_told = pytest.StashKey["set[tuple[str, str]]"]()


def warn(item: pytest.Item, message: TestMessage, texts: Texts) -> None:
    """
    Warn of what arrived as text in *message*, of *item*, unless that has been said.

    This is never an error: the test is not to blame.
    """
    told = item.config.stash.setdefault(_told, set())
    for name, kind in texts:
        match message:
            case Report():
                place = f"report.{name}"
            case HandOver():
                place = f"the payload {name}"
            case RecordedWarning():
                place = f"a {message.category}"
            case _:
                place = f"session.{name}"
        if (place, kind) in told:
            continue
        told.add((place, kind))
        text = Explanation(
            what=f"{place} of {item.name} has text in place of a value",
            why=f"a value of type {kind} comes from an isolated test as its repr; "
            "those of builtin types come as they are",
            fix="set it to None, bool, int, float, complex, str, bytes, list, tuple, "
            "set or dict",
        )
        filename, line, _ = item.reportinfo()
        place_of_test = (str(filename), (line or 0) + 1)
        try:
            warnings.warn_explicit(ReprWarning(str(text)), None, *place_of_test)
        except ReprWarning as error:
            warnings.showwarning(error, ReprWarning, *place_of_test)
