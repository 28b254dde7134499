"""
System calls of the setup that fail, one at a time.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from injection import Injection
from ways import WAYS

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("call", ["memfd_create", "sendmsg", "setpgid", "socketpair"])
def test_first(tmp_path: Path, way: str, call: str) -> None:
    """
    If the first such call fails in any process, three lines say so and nothing is left.
    """
    assert Injection(tmp_path, way).fail(call, 1) is None


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("call", ["pidfd_open", "setns"])
def test_each(tmp_path: Path, way: str, call: str) -> None:
    """
    If such a call fails before, in or after the fork of a guest, three lines say so.
    """
    injection = Injection(tmp_path, way)
    for when in range(2, 5):
        assert injection.fail(call, when) is None, when


@pytest.mark.parametrize("way", list(WAYS))
def test_killed(tmp_path: Path, way: str) -> None:
    """
    No process waits for an init that was killed before it answered.
    """
    # Less than the plugin waits for an answer.
    outcome = Injection(tmp_path, way).run(
        "-e", "trace=mount", "-e", "inject=mount:signal=KILL:when=2", seconds=28
    )
    assert outcome.problem() is None
    assert (
        "cannot isolate test_one: a sandbox's init failed: ESRCH\nwhy" in outcome.text
    )
