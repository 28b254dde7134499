"""
What is known of a reason for which a sandbox is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

#: What stands for the container where it cannot be told.
ANY = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """
    One reason, with its remedy.
    """

    name: str
    """By which `diagnosis` knows how to tell it."""
    title: str
    """For people."""
    told_by: str
    """The facts that are read."""
    why: str
    """The line ``why:``; facts stand in braces."""
    fix: str
    """The line ``fix:``."""
    fixes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The line ``fix:`` in a container of which the kind is known."""
    environments: str
    """Where people meet it."""
    source: str
    """The manual page, or else who says so."""
    example: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Facts, for the documentation."""
