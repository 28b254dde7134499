"""
Gives each isolated test directories of its own for files of fixed names.
"""

from __future__ import annotations

import dataclasses
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_nsisolate import Spec


def pytest_nsisolate_spec(spec: Spec | None) -> Spec | None:
    """
    Let *spec* have them, as ``tmpfs=`` in the marker would.
    """
    return spec and dataclasses.replace(
        spec, tmpfs=("/run", "/tmp", tempfile.gettempdir())
    )
