"""
Doctests are run and reported as without isolation.
"""

from __future__ import annotations

import pytest
from twins import Twins


@pytest.mark.parametrize(
    "more",
    [("--doctest-report=ndiff",), ("--doctest-continue-on-failure", "-v")],
    ids=" ".join,
)
def test_namespace_and_fixtures(
    pytester: pytest.Pytester, twins: Twins, more: tuple[str, ...]
) -> None:
    """
    Doctests have their fixtures, namespace and options.
    """
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(autouse=True)
        def add(doctest_namespace):
            doctest_namespace["added"] = [1, 2]

        @pytest.fixture(scope="session")
        def wide(): return "wide"
        """
    )
    pytester.makepyfile(
        module='''
        """
        >>> added
        [1, 2]
        >>> getfixture("wide")
        'wide'
        >>> getfixture("tmp_path").exists()
        True
        """

        def failing():
            """
            >>> added
            [1, 2, 3]
            >>> {"a": 1}  # doctest: +SKIP
            >>> print("a    b")  # doctest: +NORMALIZE_WHITESPACE
            a b
            """

        def skipped():
            """
            >>> 1  # doctest: +SKIP
            """

        class Class:
            """
            >>> import pytest; pytest.skip("from a doctest")
            """
        '''
    )
    twins("--doctest-modules", "-rA", *more, "--junitxml=x.xml", file="x.xml")
