"""
Whether a test is to be isolated, and how: markers, fixture and options together.
"""

from __future__ import annotations

import dataclasses

import pytest

from pytest_nsisolate import options
from pytest_nsisolate.marker import BadMarker, spec_of
from pytest_nsisolate.options import Options
from pytest_nsisolate.spec import Spec

_wish = pytest.StashKey["Spec | BadMarker | None"]()


def wish_of(item: pytest.Item) -> Spec | BadMarker | None:
    """
    Return the spec of *item*, or None where it runs on the host.
    """
    if _wish not in item.stash:
        item.stash[_wish] = _work_out(item)
    return item.stash[_wish]


def _work_out(item: pytest.Item) -> Spec | BadMarker | None:
    chosen = item.config.stash[options.key]
    found = spec_of(item)
    if isinstance(found, BadMarker):
        return found
    if chosen.off:
        return None
    if found is None and (chosen.every or _has_fixture(item)):
        found = Spec()
    return None if found is None else _complete(found, chosen)


def _complete(spec: Spec, chosen: Options) -> Spec:
    """
    Return *spec* with what the options say where it says nothing.
    """
    return dataclasses.replace(
        spec,
        timeout=chosen.timeout if spec.timeout is None else spec.timeout,
        leaks=spec.leaks or chosen.leaks,
    )


def _has_fixture(item: pytest.Item) -> bool:
    return "isolation" in getattr(item, "fixturenames", ())
