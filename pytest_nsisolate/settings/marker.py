"""
The marker `isolated`, and the spec that the markers of a test add up to.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from pytest_nsisolate.model.errors import Explanation, SpecError
from pytest_nsisolate.model.keywords import misuse
from pytest_nsisolate.model.spec import KEYWORDS, Spec

#: The marker, and its exact synonym for use where pytest-isolated owns the first.
NAMES = ("isolated", "nsisolated")

#: Other forms of these words, whose ends are more than one slip away.
_FORMS = "(ns_?)?isolat(e|es|ing|ion|or)"

#: The keywords that the marker takes, by name only.
_KEYWORDS = [one.name for one in KEYWORDS]


class BadMarker(NamedTuple):
    """
    A marker, or a spec altered by a hook, that cannot be carried out.
    """

    explanation: Explanation


class _Sum(NamedTuple):
    """
    What valid markers of a test add up to.
    """

    marks: list[pytest.Mark]
    said: str
    """Their keywords, which a plugin may change."""
    spec: Spec

    def is_of(self, marks: list[pytest.Mark]) -> bool:
        """
        Say whether *marks* are these, and say the same.
        """
        is_same = [*map(id, marks)] == [*map(id, self.marks)]
        return is_same and _said_by(marks) == self.said


def _said_by(marks: Iterable[pytest.Mark]) -> str:
    return repr([mark.kwargs for mark in marks])


#: The sum for the test that `spec_of` was called for last.
_latest = pytest.StashKey[_Sum]()


def spec_of(item: pytest.Item) -> Spec | BadMarker | None:
    """
    Return the spec of the markers of *item*; for each keyword the closest one wins.

    Returns:
        None if there is no marker.
    """
    marks = _closest_first(item)
    for mark in marks:
        # A mistyped marker must not leave its test on the host, where it passes.
        meant = _meant_by(mark.name)
        if meant is not None and mark.name not in _registered(item.config):
            return BadMarker(_explain_near(item, mark, meant))
    own = [mark for mark in marks if mark.name in NAMES]
    if not own:
        return None
    # Tests in a row mostly have their markers in common.
    latest = item.session.stash.get(_latest, None)
    if latest is not None and latest.is_of(own):
        return latest.spec
    spec = _sum_of(item, own)
    if isinstance(spec, Spec):
        item.session.stash[_latest] = _Sum(own, _said_by(own), spec)
    return spec


def _sum_of(item: pytest.Item, marks: Iterable[pytest.Mark]) -> Spec | BadMarker:
    """
    Return the spec that *marks* of *item*, the closest first, add up to.
    """
    keywords: dict[str, object] = {}
    for mark in marks:
        try:
            call = f"@pytest.mark.{mark.name}"
            wrong = misuse(mark.name, call, _KEYWORDS, mark.args, mark.kwargs)
            if wrong is not None:
                raise wrong
            # Each marker is checked alone: a bad value is an error even if a closer
            # marker overrides it.
            Spec(**mark.kwargs)
        except SpecError as error:
            return BadMarker(explain(item, mark, error.why, error.fix))
        keywords = {**mark.kwargs, **keywords}
    return Spec(**keywords)  # type: ignore[arg-type]


def _marks(item: pytest.Item) -> Iterator[pytest.Mark]:
    return (mark for mark in _closest_first(item) if mark.name in NAMES)


def _closest_first(item: pytest.Item) -> list[pytest.Mark]:
    # pytest lists the marks of a parameter after those of its function.
    callspec = getattr(item, "callspec", None)
    closest = list(callspec.marks) if callspec is not None else []
    seen = [id(mark) for mark in closest]
    return closest + [mark for mark in item.iter_markers() if id(mark) not in seen]


@functools.cache
def _meant_by(name: str) -> str | None:
    """
    Return which of our markers *name* is close to; None if it is close to neither.
    """
    word = name.lower()
    if name in NAMES:
        return None
    if "isolat" in word and re.fullmatch(_FORMS, word):
        return NAMES[word.startswith("ns")]
    return next((one for one in NAMES if _is_one_slip(word, one)), None)


def _is_one_slip(word: str, meant: str) -> bool:
    """
    Say whether *word* is *meant* but for one letter or the order of two.
    """
    for _ in range(2):
        pairs = zip(word, meant, strict=False)
        same = len([*itertools.takewhile(lambda two: two[0] == two[1], pairs)])
        word, meant = word[same:][::-1], meant[same:][::-1]
    swapped = len(word) == 2 and word == meant[::-1]  # noqa: PLR2004 - two letters
    return swapped or max(len(word), len(meant)) <= 1


def _registered(config: pytest.Config) -> set[str]:
    # pytest reads a name from such a line in the same way.
    lines = config.getini("markers")
    return {re.split("[:(]", line, maxsplit=1)[0].strip() for line in lines}


def _explain_near(item: pytest.Item, mark: pytest.Mark, meant: str) -> Explanation:
    return Explanation(
        what=f"{place_of(item)}: cannot isolate {item.name}: "
        f"unknown marker @pytest.mark.{mark.name}",
        why=f"no plugin and no ini option registers the marker {mark.name}, and its "
        f"name is close to {meant}, which isolates a test",
        fix=f"write @pytest.mark.{meant}, or add the line {mark.name} to the ini "
        "option markers",
    )


def marks_with(keyword: str, item: pytest.Item) -> list[pytest.Mark]:
    """
    Return the closest marker of *item* that gives *keyword*, and those behind it.
    """
    return [*itertools.dropwhile(lambda mark: keyword not in mark.kwargs, _marks(item))]


def place_of(item: pytest.Item) -> str:
    """
    Return where *item* is defined, as ``file:line``.
    """
    path, line, _ = item.location
    return path if line is None else f"{path}:{line + 1}"


def explain(item: pytest.Item, mark: pytest.Mark, why: str, fix: str) -> Explanation:
    """
    Return the three lines on *mark*, a bad marker of *item*.
    """
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
