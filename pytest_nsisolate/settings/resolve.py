"""
The resolution of a test's markers, fixture, options and hooks into one spec.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import pytest

from pytest_nsisolate.model.errors import Explanation, SpecError, safe_repr
from pytest_nsisolate.model.spec import KEYWORDS, Spec
from pytest_nsisolate.settings import options
from pytest_nsisolate.settings.marker import (
    BadMarker,
    explain,
    marks_with,
    place_of,
    spec_of,
)
from pytest_nsisolate.settings.options import Flavour, Options

#: The flavour of an item whose test runs in several flavours.
flavour_key = pytest.StashKey[Flavour]()

#: The id that such an item would have without its flavour.
origin_key = pytest.StashKey[str]()

#: The spec of a test, or why there can be none; None: the test runs on the host.
Resolved: TypeAlias = "Spec | BadMarker | None"

_resolved = pytest.StashKey[Resolved]()

#: The completed specs of a session, by the `repr` of what was asked for.
_completed = pytest.StashKey["dict[str, Spec]"]()

#: What a test asks for that has no marker of its own.
_PLAIN = Spec()


def resolve_spec(item: pytest.Item) -> Resolved:
    """
    Return the spec of *item*, or None if it runs on the host.
    """
    if _resolved not in item.stash:
        item.stash[_resolved] = _work_out(item)
    return item.stash[_resolved]


def lacks_sandbox(item: pytest.Item) -> bool:
    """
    Say whether *item* must not run on the host.

    Something may have marked it after `resolve_spec` was asked.
    """
    if item.config.stash[options.key].off or is_host_flavour(item):
        return False
    return resolve_spec(item) is not None or spec_of(item) is not None


def keep_spec(item: pytest.Item, spec: Resolved) -> None:
    """
    In a guest: make *spec*, which was resolved outside, that of *item*.
    """
    item.stash[_resolved] = spec


def _work_out(item: pytest.Item) -> Resolved:
    chosen = item.config.stash[options.key]
    if is_host_flavour(item):
        return None
    found = spec_of(item)
    if isinstance(found, BadMarker):
        return found
    if chosen.off:
        return None
    if found is None and (chosen.every or _has_fixture(item)):
        found = _PLAIN
    spec = None if found is None else _complete(item, found, chosen)
    altered = _alter(item, spec)
    if isinstance(altered, Spec):
        if altered is not spec:
            altered = _complete(item, altered, chosen)
        if item.stash.get(flavour_key, None) == "alone":
            altered = _complete(item, dataclasses.replace(altered, alone=True), chosen)
        return _check_needs(item, altered, chosen)
    return altered


class _Need(NamedTuple):
    """
    A keyword that says something only together with another one.
    """

    keyword: str
    is_met: Callable[[Spec], bool]
    """Says whether a whole spec has what it needs."""
    gives: Callable[[Spec], bool | None]
    """Says whether a marker gives that; None: it leaves that open."""
    option_gives: Callable[[Options], bool]
    """Says whether an option gives that, even if another overrides it."""
    why: str
    fix: str


def _shares(spec: Spec) -> bool | None:
    return None if spec.scope is None else spec.scope != "function"


def _copies(spec: Spec) -> bool | None:
    if spec.overlay is None:
        return spec.watches_files() or None
    return bool(spec.overlay)


_NEEDS = (
    _Need(
        keyword="fork",
        is_met=lambda spec: spec.scope != "function",
        gives=_shares,
        option_gives=lambda chosen: chosen.shares,
        why="fork=True is for tests that share a sandbox, and this test has its own: "
        'scope is "function"',
        fix='write scope="module", or leave fork= out',
    ),
    _Need(
        keyword="overlay_size",
        is_met=lambda spec: bool(spec.overlay),
        gives=_copies,
        option_gives=lambda chosen: chosen.copies,
        why="overlay_size= is for the directories of overlay=, and this test has none",
        fix='write overlay=["/etc"], or leave overlay_size= out',
    ),
)


def _check_needs(item: pytest.Item, spec: Spec, chosen: Options) -> Spec | BadMarker:
    """
    Return *spec*, or an error if one of its keywords was given without what it needs.

    If it was given with that, a closer marker, the command line or a plugin may still
    take that away.
    """
    for need in _NEEDS:
        if not getattr(spec, need.keyword) or need.is_met(spec):
            continue
        marks = marks_with(need.keyword, item)
        given = (need.gives(Spec(**mark.kwargs)) for mark in marks)
        gives = next((one for one in given if one is not None), None)
        if gives or (gives is None and need.option_gives(chosen)):
            continue
        if not marks:
            return _bad(item, need.why, need.fix)
        return BadMarker(explain(item, marks[0], need.why, need.fix))
    return spec


def _alter(item: pytest.Item, spec: Spec | None) -> Resolved:
    """
    Pass *spec* to the plugins' hook, and return the spec that they want instead.
    """
    if not item.config.hook.pytest_nsisolate_spec.get_hookimpls():
        # As in most sessions. To find those for a directory takes much longer.
        return spec
    try:
        found: object = item.ihook.pytest_nsisolate_spec(item=item, spec=spec)
        results = found if isinstance(found, list) else [found]
        wrong = [one for one in results if not isinstance(one, Spec | None)]
        altered = _merge(spec, [one for one in results if isinstance(one, Spec)])
    except SpecError as error:
        return _bad(item, error.why, error.fix)
    except (KeyboardInterrupt, pytest.exit.Exception):
        raise
    except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - whatever a plugin raises
        frame = traceback.extract_tb(error.__traceback__)[-1]
        what = traceback.format_exception_only(error)[-1].strip()
        place = f"{frame.filename}:{frame.lineno}"
        return _bad(
            item, f"it raised {what} in {place}", f"correct the code at {place}"
        )
    if not wrong:
        return altered
    return _bad(
        item,
        f"it returned {safe_repr(wrong[0])}, which is neither a Spec nor None",
        'return dataclasses.replace(spec, hostname="t1"), or None',
    )


def _merge(spec: Spec | None, results: Sequence[Spec]) -> Spec | None:
    """
    Return *spec* with all changes that *results* make to it; the first one wins.

    Raises:
        SpecError: The changes do not go together.
    """
    if not results:
        return spec
    base = spec or _PLAIN
    changes = {
        field.name: getattr(one, field.name)
        for one in reversed(results)
        for field in dataclasses.fields(Spec)
        if getattr(one, field.name) != getattr(base, field.name)
    }
    return dataclasses.replace(base, **changes)


def _bad(item: pytest.Item, why: str, fix: str) -> BadMarker:
    what = f"{place_of(item)}: cannot isolate {item.name}: bad pytest_nsisolate_spec()"
    return BadMarker(Explanation(what=what, why=why, fix=fix))


def is_host_flavour(item: pytest.Item) -> bool:
    """
    Return whether *item* is the flavour of a test that runs on the host.
    """
    return item.stash.get(flavour_key, None) == "host"


def asks(item: pytest.Item) -> bool:
    """
    Return whether *item* asks for a valid sandbox at the time of its collection.

    This calls no hook, and plugins may still add markers: `resolve_spec` gives the
    final answer.
    """
    chosen = item.config.stash[options.key]
    found = spec_of(item)
    if found is None:
        return chosen.every or _has_fixture(item)
    return isinstance(found, Spec)


def refuse_called_early(session: pytest.Session) -> None:
    """
    Refuse to start if pytest-asyncio-cooperative would call a test to be isolated.

    It calls those with its marker itself, and pytest only to report them.

    Raises:
        pytest.UsageError: It would.
    """
    plugins = session.config.pluginmanager.get_plugins()
    names = {str(getattr(one, "__name__", "")).partition(".")[0] for one in plugins}
    if session.config.stash[options.key].off or _COOPERATIVE not in names:
        return
    for item in session.items:
        if item.get_closest_marker("asyncio_cooperative") and asks(item):
            raise pytest.UsageError(
                Explanation(
                    what="cannot start: pytest-asyncio-cooperative would run "
                    f"{item.nodeid} on the host",
                    why="it calls each test with the marker asyncio_cooperative "
                    "itself, and pytest only to report it",
                    fix="pytest --no-nsisolate, or leave one of the two markers out",
                )
            )


#: The package of that plugin.
_COOPERATIVE = "pytest_asyncio_cooperative"


def _complete(item: pytest.Item, spec: Spec, chosen: Options) -> Spec:
    """
    Return *spec* with the values of the options for keywords that it does not give.

    Tests that ask for the same share one object. It is not enough that their specs are
    equal: 5 and 5.0 are, and do not read the same.
    """
    known = item.session.stash.setdefault(_completed, {})
    text = repr(spec)
    if text not in known:
        unsaid = [one.name for one in KEYWORDS if getattr(spec, one.name) is None]
        defaults = {name: getattr(chosen.defaults, name) for name in unsaid}
        rootdir = str(item.config.rootpath)
        whole = dataclasses.replace(spec, **defaults)
        if whole.watches_files() and whole.overlay is None:
            whole = dataclasses.replace(whole, overlay=True)
        known[text] = whole.below(rootdir)
    return known[text]


def _has_fixture(item: pytest.Item) -> bool:
    return "isolation" in getattr(item, "fixturenames", ())
