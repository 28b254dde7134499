"""
Slow links, on a kernel that has netem.
"""

from __future__ import annotations

from pathlib import Path

from pytest_nsisolate.runner.sandbox_factory import SandboxFactory


def test_netem(sandbox_factory: SandboxFactory) -> None:
    """
    A link can be made slow, by netem.
    """
    one, two = (sandbox_factory(net=True) for _ in range(2))
    sandbox_factory.link(one, two).shape(delay=0.1, loss=0.1)
    assert Path("/sys/module/sch_netem").exists()
