"""
The marker `isolated`, and the spec that the markers of a test add up to.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Iterator

import pytest

from pytest_nsisolate.model.errors import Explanation, SpecError, safe_repr
from pytest_nsisolate.model.keywords import describe
from pytest_nsisolate.model.spec import KEYWORDS, Spec

#: The marker, and its exact synonym for use where pytest-isolated owns the first.
NAMES = ("isolated", "nsisolated")


def isolated(**_keywords: object) -> None:
    """
    Run the test in its own IPC, UTS and PID namespaces.

    The signature is the grammar of the marker, whose arguments are bound to it.

    .. versionadded:: 0.1.0
    """


describe(isolated, KEYWORDS)


@dataclasses.dataclass(frozen=True, slots=True)
class BadMarker:
    """
    A marker, or a spec altered by a hook, that cannot be carried out.
    """

    explanation: Explanation


def spec_of(item: pytest.Item) -> Spec | BadMarker | None:
    """
    Return the spec of the markers of *item*; for each keyword the closest one wins.

    Returns:
        None if there is no marker.
    """
    keywords: dict[str, object] = {}
    marked = False
    for mark in _marks(item):
        marked = True
        try:
            inspect.signature(isolated).bind(*mark.args, **mark.kwargs)
            # Each marker is checked alone: a bad value is an error even if a closer
            # marker overrides it.
            Spec(**mark.kwargs)
        except SpecError as error:
            return BadMarker(_explain(item, mark, error.why, error.fix))
        except TypeError as error:
            return BadMarker(_explain_grammar(item, mark, error))
        keywords = {**mark.kwargs, **keywords}
    return Spec(**keywords) if marked else None  # type: ignore[arg-type]


def _marks(item: pytest.Item) -> Iterator[pytest.Mark]:
    # pytest lists the marks of a parameter after those of its function.
    callspec = getattr(item, "callspec", None)
    closest = list(callspec.marks) if callspec is not None else []
    seen = [id(mark) for mark in closest]
    closest += [mark for mark in item.iter_markers() if id(mark) not in seen]
    return (mark for mark in closest if mark.name in NAMES)


def _explain_grammar(
    item: pytest.Item, mark: pytest.Mark, error: TypeError
) -> Explanation:
    known = list(inspect.signature(isolated).parameters)
    grammar = f"{mark.name} takes the keywords {', '.join(known)}"
    if mark.args:
        given = ", ".join(safe_repr(value) for value in mark.args)
        keyword = f"{known[0]}={given}" if len(mark.args) == 1 else f"{known[0]}=…"
        return _explain(
            item,
            mark,
            f"{grammar} and no positional arguments, but got {given}",
            f"write @pytest.mark.{mark.name}({keyword})",
        )
    unknown = [name for name in mark.kwargs if name not in known]
    fixes = [
        f"write {near[0]}= instead of {name}="
        if (near := difflib.get_close_matches(name, known, n=1))
        else f"leave {name}= out"
        for name in unknown
    ]
    return _explain(
        item,
        mark,
        f"{grammar}, not {', '.join(unknown) or error}",
        "; ".join(fixes),
    )


def place_of(item: pytest.Item) -> str:
    """
    Return where *item* is defined, as ``file:line``.
    """
    path, line, _ = item.location
    return path if line is None else f"{path}:{line + 1}"


def _explain(item: pytest.Item, mark: pytest.Mark, why: str, fix: str) -> Explanation:
    return Explanation(
        what=f"{place_of(item)}: cannot isolate {item.name}: "
        f"bad marker @pytest.mark.{mark.name}",
        why=why,
        fix=fix,
    )


def check(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """
    Refuse to start if pytest-isolated would act on the same marker.

    It runs such a test in a plain subprocess and ignores ``hostname=``: the test would
    silently lose its isolation.

    Raises:
        pytest.UsageError: pytest-isolated is loaded and *items* use the marker.
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
