"""
Does one test see the file that another has written to /tmp?
"""

from pathlib import Path

_FILE = Path("/tmp/compare-changed")


def test_1_changes() -> None:
    """
    Write it.
    """
    _FILE.write_text("changed")


def test_2_looks() -> None:
    """
    Look for it.
    """
    assert not _FILE.exists(), "SHARED"
