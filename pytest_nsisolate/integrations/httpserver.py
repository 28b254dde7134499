"""
pytest-httpserver: a server in the guest of each test that uses a borrowed one.

The fixtures of the plugin start one server for the session, outside. Its thread would
see no handler that a test registers, and answer 500. So the guest starts the server
again: on a port of its own, or on the same one if the test has a network of its own.

This module carries nothing over: it is an example of `pytest_nsisolate_enter` alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_nsisolate.guest import absent
from pytest_nsisolate.model.spec import Spec


class Integration:
    """
    Looks at all borrowed fixtures, for the value of any can be a server.
    """

    @pytest.hookimpl
    def pytest_nsisolate_enter(
        self,
        item: pytest.Item,
        spec: Spec,
        borrowed: Sequence[pytest.FixtureDef[object]],
    ) -> None:
        module: Any = sys.modules["pytest_httpserver.httpserver"]
        names = getattr(item, "fixturenames", ())
        is_shared = spec.scope not in {None, "function"}
        for one in borrowed:
            value: Any = one.cached_result[0] if one.cached_result else None
            if (
                # The plugin has had this class since 1.0.
                isinstance(value, module.HTTPServerBase)
                and value.is_running()
                and (one.argname in names or is_shared)
                # Two fixtures may have the same one.
                and value.server_thread in absent.left_behind()
            ):
                _start_anew(value, keeps_port=bool(spec.net))


def _start_anew(server: Any, *, keeps_port: bool) -> None:
    """
    Start *server* here, where its thread does not exist.
    """
    # Only this copy of the descriptor. server_close() would wait for threads.
    server.server.socket.close()
    server.server = server.server_thread = None
    if not keeps_port:
        server.port = 0
    server.start()
