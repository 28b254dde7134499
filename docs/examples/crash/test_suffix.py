"""
Tests of suffix, one of which crashes.
"""

import pytest
from suffix import suffix_of

pytestmark = pytest.mark.isolated


def test_suffix() -> None:
    """
    A name with a dot has a suffix.
    """
    assert suffix_of(b"picture.png") == b".png"


@pytest.mark.xfail(reason="suffix_of() reads from address 0")
def test_no_suffix() -> None:
    """
    A name without a dot has an empty suffix.
    """
    assert suffix_of(b"picture") == b""


def test_two_suffixes() -> None:
    """
    Only the last of two suffixes counts.
    """
    assert suffix_of(b"pictures.tar.gz") == b".gz"
