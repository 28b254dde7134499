"""
The kinds of user namespace that a sandbox can be in.
"""

from __future__ import annotations

import enum


class UserNamespace(enum.Enum):
    """
    The kind of user namespace that a sandbox is in.

    The launcher gets the value on its command line.
    """

    NONE = "none"
    """None of its own: the sandbox is in the supervisor's."""
    KEPT = "kept"
    """One of its own, in which all ids are the same as outside."""
    ROOT = "root"
    """One of its own, in which the caller is uid 0."""
