"""
Random order and seeds of pytest-randomly.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

pytestmark = pytest.mark.about("pytest-randomly")

TESTS = """
    import random
    import pytest

    AT_IMPORT = random.random()

    @pytest.fixture(scope="session")
    def widest():
        return random.random()

    @pytest.fixture(scope="module")
    def wide(widest):
        yield random.random()
        print("wide teardown", random.random())

    @pytest.fixture
    def narrow():
        yield random.random()
        print("narrow teardown", random.random())

    class TestOne:
        def test_all(self, widest, wide, narrow):
            print(widest, wide, narrow, random.random(), AT_IMPORT)

        def test_seeds(self):
            random.seed(1)

        def test_narrow(self, narrow):
            print(narrow, random.random())

    class TestTwo:
        def test_wide(self, wide): print(wide, random.random())
        def test_none(self): print(random.random())

    def test_function(): print(random.random())
"""


@pytest.mark.parametrize(
    "arguments", [(), ("--randomly-dont-reorganize",)], ids=["", "in order"]
)
def test_random(
    arguments: tuple[str, ...], pytester: pytest.Pytester, with_plugins: WithPlugins
) -> None:
    """
    The same seed gives the same order and the same numbers, in fixtures and tests.
    """
    pytester.makepyfile(TESTS)
    pytester.makepyfile(test_other="def test_other(): pass")
    run = with_plugins("randomly")("--randomly-seed=42", "-rA", "-v", *arguments)
    run.result.assert_outcomes(passed=7)


def test_entry_point(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    The generators of other packages are seeded the same way.
    """
    pytester.mkdir("seeder-1.dist-info").joinpath("entry_points.txt").write_text(
        "[pytest_randomly.random_seeder]\nseeder = seeder:seed\n"
    )
    pytester.makepyfile(
        seeder="""
        import random
        generator = random.Random()
        seed = generator.seed
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from seeder import generator

        @pytest.fixture(scope="module")
        def wide(): return generator.random()

        @pytest.fixture
        def narrow(wide): return generator.random()

        def test_one(wide, narrow): print(wide, narrow, generator.random())
        def test_two(narrow): print(narrow, generator.random())
        """
    )
    run = with_plugins("randomly")("--randomly-seed=42", "-rA")
    run.result.assert_outcomes(passed=2)


@pytest.mark.xfail(
    strict=True,
    reason="With --randomly-dont-reset-seed the numbers of a test depend on those that "
    "the tests before it have drawn, in processes that are gone.",
)
def test_never_reset(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    Without a new seed before each test, each test continues the previous one's numbers.
    """
    pytester.makepyfile(TESTS)
    arguments = ["--randomly-seed=42", "--randomly-dont-reset-seed", "-rA"]
    with_plugins("randomly")(*arguments)
