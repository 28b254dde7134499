"""
Type checks of typeguard.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

pytestmark = pytest.mark.about("typeguard")


@pytest.mark.parametrize("strategy", ["FIRST_ITEM", "ALL_ITEMS"])
def test_packages(
    pytester: pytest.Pytester, with_plugins: WithPlugins, strategy: str
) -> None:
    """
    Types are checked in the named packages, imported inside a test or before.
    """
    pytester.makepyfile(
        typed="""
        def text(number: int) -> str:
            return number

        def numbers(them: list[int]) -> int:
            return len(them)
        """,
        typed_too="""
        def number(text: str) -> int:
            return 1
        """,
        test_typed="""
        import pytest
        import typed
        import typeguard

        def test_returned():
            typed.text(1)

        def test_argument():
            typed.numbers("a")

        def test_items():
            typed.numbers([1, "a"])

        def test_right():
            assert typed.numbers([1, 2]) == 2

        def test_imported_inside():
            import typed_too
            with pytest.raises(typeguard.TypeCheckError):
                typed_too.number(1)
        """,
    )
    run = with_plugins("typeguard._pytest_plugin")(
        "--typeguard-packages=typed,typed_too",
        f"--typeguard-collection-check-strategy={strategy}",
    )
    failed = 3 if strategy == "ALL_ITEMS" else 2
    run.result.assert_outcomes(passed=5 - failed, failed=failed)
