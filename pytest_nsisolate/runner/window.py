"""
The window: the tests that may run at the same time as the one whose turn it is.

A guest is a fork of the supervisor, with all that is set up there at that moment. So a
test may start before its turn if nothing is set up or finalised until then, though
pytest may come to another module. Such tests follow each other: the window ends before
the first that is not one, and begins anew when it is that one's turn.

It reaches over tests that keep their place: those that share a sandbox run in order, in
the supervisor's own lane, and what a mark may skip needs no guest until its turn tells.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple, TypeAlias

import pytest

from pytest_nsisolate.compat import fixtures
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.runner.durations import Durations
from pytest_nsisolate.runner.order import Order
from pytest_nsisolate.settings.resolve import resolve_spec
from pytest_nsisolate.settings.scopes import (
    Share,
    node_of,
    others,
    scopes_inside,
    share_of,
)

#: What a test shares with others that therefore must not run beside it.
Groups: TypeAlias = "frozenset[str]"

#: How many characters of a test's name `tmp_path` has. Source: pytest's
#: _pytest/tmpdir.py, since 3.9.
_TMP_PATH_LENGTH = 30


#: How many of the tests that may start are looked at, if none of them is a long one.
#: Those that must wait for others of their group are among them.
_AHEAD = 200


class Candidate(NamedTuple):
    """
    A test that may start before its turn.
    """

    item: pytest.Item
    nextitem: pytest.Item | None
    """The test that pytest runs next."""
    place: int
    """Its place in the order."""
    spec: Spec
    groups: Groups


class Window:
    """
    The tests after the one whose turn it is that may run beside it.

    Args:
        order: The order in which tests run.
        durations: Tells which tests take long, and so start first.
    """

    def __init__(self, order: Order, durations: Durations) -> None:
        self._order = order
        self._durations = durations
        #: Those that were found, and have not started, in their order.
        self._waiting: dict[pytest.Item, Candidate] = {}
        #: Those of them that take long, the longest first; some may have started.
        self._long: list[Candidate] = []
        #: Those that keep their place, as long as their turn has not come.
        self._passed: dict[pytest.Item, Candidate] = {}
        #: The shares whose tests need nothing but what is set up.
        self._shares: list[Share] = []
        #: Those of each group, in their order.
        self._queues: dict[str, dict[pytest.Item, None]] = {}
        #: The place of the last test that is in the window.
        self._reach = -1
        self._is_shut = True
        #: The test before which no other starts; None if that is not known.
        self._barrier: pytest.Item | None = None

    def move(self, item: pytest.Item, spec: Spec) -> None:
        """
        Note that it is the turn of *item*, which asks for *spec*.
        """
        place = self._order.place_of(item)
        if place is None:
            # It is not known what comes after it.
            self.shut(item)
            return
        # What a hook outside has kept from running has no other turn.
        for some in (self._waiting, self._passed):
            while some and (first := next(iter(some.values()))).place <= place:
                self._take(some, first.item)
        if self._reach <= place:
            self._clear()
            self._reach = place
            self._is_shut = not _may_have_company(spec)
            self._barrier = item if self._is_shut else None

    def first(self, fits: Callable[[Groups], bool]) -> Candidate | None:
        """
        Return the test that is to start next; None if none may start now.

        That is the longest, of those that took long in the last run, or else the first.

        Args:
            fits: Says whether a test with these groups may start now.
        """
        if self._durations:
            while self._find() is not None:
                pass
        for one in self._long:
            if one.item in self._waiting and self._may_start(one, fits):
                return one
        for one in islice(self._waiting.values(), _AHEAD):
            if self._may_start(one, fits):
                return one
        while len(self._waiting) < _AHEAD and (found := self._find()) is not None:
            if self._may_start(found, fits):
                return found
        return None

    def start(self, item: pytest.Item) -> pytest.Item | None:
        """
        Note that *item* starts, and return the test that comes after it.
        """
        return self._take(self._waiting, item).nextitem

    def shut(self, item: pytest.Item) -> None:
        """
        Let no other test start until the turn of the last that is in the window.

        Args:
            item: The test for which this is done.
        """
        self._clear()
        self._is_shut = True
        self._barrier = item

    def hindrance(self, taken: Groups) -> tuple[pytest.Item | None, Groups]:
        """
        Return the test that has to wait if none may start, and what it shares.

        Args:
            taken: The groups of the tests that run. If the test shares none of them, it
                waits for its turn.
        """
        for one in self._waiting.values():
            return one.item, one.groups & taken
        return self._barrier, frozenset()

    def _may_start(self, one: Candidate, fits: Callable[[Groups], bool]) -> bool:
        # The tests of a group keep their order.
        is_first = all(
            next(iter(self._queues[name])) is one.item for name in one.groups
        )
        return is_first and fits(one.groups)

    def _find(self) -> Candidate | None:
        """
        Find the next test that is in the window; None if there is no other.
        """
        while not self._is_shut:
            found = self._order.at(self._reach + 1)
            if found is None:
                # There may be more later.
                return None
            item, nextitem = found
            spec = resolve_spec(item)
            if not (
                isinstance(spec, Spec)
                and _may_have_company(spec)
                and self._changes_nothing(item, nextitem)
            ):
                self._barrier = item
                break
            self._reach += 1
            groups = groups_of(item, spec)
            one = Candidate(item, nextitem, self._reach, spec, groups)
            if share_of(item) is None and not is_skippable(item):
                self._add(self._waiting, one)
                self._note_long(one)
                return one
            # For a skip mark its turn will tell.
            if one.groups:
                self._add(self._passed, one)
        self._is_shut = True
        return None

    def _note_long(self, one: Candidate) -> None:
        if self._durations.of(one.item):
            insort(self._long, one, key=lambda one: -self._durations.of(one.item))

    def _changes_nothing(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """
        Say whether, at the turn of *item*, nothing is set up or finalised outside.
        """
        inside = scopes_inside(item)
        if not fixtures.will_be_all_set_up(item, node_of(item), inside):
            return False
        share = share_of(item)
        if share is None or share in self._shares:
            return True
        # What any of them borrows is set up for the first.
        later = others(item, nextitem)
        is_nothing = all(fixtures.has_wide_fixtures(one, inside) for one in later)
        if is_nothing:
            self._shares.append(share)
        return is_nothing

    def _add(self, some: dict[pytest.Item, Candidate], one: Candidate) -> None:
        some[one.item] = one
        for name in one.groups:
            self._queues.setdefault(name, {})[one.item] = None

    def _take(self, some: dict[pytest.Item, Candidate], item: pytest.Item) -> Candidate:
        one = some.pop(item)
        for name in one.groups:
            del self._queues[name][item]
        return one

    def _clear(self) -> None:
        self._waiting.clear()
        self._passed.clear()
        self._shares.clear()
        self._long.clear()
        self._queues.clear()


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
    if fixtures.makes_directories(item, scopes_inside(item)):
        found.add("tmp_path_factory")
    return frozenset(found)


def is_skippable(item: pytest.Item) -> bool:
    """
    Say whether a mark may skip *item*, so that it needs no fork.
    """
    return any(_may_skip(mark) for mark in item.iter_markers())


def _may_skip(mark: pytest.Mark) -> bool:
    if mark.name != "skipif":
        return mark.name == "skip"
    # As pytest reads it. Only what pytest evaluates may depend on the moment.
    kwargs = mark.kwargs
    conditions = [kwargs["condition"]] if "condition" in kwargs else mark.args
    return not conditions or any(one is not False for one in conditions)
