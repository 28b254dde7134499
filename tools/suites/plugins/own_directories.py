"""
A plugin that gives each isolated test its own directories for files of fixed names.
"""

from __future__ import annotations

import dataclasses
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_nsisolate import Spec


def pytest_nsisolate_spec(spec: Spec | None) -> Spec | None:
    """
    Add these directories to *spec*, as ``tmpfs=`` in the marker would.
    """
    return spec and dataclasses.replace(
        spec, tmpfs=("/run", "/tmp", tempfile.gettempdir())
    )
