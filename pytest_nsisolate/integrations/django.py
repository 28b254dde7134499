"""
Django: the live server of a test runs in its guest.

The fixture `live_server` and the class `LiveServerTestCase` start a thread outside. It
would see neither the settings of the test nor its in-memory database, and pytest-django
would deny it any other. So the guest starts a server of its own, on a port of its own.

This carries nothing over; it shows the use of `pytest_nsisolate_enter` alone.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest


class Integration:
    """
    Knows the live server, if there is one.
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
    Put a thread that runs here in the place of the one that *owner* has under *name*.
    """
    there: Any = getattr(owner, name, None)
    if there is None:
        return
    # These three attributes since 1.11.
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
