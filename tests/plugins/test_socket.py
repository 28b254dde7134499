"""
Restrictions of pytest-socket.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

pytestmark = pytest.mark.about("pytest-socket")

_TESTS = """
    import socket
    import pytest
    import pytest_socket

    def test_socket():
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()

    def test_unix():
        for one in socket.socketpair(): one.close()

    def test_enabled_by_fixture(socket_enabled):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()

    @pytest.mark.enable_socket
    def test_enabled_by_mark():
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()

    def test_after_enabled():
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()

    def test_disabled_by_fixture(socket_disabled):
        with pytest.raises(pytest_socket.SocketBlockedError):
            socket.socket(socket.AF_INET)

    @pytest.mark.disable_socket
    def test_disabled_by_mark():
        with pytest.raises(pytest_socket.SocketBlockedError):
            socket.socket(socket.AF_INET)

    def connect():
        with socket.socket() as one, pytest.raises(ConnectionRefusedError):
            one.connect(("127.0.0.1", 1))

    @pytest.mark.allow_hosts(["127.0.0.1"])
    def test_allowed_host():
        connect()

    @pytest.mark.allow_hosts("10.0.0.1")
    def test_other_host():
        connect()

    def test_host():
        connect()
"""


@pytest.mark.parametrize(
    ("arguments", "failed"),
    [
        ([], 1),
        (["--disable-socket"], 5),
        (["--disable-socket", "--allow-unix-socket"], 4),
        (["--allow-hosts=10.0.0.1"], 2),
    ],
)
def test_options(
    pytester: pytest.Pytester,
    with_plugins: WithPlugins,
    arguments: list[str],
    failed: int,
) -> None:
    """
    Options, marks and fixtures allow and forbid the same as in a plain test.
    """
    pytester.makepyfile(_TESTS)
    run = with_plugins("pytest_socket")(*arguments)
    assert run.outcomes.count(("call", "failed")) == failed
