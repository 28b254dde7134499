"""
The window: the tests that may run at the same time as the one whose turn it is.

A guest is a fork of the supervisor, with all that is set up there at that moment. So a
test may start before its turn if nothing is set up or finalised until then, though
pytest may come to another module. Such tests follow each other: the window ends before
the first that is not one, and begins anew when it is that one's turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

import pytest

from pytest_nsisolate.compat import fixtures
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.settings.resolve import resolve_spec
from pytest_nsisolate.settings.scopes import NONE, number_of, share_of

#: What a test shares with others that therefore must not run beside it.
Groups: TypeAlias = "frozenset[str]"

#: How many characters of a test's name `tmp_path` has. Source: pytest's
#: _pytest/tmpdir.py, since 3.9.
_TMP_PATH_LENGTH = 30


class Window:
    """
    The tests after the one whose turn it is that may run beside it.
    """

    def __init__(self) -> None:
        #: Those that were found, and have not started.
        self._waiting: dict[pytest.Item, Spec] = {}
        #: The number of the last test that is in the window.
        self._reach = -1
        self._is_shut = True
        self._items: list[pytest.Item] = []

    def move(self, item: pytest.Item, spec: Spec) -> None:
        """
        Note that it is the turn of *item*, which asks for *spec*.
        """
        self._items = item.session.items
        self._waiting.pop(item, None)
        if number_of(item) == NONE:
            # A plugin runs it that makes items of its own.
            self.shut()
            return
        number = int(number_of(item))
        if self._reach <= number:
            self._waiting.clear()
            self._reach = number
            self._is_shut = not _may_have_company(spec)

    def waiting(self) -> Iterator[tuple[pytest.Item, Spec]]:
        """
        Yield the tests that may start now, in their order, with their specs.
        """
        yield from [*self._waiting.items()]
        while not self._is_shut and self._reach + 1 < len(self._items):
            item = self._items[self._reach + 1]
            spec = resolve_spec(item)
            if not (
                isinstance(spec, Spec)
                and share_of(item) is None
                and _may_have_company(spec)
                and fixtures.will_be_all_set_up(item)
            ):
                self._is_shut = True
                return
            if is_skippable(item):
                # What a mark skips needs no guest. Its turn will tell.
                if groups_of(item, spec):
                    self._is_shut = True
                    return
                self._reach += 1
                continue
            self._reach += 1
            self._waiting[item] = spec
            yield item, spec

    def start(self, item: pytest.Item) -> pytest.Item | None:
        """
        Note that *item* starts, and return the test that comes after it.
        """
        del self._waiting[item]
        number = int(number_of(item)) + 1
        return self._items[number] if number < len(self._items) else None

    def shut(self) -> None:
        """
        Let no other test start until the turn of the last that is in the window.
        """
        self._waiting.clear()
        self._is_shut = True


def _may_have_company(spec: Spec) -> bool:
    """
    Say whether other tests may run beside one that asks for *spec*.
    """
    # The limit nproc= counts all processes of a user.
    return not spec.alone and spec.nproc is None


def groups_of(item: pytest.Item, spec: Spec) -> Groups:
    """
    Return what *item*, which asks for *spec*, shares with others.
    """
    found = set()
    if spec.group is not None:
        found.add(f"group {spec.group}")
    if {"tmp_path", "tmpdir"} & {*getattr(item, "fixturenames", ())}:
        # Those with the same name get numbers, in the order in which they run.
        name = re.sub(r"[\W]", "_", item.name)[:_TMP_PATH_LENGTH]
        found.add(f"tmp_path {name}")
    if fixtures.makes_directories(item):
        found.add("tmp_path_factory")
    return frozenset(found)


def is_skippable(item: pytest.Item) -> bool:
    """
    Say whether a mark may skip *item*, so that it needs no fork.
    """
    return any(mark.name in {"skip", "skipif"} for mark in item.iter_markers())
