"""
The scope of a spec: which tests share a sandbox, and in which order they run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias, get_args

import pytest

from pytest_nsisolate.compat import fixtures
from pytest_nsisolate.model.spec import Scope, Spec
from pytest_nsisolate.settings.resolve import resolve_spec

#: A node of the collection tree. Fixtures and scopes belong to one.
Node: TypeAlias = "pytest.Item | pytest.Collector"

_share = pytest.StashKey["Share | None"]()

#: The shares of a session, by the ids of their node and of the spec of their tests, and
#: that spec.
_shares = pytest.StashKey["dict[tuple[int, int], tuple[Spec, Share]]"]()


#: The keywords that each test has for itself.
_OF_EACH_TEST = {"timeout": None, "leaks": None, "alone": None, "group": None}


class Share(NamedTuple):
    """
    The scope and the spec that tests have in common if they share a sandbox.
    """

    node: Node
    """The class, module, package or session that they belong to."""
    spec: Spec
    """What they ask for, without the keywords that each test has for itself."""

    @property
    def name(self) -> str:
        """
        The kind of the scope and its node id, in words.
        """
        if isinstance(self.node, pytest.Session):
            return "the session"
        return f"{self.spec.scope} {self.node.nodeid}"


def share_of(item: pytest.Item) -> Share | None:
    """
    Return what *item* shares; None if it has no sandbox or a sandbox of its own.
    """
    if _share not in item.stash:
        item.stash[_share] = _work_out(item)
    return item.stash[_share]


def node_of(item: pytest.Item) -> Node:
    """
    Return the node at and below which fixtures live in the guest of *item*.
    """
    share = share_of(item)
    return item if share is None or share.spec.fork else share.node


def following(item: pytest.Item, nextitem: pytest.Item | None) -> pytest.Item | None:
    """
    Return the next test in the scope of *item* that shares its sandbox.

    Args:
        item: The test.
        nextitem: The test that pytest runs next, which may or may not share it.

    Returns:
        None if there is none before pytest leaves the scope.
    """
    share = share_of(item)
    if share is None:
        return None
    inside = _scopes_within(share)
    own = fixtures.wide_parameters(item, inside)
    for one in onwards(nextitem):
        is_found = share_of(one) == share
        if not is_found and share.node not in one.listchain():
            return None
        # pytest then sets up a borrowed fixture again, and the guest would keep the
        # old value.
        theirs = fixtures.wide_parameters(one, inside) if own else {}
        if any(own[name] != theirs[name] for name in own.keys() & theirs.keys()):
            return None
        if is_found:
            return one
    return None


def others(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[pytest.Item]:
    """
    Yield the tests after *item* that share its guest.
    """
    if node_of(item) is item:
        return
    one = following(item, nextitem)
    while one is not None:
        yield one
        one = following(one, next(_after(one), None))


def scopes_inside(item: pytest.Item) -> tuple[str, ...]:
    """
    Return the scopes of fixtures that the guest of *item* sets up for several tests.

    A package may be in one whose fixtures are borrowed, so its scope is left out.
    """
    share = share_of(item)
    if share is None or share.spec.fork:
        return ()
    found = _scopes_within(share)
    return found[:-1] if share.spec.scope == "package" else found


def tests_of_guest(item: pytest.Item) -> Iterator[pytest.Item]:
    """
    Yield *item* and the tests right after it that may share its guest.
    """
    node = node_of(item)
    for one in onwards(item):
        if one is not item and node not in one.listchain():
            return
        yield one


def _work_out(item: pytest.Item) -> Share | None:
    spec = resolve_spec(item)
    if not isinstance(spec, Spec) or spec.scope in {None, "function"}:
        return None
    node = node_in_scope(item, str(spec.scope))
    if node is item:
        return None
    known = item.session.stash.setdefault(_shares, {})
    place = id(node), id(spec)
    if place not in known:
        share = Share(node, dataclasses.replace(spec, **_OF_EACH_TEST))
        # While it is here, no other spec can have its id.
        known[place] = spec, share
    return known[place][1]


def node_in_scope(item: pytest.Item, scope: str) -> Node:
    """
    Return the node whose tests share a sandbox in *scope*; *item* if none do.
    """
    if scope == "session":
        return item.session
    found: pytest.Collector | None
    if scope == "class":
        found = item.getparent(pytest.Class)
    elif scope == "module":
        found = item.getparent(pytest.File)  # type: ignore[type-abstract]
    else:
        found = item.getparent(pytest.Package)
    if found is None:
        # pytest does the same with fixtures of these scopes.
        return item.session if scope == "package" else item
    return found


def _scopes_within(share: Share) -> tuple[str, ...]:
    scopes = get_args(Scope)
    return scopes[: scopes.index(share.spec.scope) + 1]


def onwards(item: pytest.Item | None) -> Iterator[pytest.Item]:
    """
    Yield *item*, if there is one, and all tests after it.
    """
    if item is not None:
        yield item
        yield from _after(item)


def _after(item: pytest.Item) -> Iterator[pytest.Item]:
    number = number_of(item)
    if number.isdecimal():
        items = item.session.items
        for index in range(int(number) + 1, len(items)):
            yield items[index]


#: Stands for no test, in place of its number.
NONE = "-"

#: Tells a guest that waits for its next test that there is none.
END = "end"

_number = pytest.StashKey[str]()


def number_of(item: pytest.Item | None) -> str:
    """
    Return the number of *item* in its session, in the form sent to a guest.
    """
    if item is None:
        return NONE
    if _number not in item.stash:
        for number, one in enumerate(item.session.items):
            one.stash[_number] = str(number)
    return item.stash.get(_number, NONE)


def item_of(session: pytest.Session, number: str) -> pytest.Item | None:
    """
    Return the test for which `number_of` returns *number*.
    """
    return session.items[int(number)] if number != NONE else None


#: Tells a guest that its test waits until each report has been logged.
WAIT = "wait"


def turn(
    item: pytest.Item,
    nextitem: pytest.Item | None,
    kept: pytest.Item | None,
    *,
    waits: bool,
) -> str:
    """
    Return the line that tells a guest to run *item*.

    Args:
        item: The test.
        nextitem: The test that pytest runs next.
        kept: The next test in that guest.
        waits: Whether *item* waits until each of its reports has been logged.
    """
    numbers = [number_of(one) for one in (item, nextitem, kept)]
    failed = str(item.session.testsfailed)
    return " ".join([*numbers, failed, WAIT if waits else NONE])
