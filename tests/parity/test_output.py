"""
Printed and logged output, with and without isolation.
"""

from __future__ import annotations

import pytest
from sources import OUTPUT
from twins import Twins


@pytest.mark.parametrize("capture", ["fd", "sys"])
def test_captured_output(pytester: pytest.Pytester, twins: Twins, capture: str) -> None:
    """
    What a test prints and logs is captured by phase and shown as in a plain run.
    """
    pytester.makepyfile(OUTPUT)
    # Apart, since output that is not captured goes to the descriptors of this process.
    run = twins(f"--capture={capture}", "-rA", "--disable-warnings", apart=True)
    assert "call by print" in run.stdout
    assert ("wide setup by write" in run.reports[0]["stdout"]) == (capture == "fd")


@pytest.mark.parametrize("capture", ["no", "tee-sys"])
def test_output_that_is_not_held_back(
    pytester: pytest.Pytester,
    twins: Twins,
    capture: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Output that is not captured comes out once and in order.
    """
    # Otherwise Python's buffers are flushed at each fork, which changes the order.
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    pytester.makepyfile(OUTPUT)
    twins(f"--capture={capture}", "-rA", "--disable-warnings", apart=True)


@pytest.mark.parametrize("shown", ["no", "stdout", "stderr", "log", "all"])
def test_show_capture(pytester: pytest.Pytester, twins: Twins, shown: str) -> None:
    """
    Only the sections that ``--show-capture`` asks for are shown.
    """
    pytester.makepyfile(OUTPUT)
    twins(f"--show-capture={shown}", "--log-level=DEBUG", "--disable-warnings")


def test_live_log(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Live logs are shown as in a plain run.
    """
    pytester.makepyfile(OUTPUT)
    twins(
        "--log-cli-level=INFO",
        "--log-cli-format=%(levelname)s %(message)s",
        "--disable-warnings",
        apart=True,
    )
