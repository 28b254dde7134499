"""
Each isolated test run in several flavours: on the host, and isolated.

Items are copied when they are collected, before anything else chooses among them. To
collect them twice would call the hooks of other plugins twice; to parametrise them is
for functions only.
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
    Return *collected* with each item that asks for isolation in all its flavours.
    """
    flavours = config.stash[options.key].flavours
    if not flavours:
        return collected
    return [one for node in collected for one in _in_flavours(node, flavours)]


def _in_flavours(
    node: pytest.Item | pytest.Collector, flavours: tuple[Flavour, ...]
) -> Iterator[pytest.Item | pytest.Collector]:
    # What is asked for by its id is collected once more, from what was kept.
    if not isinstance(node, pytest.Item) or flavour_key in node.stash or not asks(node):
        yield node
        return
    for flavour in flavours:
        one = items.copy_of(node, suffixed(node.name, flavour))
        one.stash[flavour_key] = flavour
        # A method of a `unittest.TestCase` is found by its name, which it keeps.
        one.extra_keyword_matches.add(f"[{flavour}]")
        yield one


def suffixed(name: str, flavour: str) -> str:
    """
    Return *name* with *flavour* as its last, or only, parameter.
    """
    if name.endswith("]") and "[" in name:
        return f"{name[:-1]}-{flavour}]"
    return f"{name}[{flavour}]"
