"""
Tests of spoold, each with a /run of its own, in which any user may write.
"""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import spoold

pytestmark = pytest.mark.isolated(tmpfs=["/run"], leaks="fail")


def run(command: str) -> str:
    """
    Return what spoold prints.
    """
    return subprocess.run(
        [sys.executable, spoold.__file__, command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.fixture
def daemon() -> Iterator[None]:
    """
    Start the daemon, and stop it at the end.
    """
    assert run("start") == "started"
    yield
    assert run("stop") == "stopped"


def test_is_running(daemon: None) -> None:
    """
    The daemon is running as the PID file says.
    """
    assert run("status") == "running"


def test_second_one_is_refused(daemon: None) -> None:
    """
    The daemon is started only once.
    """
    assert run("start") == "/run/spoold.pid exists"


def test_is_not_running() -> None:
    """
    No daemon is running, whatever runs on the machine.
    """
    assert run("status") == "not running"


def test_crashed_daemon_is_noticed() -> None:
    """
    The PID file of a daemon that is gone deceives nobody.
    """
    spoold.PID_FILE.write_text("999")

    assert run("status") == "not running, but /run/spoold.pid exists"
