"""
Keywords of the marker combined: none cancels another.
"""

from __future__ import annotations

import pytest
from ways import RunPytest

#: Two sandboxes in turn, since the third test ends the first one.
TOGETHER = """
import os
import socket
import time
from pathlib import Path
import pytest

pytestmark = pytest.mark.isolated(
    scope="module", net=True, tmpfs=[FRESH], env={"WHO": "me"}, hostname="m"
)

@pytest.fixture(scope="module")
def server():
    inside = "WHO" in os.environ
    with socket.create_server(("127.0.0.1", 5432 if inside else 0)) as listening:
        yield listening

def test_first(server, isolation):
    (Path(FRESH) / "file").write_text("first")
    assert socket.gethostname() == "m"
    assert "net" in isolation.namespaces

def test_second(server):
    assert server.getsockname()[1] == 5432
    assert (Path(FRESH) / "file").read_text() == "first"
    assert os.environ["WHO"] == "me"

@pytest.mark.isolated(timeout=2)
def test_hangs(server):
    time.sleep(60)

def test_afresh(server, isolation):
    assert server.getsockname()[1] == 5432
    assert not list(Path(FRESH).iterdir())
    assert os.environ["WHO"] == "me"
    assert socket.gethostname() == "m"
"""


def test_shared_machine(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The shared sandbox has all that its keywords ask for, and so has its successor.
    """
    fresh = pytester.mkdir("fresh")
    pytester.makepyfile(test_it=TOGETHER.replace("FRESH", repr(str(fresh))))
    result = run_both_ways("test_it.py")

    result.assert_outcomes(passed=3, failed=1)
    assert "test_hangs did not finish: timed out after 2 s during call" in str(
        result.stdout
    )
    assert not list(fresh.iterdir())
