"""
Flavours: copies of each isolated test, one to run on the host and one isolated.

Items are copied when they are collected, before anything else selects among them.
Collecting them twice would call the hooks of other plugins twice, and only functions
can be parametrised.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from pytest_nsisolate.compat import items
from pytest_nsisolate.settings.options import Flavour
from pytest_nsisolate.settings.resolve import asks, flavour_key, origin_key


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
    for flavour in flavours:
        one = items.copy_of(node, suffixed(node.name, flavour))
        one.stash[flavour_key] = flavour
        one.stash[origin_key] = node.nodeid
        # A method of a `unittest.TestCase` keeps its name, by which it is looked up.
        one.extra_keyword_matches.add(f"[{flavour}]")
        yield one


def suffixed(name: str, flavour: str) -> str:
    """
    Return *name* with *flavour* as its last or only parameter.
    """
    if name.endswith("]") and "[" in name:
        return f"{name[:-1]}-{flavour}]"
    return f"{name}[{flavour}]"
