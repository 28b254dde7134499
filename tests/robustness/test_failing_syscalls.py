"""
System calls of the setup that fail, one at a time: three lines, nothing left.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from injection import Injection
from ways import WAYS

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("call", ["memfd_create", "sendmsg", "socketpair"])
def test_first(tmp_path: Path, way: str, call: str) -> None:
    """
    The first of these calls fails in supervisor, launcher or init.
    """
    assert Injection(tmp_path, way).fail(call, 1) is None


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("call", ["pidfd_open", "setns"])
def test_each(tmp_path: Path, way: str, call: str) -> None:
    """
    These calls fail one after the other, before, in and after the fork of a guest.
    """
    injection = Injection(tmp_path, way)
    for when in range(2, 5):
        assert injection.fail(call, when) is None, when


@pytest.mark.parametrize("way", list(WAYS))
def test_killed(tmp_path: Path, way: str) -> None:
    """
    An init that is killed before it has answered is not waited for.
    """
    outcome = Injection(tmp_path, way).run(
        "-e", "trace=mount", "-e", "inject=mount:signal=KILL:when=2", seconds=20
    )
    assert outcome.problem() is None
    assert (
        "cannot isolate test_one: a sandbox's init failed: ESRCH\nwhy" in outcome.text
    )
