"""
Items that are not plain functions: unittest, doctests and custom items.
"""

from __future__ import annotations

import pytest
from twins import Twins, run_once

pytestmark = pytest.mark.python


def test_unittest(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Methods of `unittest.TestCase` are isolated and reported as in a plain run.
    """
    pytester.makepyfile(
        """
        import unittest

        class TestIt(unittest.TestCase):
            @classmethod
            def setUpClass(cls): print("setUpClass")

            @classmethod
            def tearDownClass(cls): print("tearDownClass")

            def setUp(self): print("setUp")

            def tearDown(self): print("tearDown")

            def test_pass(self): pass

            def test_fail(self): self.assertEqual([1], [2])

            @unittest.skip("so")
            def test_skip(self): pass

            @unittest.expectedFailure
            def test_expected(self): self.fail()

            @unittest.expectedFailure
            def test_unexpected(self): pass

            def test_skip_inside(self): self.skipTest("inside")

            def test_cleanup(self): self.addCleanup(lambda: 1 / 0)

        class TestSetUp(unittest.TestCase):
            def setUp(self): raise OSError
            def test_one(self): pass

        class TestClassSetUp(unittest.TestCase):
            @classmethod
            def setUpClass(cls): raise OSError
            def test_one(self): pass

        class TestAsync(unittest.IsolatedAsyncioTestCase):
            async def test_one(self): self.assertTrue(False)
        """
    )
    twins("-rA")


def test_doctests(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Doctests in text files and modules are isolated and reported as in a plain run.
    """
    pytester.maketxtfile(test_text=">>> 1 + 1\n2\n\n>>> 1 + 1\n3\n")
    pytester.makepyfile(
        module='''
        def f():
            """
            >>> print("called")
            called
            >>> import os; os.getpid() > 0
            True
            >>> 1 / 0
            """
        '''
    )
    twins("--doctest-modules", "--doctest-glob=*.txt", "-rA")


def test_custom_items(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Items of another plugin run setup, runtest and teardown in the guest.
    """
    pytester.makeconftest(
        """
        import os
        import pytest

        def pytest_collect_file(file_path, parent):
            if file_path.suffix == ".list":
                return File.from_parent(parent, path=file_path)

        class File(pytest.File):
            def collect(self):
                for line in self.path.read_text().split():
                    yield Item.from_parent(self, name=line)

        class Item(pytest.Item):
            def setup(self):
                self.place = os.getpid()
                print("setup")

            def runtest(self):
                assert self.place == os.getpid()
                if self.name == "fail":
                    raise OSError(self.name)

            def teardown(self):
                assert self.place == os.getpid()
                print("teardown")
                if self.name == "late":
                    raise OSError(self.name)

            def repr_failure(self, excinfo):
                return f"custom: {excinfo.value}"

            def reportinfo(self):
                return self.path, 7, f"item {self.name}"
        """
    )
    pytester.makefile(".list", items="pass fail late pass2")
    run = twins("-rA", "--tb=short")
    assert "custom: fail" in run.stdout


def test_marked_custom_items(pytester: pytest.Pytester) -> None:
    """
    A marker added during collection isolates an item of any kind.
    """
    pytester.maketxtfile(
        test_text=">>> import socket\n>>> socket.gethostname()\n'made'\n"
    )
    pytester.makeconftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.isolated(hostname="made"))
        """
    )
    run_once(pytester, []).result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "more",
    [("--doctest-report=ndiff",), ("--doctest-continue-on-failure", "-v")],
    ids=" ".join,
)
def test_namespace_and_fixtures_of_doctests(
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
