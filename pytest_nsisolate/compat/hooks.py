"""
Hooks that, for a while, only some of the plugins implement.

A comment at each use says since which version pytest has had that private part in this
form, and which public API could replace it ("Public would be").
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pluggy
import pytest


def implementations(config: pytest.Config, name: str) -> list[pluggy.HookImpl]:
    """
    Return the implementations of the hook *name*.
    """
    hook: Any = getattr(config.pluginmanager.hook, name)
    found: list[pluggy.HookImpl] = hook.get_hookimpls()
    return found


def caller_without(
    config: pytest.Config, name: str, leave_out: Callable[[pluggy.HookImpl], bool]
) -> pluggy.HookCaller:
    """
    Return a caller of the hook *name* that leaves some implementations out.
    """
    out = [impl.plugin for impl in implementations(config, name) if leave_out(impl)]
    return config.pluginmanager.subset_hook_caller(name, out)


@contextlib.contextmanager
def without(
    config: pytest.Config, name: str, leave_out: Callable[[pluggy.HookImpl], bool]
) -> Iterator[None]:
    """
    Leave some implementations of the hook *name* out.
    """
    # pytest 8 keeps a copy of each caller in a relay of its own. Public would be: a
    # subset for a context.
    relays = [config.pluginmanager.hook, config.hook]
    before = [getattr(relay, name) for relay in relays]
    subset = caller_without(config, name, leave_out)
    for relay in relays:
        setattr(relay, name, subset)
    try:
        yield
    finally:
        for relay, caller in zip(relays, before, strict=True):
            setattr(relay, name, caller)
