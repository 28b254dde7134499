"""
A hundred megabytes of output by each of eight tests at the same time.
"""

from __future__ import annotations

import pytest
from floods import expect_bounded
from ways import WAYS

#: How many bytes more than with one job pytest may take at most.
MARGIN = 64 << 20


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.usefixtures("nothing_left")
def test_floods(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    """
    All is heard in order, and pytest takes hardly more memory than with one job.
    """
    differences = expect_bounded(WAYS[way], pytester.path, 50_000_000)
    with capsys.disabled():
        print(f"\n{way}: bytes more than with one job: {differences}")  # noqa: T201 - for the person who runs it
    assert all(more < MARGIN for more in differences)
