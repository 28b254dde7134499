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
        self._live_server: Any = None

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Any:
        value = yield
        if fixturedef.argname == "live_server" and hasattr(value, "thread"):
            self._live_server = value
        return value

    @pytest.hookimpl
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        if "django.test.testcases" not in sys.modules:
            return
        if "live_server" in getattr(item, "fixturenames", ()):
            _start_anew(self._live_server, "thread")
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
