"""
Repetitions of pytest-repeat.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

pytestmark = pytest.mark.about("pytest-repeat")


@pytest.mark.parametrize("scope", ["function", "class", "module", "session"])
def test_repeat(
    scope: str, pytester: pytest.Pytester, with_plugins: WithPlugins
) -> None:
    """
    Tests repeat equally often, in the same order, with fixtures set up equally often.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def wide():
            print("wide set up")
            yield
            print("wide torn down")

        @pytest.fixture
        def narrow(wide):
            print("set up")
            yield
            print("torn down")

        @pytest.mark.repeat(3)
        def test_marked(narrow): pass

        @pytest.mark.parametrize("number", [1, 2])
        def test_param(number, wide): assert number == 1

        class TestClass:
            def test_one(self, request): print(request.node.name)
            def test_two(self, wide): pass
        """
    )
    run = with_plugins("pytest_repeat")("--count=2", f"--repeat-scope={scope}", "-rA")
    run.result.assert_outcomes(passed=9, failed=2)
