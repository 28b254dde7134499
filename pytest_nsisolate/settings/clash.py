"""
pytest-isolated, which owns a marker of the same name.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_nsisolate.model.errors import Explanation


def check(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """
    Refuse to start where both plugins would act on the same marker.

    pytest-isolated runs such a test in a plain subprocess and ignores ``hostname=``:
    isolation would be lost without a word.

    Raises:
        pytest.UsageError: It is loaded and *items* use the marker.
    """
    if not any(_is_theirs(plugin) for plugin in config.pluginmanager.get_plugins()):
        return
    for item in items:
        if item.get_closest_marker("isolated") is not None:
            raise pytest.UsageError(
                Explanation(
                    what="cannot start: pytest-isolated and pytest-nsisolate both own "
                    f"the marker isolated, which {item.nodeid} has",
                    why="pytest-isolated runs such a test without namespaces and "
                    "ignores hostname=",
                    fix="pytest -p no:isolated, or mark with @pytest.mark.nsisolated",
                )
            )


def _is_theirs(plugin: object) -> bool:
    name = getattr(plugin, "__name__", "")
    return isinstance(name, str) and name.partition(".")[0] == "pytest_isolated"
