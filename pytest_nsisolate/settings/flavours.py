"""
Flavours: copies of each isolated test, one to run on the host and one isolated.

Items are copied when they are collected, before anything else selects among them.
Collecting them twice would call the hooks of other plugins twice, and only functions
can be parametrised.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_nsisolate.compat import items
from pytest_nsisolate.settings import options
from pytest_nsisolate.settings.options import Flavour
from pytest_nsisolate.settings.resolve import asks, flavour_key


def multiply(
    config: pytest.Config, collected: list[pytest.Item | pytest.Collector]
) -> list[pytest.Item | pytest.Collector]:
    """
    Replace each item in *collected* that asks for isolation with all its flavours.
    """
    flavours = config.stash[options.key].flavours
    if not flavours:
        return collected
    return [one for node in collected for one in _in_flavours(node, flavours)]


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
