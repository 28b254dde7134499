"""
Setup and teardown of test classes, with and without isolation.
"""

from __future__ import annotations

import sys

import pytest
from twins import Twins

TELL = """
import unittest

def tell(*words):
    print(*words)
    with open("story", "a") as stream:
        print(*words, file=stream)
"""


@pytest.mark.one_job
def test_each_once(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Modules and classes are set up and torn down once, and cleaned up in order.
    """
    pytester.makepyfile(
        TELL
        + """
def setUpModule():
    tell("+module")
    unittest.addModuleCleanup(tell, "module cleanup")

def tearDownModule(): tell("-module")

class TestOne(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        tell("+class")
        cls.addClassCleanup(tell, "class cleanup", 1)
        cls.addClassCleanup(tell, "class cleanup", 2)
        cls.shared = ["made"]

    @classmethod
    def tearDownClass(cls): tell("-class", cls.shared)

    def setUp(self):
        tell("+test", self.shared)
        self.addCleanup(tell, "cleanup", self.id())

    def tearDown(self): tell("-test", self.shared)

    def test_a(self): tell("a")

    def test_b(self): self.fail("b")

    def test_c(self): self.skipTest("c")

class TestInherited(TestOne):
    def test_d(self): self.assertDictEqual({"a": 1}, {"a": 2}, "not equal")

class TestTearDownFails(unittest.TestCase):
    @classmethod
    def tearDownClass(cls): raise KeyError("class")

    def test_one(self): pass

class TestCleanupFails(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.addClassCleanup(lambda: 1 / 0)

    def test_one(self): pass

    def test_two(self): pass

@unittest.skip("all of it")
class TestSkipped(unittest.TestCase):
    @classmethod
    def setUpClass(cls): tell("never")

    def test_one(self): tell("never")

class TestRaisesSkip(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise unittest.SkipTest("by the class")

    def test_one(self): tell("never")

class TestPlain:
    @classmethod
    def setup_class(cls): tell("+plain")

    @classmethod
    def teardown_class(cls): tell("-plain")

    def setup_method(self, method): tell("+method", method.__name__)

    def teardown_method(self): tell("-method")

    def test_one(self): pass

    def test_two(self): pass
"""
    )
    run = twins("-rA", file="story")
    assert run.file.count("+class\n") == 2
    assert run.file.count("+module\n") == 1


@pytest.mark.one_job
def test_asynchronous(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Asynchronous test cases run with an event loop of their own.
    """
    pytester.makepyfile(
        TELL
        + """
import asyncio

class TestAsync(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls): tell("+class")

    def setUp(self): tell("+test")

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()
        # Or a slow machine is warned of.
        self.loop.slow_callback_duration = 60
        tell("+async")
        self.addAsyncCleanup(self.clean_up)

    async def clean_up(self): tell("cleanup")

    async def asyncTearDown(self):
        assert self.loop is asyncio.get_running_loop()
        tell("-async")

    async def test_process(self):
        process = await asyncio.create_subprocess_exec("true")
        self.assertEqual(await process.wait(), 0)

    async def test_fails(self):
        await asyncio.sleep(0)
        self.assertEqual(1, 2)

    async def test_gathers(self):
        values = await asyncio.gather(*(asyncio.sleep(0, n) for n in range(3)))
        assert values == [0, 1, 2]

    def test_synchronous(self): pass
"""
    )
    twins("-rA", file="story")


def test_with_fixtures(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    pytest's fixtures and marks work in test cases.
    """
    pytester.makepyfile(
        TELL
        + """
import pytest

@pytest.fixture(scope="class")
def data(request):
    tell("+data")
    request.cls.data = ["made"]
    yield
    tell("-data")

@pytest.fixture(scope="module", autouse=True)
def module():
    tell("+module")
    yield
    tell("-module")

@pytest.mark.usefixtures("data")
class TestIt(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        self.path = tmp_path

    def test_one(self):
        assert self.data == ["made"]
        self.path.joinpath("file").write_text("text")

    @pytest.mark.xfail(reason="known")
    def test_two(self):
        assert self.path.joinpath("file").exists()

    def test_logs(self):
        with self.assertLogs() as logs:
            pass

    @pytest.mark.skipif("True", reason="so")
    def test_three(self): pass
"""
    )
    pytester.makeini("[pytest]\njunit_family = xunit2")
    twins("-rA", "-v")


@pytest.mark.one_job
@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs enterClassContext")
def test_contexts(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Context managers entered for a class or a test are exited once.
    """
    pytester.makepyfile(
        TELL
        + """
import contextlib

@contextlib.contextmanager
def context(name):
    tell("+", name)
    yield
    tell("-", name)

class TestIt(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.enterClassContext(context("class"))
    def setUp(self): self.enterContext(context("test"))
    def test_one(self): pass
    def test_two(self): self.fail()
"""
    )
    run = twins("-rA", file="story")
    assert run.file.split("\n") == [
        *("+ class", "+ test", "- test", "+ test", "- test", "- class"),
        "",
    ]


def test_parametrised_classes(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Parametrised class fixtures are set up as often and in the same order as plain.
    """
    pytester.makepyfile(
        """
        import pytest

        def tell(*words):
            with open("story", "a") as stream:
                print(*words, file=stream)

        @pytest.fixture(scope="class", params=["x", "y"], ids=str.upper)
        def of_class(request):
            tell("+", request.param, request.cls.__name__)
            request.cls.attribute = request.param
            yield request.param
            tell("-", request.param)

        @pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.xfail)])
        def narrow(request, of_class):
            return of_class * request.param

        @pytest.mark.parametrize("more", [True, False], scope="class")
        class TestIt:
            def test_one(self, narrow, more):
                assert narrow == self.attribute
            def test_two(self, of_class, more): print("two", of_class, more)

        class TestOther:
            @pytest.mark.parametrize("of_class", ["z"], indirect=True)
            def test_three(self, of_class): assert self.attribute == "z"
            def test_four(self, of_class): pass
        """
    )
    # Fixtures tell a file, in their order; what tests print is in their reports.
    run = twins("-rA", "-v", file="story")
    assert "two x True" in run.stdout
    assert run.file.count("+ x TestIt") == run.file.count("- x") - 1
