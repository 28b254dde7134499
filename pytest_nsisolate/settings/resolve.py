"""
Whether a test is to be isolated, and how: markers, fixture, options and hooks together.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Sequence
from typing import TypeAlias

import pytest

from pytest_nsisolate.model.errors import Explanation, SpecError, safe_repr
from pytest_nsisolate.model.spec import KEYWORDS, Spec
from pytest_nsisolate.settings import options
from pytest_nsisolate.settings.marker import BadMarker, place_of, spec_of
from pytest_nsisolate.settings.options import Flavour, Options

#: Which flavour an item is, where its test is run in several.
flavour_key = pytest.StashKey[Flavour]()

#: What is to be done with a test: the spec of its sandbox; None: it runs on the host.
Resolved: TypeAlias = "Spec | BadMarker | None"

_resolved = pytest.StashKey[Resolved]()

_specs = pytest.StashKey["dict[str, Spec]"]()


def resolve_spec(item: pytest.Item) -> Resolved:
    """
    Return the spec of *item*, or None where it runs on the host.
    """
    if _resolved not in item.stash:
        found = _work_out(item)
        item.stash[_resolved] = (
            _shared(item, found) if isinstance(found, Spec) else found
        )
    return item.stash[_resolved]


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
        found = Spec()
    spec = None if found is None else _complete(found, chosen)
    altered = _alter(item, spec)
    return _complete(altered, chosen) if isinstance(altered, Spec) else altered


def _alter(item: pytest.Item, spec: Spec | None) -> Resolved:
    """
    Return what plugins make of *spec*, which their hook gets to see.
    """
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
        return _bad(item, f"it raised {what} in {place}", f"mend {place}")
    if not wrong:
        return altered
    return _bad(
        item,
        f"it returned {safe_repr(wrong[0])}, which is neither a Spec nor None",
        'return dataclasses.replace(spec, hostname="t1"), or None',
    )


def _merge(spec: Spec | None, results: Sequence[Spec]) -> Spec | None:
    """
    Return *spec* with all that *results* change in it, the first of which weighs most.

    Raises:
        SpecError: What they ask for does not go together.
    """
    if not results:
        return spec
    base = spec or Spec()
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
    Say whether *item* is the one that runs on the host, of the flavours of a test.
    """
    return item.stash.get(flavour_key, None) == "host"


def asks(item: pytest.Item) -> bool:
    """
    Say whether *item* asks, as it was collected, for a sandbox that can be.

    What a hook may answer is left out, and so is what is not known yet: for when all
    markers are there, there is `resolve_spec`.
    """
    chosen = item.config.stash[options.key]
    found = spec_of(item)
    if found is None:
        return chosen.every or _has_fixture(item)
    return isinstance(found, Spec)


def _complete(spec: Spec, chosen: Options) -> Spec:
    """
    Return *spec* with what the options say where it says nothing.
    """
    unsaid = [one.name for one in KEYWORDS if getattr(spec, one.name) is None]
    return dataclasses.replace(
        spec, **{name: getattr(chosen.defaults, name) for name in unsaid}
    )


def _shared(item: pytest.Item, spec: Spec) -> Spec:
    """
    Return the one of the specs like *spec* that the items of a session share.

    Two are alike where they read the same: 5 and 5.0 are equal, and do not.
    """
    return item.session.stash.setdefault(_specs, {}).setdefault(repr(spec), spec)


def _has_fixture(item: pytest.Item) -> bool:
    return "isolation" in getattr(item, "fixturenames", ())
