"""
A plugin that gives each isolated test a network of its own.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_nsisolate import Spec


def pytest_nsisolate_spec(spec: Spec | None) -> Spec | None:
    """
    Add a network to *spec*, as ``net=True`` in the marker would.
    """
    return spec and dataclasses.replace(spec, net=True)
