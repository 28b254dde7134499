"""
Django: a live server in the guest of each test that uses one.

The fixture `live_server` and the class `LiveServerTestCase` start a thread outside. It
would see neither the settings of the test nor its in-memory database, and pytest-django
would not let it use any other. So the guest starts its own server on its own port.

This module carries nothing over: it is an example of `pytest_nsisolate_enter` alone.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest


class Integration:
    """
    Remembers the live server, and starts another one in each guest.
    """

    def __init__(self) -> None:
        self._live_server: pytest.FixtureDef[Any] | None = None

    # No wrapper: it would be in the traceback of each fixture that fails.
    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        if fixturedef.argname == "live_server":
            self._live_server = fixturedef

    @pytest.hookimpl
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        if "django.test.testcases" not in sys.modules:
            return
        if "live_server" in getattr(item, "fixturenames", ()):
            result = getattr(self._live_server, "cached_result", None)
            _start_anew(result[0] if result else None, "thread")
        _start_anew(getattr(item, "cls", None), "server_thread")


def _start_anew(owner: Any, name: str) -> None:
    """
    Replace the thread that *owner* has under *name* with one that runs here.
    """
    there: Any = getattr(owner, name, None)
    if there is None:
        return
    # It has had these three attributes since 1.11.
    here = type(there)(
        there.host,
        there.static_handler,
        connections_override=there.connections_override,
    )
    here.daemon = True
    setattr(owner, name, here)
    here.start()
    here.is_ready.wait()
    if here.error:
        raise here.error
