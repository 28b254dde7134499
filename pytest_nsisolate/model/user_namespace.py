"""
The user namespace of a sandbox: none, or one of two kinds.

Imported by the launcher, where `enum` is in memory already: `signal` imports it.
"""

from __future__ import annotations

import enum


class UserNamespace(enum.Enum):
    """
    The kind of user namespace that a sandbox is in.

    A value is what the launcher is given on its command line.
    """

    NONE = "none"
    """That of the supervisor: the sandbox has none of its own."""
    KEPT = "kept"
    """One of its own, in which every id is what it is outside."""
    ROOT = "root"
    """One of its own, in which the caller is uid 0."""
