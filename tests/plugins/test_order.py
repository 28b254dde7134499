"""
Order marks of pytest-order.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

pytestmark = pytest.mark.about("pytest-order")


def test_order(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    Isolated tests run in the order of their marks.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.order(2)
        def test_second(): assert 0

        @pytest.mark.order(1)
        def test_first(): pass

        @pytest.mark.order(after="test_second")
        def test_third(): pass
        """
    )
    run = with_plugins("pytest_order")("-v")
    run.result.assert_outcomes(passed=2, failed=1)
