"""
The environment variables of a test, set in its guest.
"""

from __future__ import annotations

import contextlib
import os

import pytest

from pytest_nsisolate import linux
from pytest_nsisolate.spec import Spec
from pytest_nsisolate.wish import wish_of

#: What pytest itself sets in its own process, and a test may go by: these stay.
KEPT = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION")


def set_for(item: pytest.Item) -> None:
    """
    Have this process, and what it starts, see the environment that *item* asks for.
    """
    spec = wish_of(item)
    if isinstance(spec, Spec):
        set_as(spec)


def set_as(spec: Spec) -> None:
    """
    Have this process, and what it starts, see the environment that *spec* asks for.
    """
    if spec.clear_env:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        for name in list(os.environ):
            # One without a name cannot be taken out. Source: unsetenv(3), EINVAL.
            with contextlib.suppress(OSError):
                del os.environ[name]
        linux.clearenv()
        os.environ.update(kept)
    for name, value in dict(spec.env or ()).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
