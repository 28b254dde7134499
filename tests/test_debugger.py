"""
pdb on a real terminal.
"""

from __future__ import annotations

import sys

import pexpect
import pytest

TESTS = """
import pytest

@pytest.mark.isolated
def test_stops():
    secret = 41
    breakpoint()
    assert secret == 41

@pytest.mark.isolated
def test_fails():
    secret = 41
    assert secret == 1

@pytest.mark.isolated
def test_passes():
    secret = 41
"""


@pytest.mark.parametrize(
    ("options", "steps", "status"),
    [
        (["-k", "stops or passes"], [], 0),
        (["--pdb", "-k", "fails or passes"], [], 1),
        (["--trace", "-k", "passes"], ["next"], 0),
    ],
)
def test_debugger(
    pytester: pytest.Pytester, options: list[str], steps: list[str], status: int
) -> None:
    """
    The prompt is inside the guest, reads from the terminal and gives it back.
    """
    pytester.makepyfile(TESTS)
    command = ["-m", "pytest", "-p", "no:cacheprovider", *options]
    with pexpect.spawn(
        sys.executable, command, cwd=str(pytester.path), timeout=30, encoding="utf-8"
    ) as terminal:
        terminal.expect(r"\(Pdb\) ")
        for line in [*steps, "p secret + 100", "continue"]:
            terminal.sendline(line)
            if line.startswith("p "):
                terminal.expect("141")
            if line != "continue":
                terminal.expect(r"\(Pdb\) ")
        terminal.expect(pexpect.EOF)
        terminal.close()

        assert status == terminal.exitstatus
