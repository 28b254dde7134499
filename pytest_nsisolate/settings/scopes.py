"""
Which tests share a sandbox, and what they share with it: the scope of a spec.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TypeAlias, get_args

import pytest

from pytest_nsisolate.compat import fixtures
from pytest_nsisolate.model.spec import Scope, Spec
from pytest_nsisolate.settings.resolve import resolve_spec

#: What fixtures hang on, and scopes are of.
Node: TypeAlias = "pytest.Item | pytest.Collector"

_share = pytest.StashKey["Share | None"]()


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """
    What tests have in common that share a sandbox.
    """

    node: Node
    """The class, module, package or session that they are of."""
    spec: Spec
    """What they ask for, without what each has for itself."""

    @property
    def name(self) -> str:
        """
        The scope and which it is, in words.
        """
        if isinstance(self.node, pytest.Session):
            return "the session"
        return f"{self.spec.scope} {self.node.nodeid}"


def share_of(item: pytest.Item) -> Share | None:
    """
    Return what *item* shares; None where its sandbox is its own, or it has none.
    """
    if _share not in item.stash:
        item.stash[_share] = _work_out(item)
    return item.stash[_share]


def node_of(item: pytest.Item) -> Node:
    """
    Return the node whose fixtures, and those below, live in the guest of *item*.
    """
    share = share_of(item)
    return item if share is None or share.spec.fork else share.node


def following(item: pytest.Item, nextitem: pytest.Item | None) -> pytest.Item | None:
    """
    Return the next test that shares with *item*, before pytest leaves the scope.

    Args:
        item: The test.
        nextitem: What pytest runs next, which need not share.

    Returns:
        None if there is none.
    """
    share = share_of(item)
    if share is None:
        return None
    inside = _scopes_within(share)
    own = fixtures.wide_parameters(item, inside)
    for one in _from(nextitem):
        if share.node not in one.listchain():
            return None
        # What is borrowed is then set up anew, and a guest would have the old one.
        theirs = fixtures.wide_parameters(one, inside)
        if any(own[name] != theirs[name] for name in own.keys() & theirs.keys()):
            return None
        if share_of(one) == share:
            return one
    return None


def others(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[pytest.Item]:
    """
    Yield the tests that share the guest of *item* and come after it.
    """
    if node_of(item) is item:
        return
    one = following(item, nextitem)
    while one is not None:
        yield one
        one = following(one, next(_after(one), None))


def _work_out(item: pytest.Item) -> Share | None:
    spec = resolve_spec(item)
    if not isinstance(spec, Spec) or spec.scope in {None, "function"}:
        return None
    node = _node(item, str(spec.scope))
    if node is item:
        return None
    return Share(node, dataclasses.replace(spec, timeout=None, leaks=None))


def _node(item: pytest.Item, scope: str) -> Node:
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
        # As pytest has it for fixtures of these scopes.
        return item.session if scope == "package" else item
    return found


def _scopes_within(share: Share) -> tuple[str, ...]:
    scopes = get_args(Scope)
    return scopes[: scopes.index(share.spec.scope) + 1]


def _from(item: pytest.Item | None) -> Iterator[pytest.Item]:
    if item is not None:
        yield item
        yield from _after(item)


def _after(item: pytest.Item) -> Iterator[pytest.Item]:
    number = number_of(item)
    if number.isdecimal():
        items = item.session.items
        for index in range(int(number) + 1, len(items)):
            yield items[index]


#: In place of the number of a test: there is none.
NONE = "-"

#: What a guest that waits between two tests is told where none comes.
END = "end"

_number = pytest.StashKey[str]()


def number_of(item: pytest.Item | None) -> str:
    """
    Return which of the tests of its session *item* is, as a guest is told it.
    """
    if item is None:
        return NONE
    if _number not in item.stash:
        for number, one in enumerate(item.session.items):
            one.stash[_number] = str(number)
    return item.stash.get(_number, NONE)


def item_of(session: pytest.Session, number: str) -> pytest.Item | None:
    """
    Return the test of which `number_of` returns *number*.
    """
    return session.items[int(number)] if number != NONE else None


def turn(
    item: pytest.Item, nextitem: pytest.Item | None, kept: pytest.Item | None
) -> str:
    """
    Return what a guest is told that is to run *item*.

    Args:
        item: The test.
        nextitem: What pytest runs next.
        kept: The next test in that guest.
    """
    numbers = [number_of(one) for one in (item, nextitem, kept)]
    return " ".join([*numbers, str(item.session.testsfailed)])
