"""
A hundred megabytes of output by each of eight tests at the same time.
"""

from __future__ import annotations

import pytest
from floods import KINDS, more_than_one
from ways import WAYS

#: How many bytes more than with one job pytest may take at most.
MARGIN = 64 << 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.usefixtures("nothing_left")
def test_floods(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str], way: str, kind: str
) -> None:
    """
    All is heard in order, and pytest takes hardly more memory than with one job.
    """
    more = more_than_one(WAYS[way], pytester.path, 50_000_000, kind)
    with capsys.disabled():
        print(f"\n{way}, {kind}: {more} bytes more than with one job")  # noqa: T201 - for the person who runs it
    assert more < MARGIN
