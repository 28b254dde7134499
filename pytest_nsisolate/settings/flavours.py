"""
Flavours: copies of each isolated test, which run in different ways.

On the host, isolated, isolated with nothing beside it, or isolated beside others.

Items are copied when they are collected, before anything else selects among them.
Collecting them twice would call the hooks of other plugins twice, and only functions
can be parametrised.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator

import pytest

from pytest_nsisolate.compat import fixtures
from pytest_nsisolate.compat.items import copy_of
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.settings import options
from pytest_nsisolate.settings.marker import spec_of
from pytest_nsisolate.settings.options import Flavour
from pytest_nsisolate.settings.resolve import asks, flavour_key, origin_key
from pytest_nsisolate.settings.scopes import node_in_scope


class Copies:
    """
    Replaces each collected item that asks for isolation with all its flavours.

    Args:
        flavours: The flavours.
    """

    def __init__(self, flavours: tuple[Flavour, ...]) -> None:
        self._flavours = flavours

    # The innermost wrapper: others, such as --lf, choose from what it returns.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """
        Replace them in the report.
        """
        report = yield
        report.result = [
            one for node in report.result for one in _in_flavours(node, self._flavours)
        ]
        return report


def _in_flavours(
    node: pytest.Item | pytest.Collector, flavours: tuple[Flavour, ...]
) -> Iterator[pytest.Item | pytest.Collector]:
    # pytest collects an item that is named by its id again, from its own cache.
    if not isinstance(node, pytest.Item) or flavour_key in node.stash or not asks(node):
        yield node
        return
    if "beside" in flavours and not _may_have_company(node):
        own: list[Flavour] = ["alone" if one == "beside" else one for one in flavours]
        flavours = tuple(dict.fromkeys(own))
    for flavour in flavours:
        one = copy_of(node, suffixed(node.name, flavour))
        one.stash[flavour_key] = flavour
        one.stash[origin_key] = node.nodeid
        # A method of a `unittest.TestCase` keeps its name, by which it is looked up.
        one.extra_keyword_matches.add(f"[{flavour}]")
        yield one


def _may_have_company(item: pytest.Item) -> bool:
    """
    Say whether *item* can run beside others, by what it asks for when it is collected.

    In a shared sandbox, its copies would find what the others have left.
    """
    found = spec_of(item)
    spec = found if isinstance(found, Spec) else Spec()
    scope = spec.scope or item.config.stash[options.key].defaults.scope
    is_shared = scope != "function" and node_in_scope(item, str(scope)) is not item
    return not (spec.alone or is_shared) and spec.nproc is None


def suffixed(name: str, flavour: str) -> str:
    """
    Return *name* with *flavour* as its last or only parameter.
    """
    if name.endswith("]") and "[" in name:
        return f"{name[:-1]}-{flavour}]"
    return f"{name}[{flavour}]"


class Blocks:
    """
    Puts the copies of one flavour behind each other, so that they can run side by side.

    Args:
        flavours: The flavours, in the order in which tests run.
    """

    def __init__(self, flavours: tuple[Flavour, ...]) -> None:
        self._places = {one: place for place, one in enumerate(flavours)}

    # The outermost wrapper.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, items: list[pytest.Item]
    ) -> Generator[None, object, object]:
        """
        Order *items* before others do, and once more when they have.

        Before, since --stepwise goes by the order that it sees. Afterwards, since
        plugins may shuffle tests, and pytest puts those with the same value of a wide
        parameter together.
        """
        items[:] = self._in_blocks(items, by_parameters=False)
        result = yield
        items[:] = self._in_blocks(items, by_parameters=True)
        return result

    def _in_blocks(
        self, items: list[pytest.Item], *, by_parameters: bool
    ) -> Iterator[pytest.Item]:
        """
        Yield *items*, flavour by flavour within each stretch.

        The stretches stay in their order. One ends where a test comes that has no
        flavour ``beside``, for nothing runs across it, and where other wide fixtures
        are needed, so that these are not set up once more for each flavour. A stretch
        may be many modules.
        """
        stash = (one.stash for one in items)
        paired = {
            one[origin_key] for one in stash if one.get(flavour_key, None) == "beside"
        }
        homes = {home for one in items for home in fixtures.homes_of(one)}

        def stretch(item: pytest.Item) -> object:
            if item.stash.get(origin_key, None) not in paired:
                return item.stash.get(origin_key, item)
            values = fixtures.wide_parameters(item, {"function"})
            at = [one for one in item.listchain() if one in homes]
            return at, values if by_parameters else {}

        for _, some in itertools.groupby(items, stretch):
            yield from sorted(some, key=self._place)

    def _place(self, item: pytest.Item) -> int:
        flavour = item.stash.get(flavour_key, None)
        return 0 if flavour is None else self._places.get(flavour, 0)
