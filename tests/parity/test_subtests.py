"""
Subtests of pytest and of `unittest`, with and without isolation.
"""

from __future__ import annotations

import pytest
from twins import Twins, TwinSessions

pytestmark = pytest.mark.skipif(
    pytest.version_tuple < (9, 0), reason="subtests came to pytest in 9.0"
)

FIXTURE = """
    import sys
    import pytest

    def test_pass(subtests):
        with subtests.test("named", number=1, text="<a>"):
            print("inside")
        with subtests.test():
            pass

    def test_one_fails(subtests):
        for number in range(3):
            with subtests.test(f"message {number}", number=number):
                print("out", number)
                print("err", number, file=sys.stderr)
                assert number != 1, "unequal"
        print("after")

    def test_both_fail(subtests):
        with subtests.test("first"):
            raise KeyError("inside")
        with subtests.test("second", value=[1, {"a": object}]):
            pass
        raise ValueError("outside")

    def test_skip(subtests):
        with subtests.test("skipped"):
            pytest.skip("not this one")
        with subtests.test("not skipped"):
            pass

    def test_expected(subtests):
        with subtests.test("expected"):
            pytest.xfail("known")

    @pytest.mark.xfail(reason="marked")
    def test_marked(subtests):
        with subtests.test("fails"):
            assert 0

    @pytest.mark.xfail(reason="marked", strict=True)
    def test_marked_strictly(subtests):
        with subtests.test("fails"):
            assert 0
        with subtests.test("passes"):
            pass

    def test_nested(subtests):
        with subtests.test("outer"):
            with subtests.test("inner"):
                assert 0
            assert 1

    def test_all_pass_then_skip(subtests):
        with subtests.test("passes"):
            pass
        pytest.skip("later")

    @pytest.fixture
    def in_fixture(subtests):
        with subtests.test("in setup"):
            assert 0
        yield
        with subtests.test("in teardown"):
            assert 0

    def test_in_fixture(in_fixture):
        pass

    def test_exit(subtests):
        with subtests.test("not caught"):
            raise SystemExit(3)

    def test_plain():
        assert 0
"""

UNITTEST = """
    import asyncio
    import unittest

    class TestIt(unittest.TestCase):
        def test_pass(self):
            with self.subTest("named", number=1):
                pass

        def test_fail(self):
            for number in range(3):
                with self.subTest("message", number=number):
                    print("out", number)
                    self.assertNotEqual(number, 1)

        def test_both_fail(self):
            with self.subTest(value="first"):
                raise KeyError("inside")
            raise ValueError("outside")

        def test_skip(self):
            with self.subTest("skipped"):
                self.skipTest("not this one")
            with self.subTest("not skipped"):
                pass

        @unittest.expectedFailure
        def test_expected(self):
            with self.subTest("expected"):
                self.fail("known")

        def test_nested(self):
            with self.subTest(outer=1):
                with self.subTest(inner=2):
                    self.fail("inside")

        def test_plain(self):
            pass

    class TestAsync(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            # Or a slow machine is warned of.
            asyncio.get_running_loop().slow_callback_duration = 60

        async def test_fail(self):
            for number in range(2):
                with self.subTest(number=number):
                    self.assertEqual(number, 1)
"""


@pytest.mark.parametrize("source", [FIXTURE, UNITTEST], ids=["pytest", "unittest"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("-v", "-rA"),
        ("-rA", "-o", "verbosity_subtests=0"),
        ("-q", "--maxfail=2"),
    ],
    ids=" ".join,
)
def test_reports_of_subtests(
    pytester: pytest.Pytester, twins: Twins, source: str, arguments: tuple[str, ...]
) -> None:
    """
    Each subtest is reported, counted and shown as in a plain run at every verbosity.
    """
    pytester.makepyfile(source)
    run = twins(*arguments)
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("source", [FIXTURE, UNITTEST], ids=["pytest", "unittest"])
def test_junit_xml(pytester: pytest.Pytester, twins: Twins, source: str) -> None:
    """
    The JUnit XML file has subtests as in a plain run.
    """
    pytester.makepyfile(source)
    twins("--junitxml=junit.xml", file="junit.xml")


@pytest.mark.parametrize("source", [FIXTURE, UNITTEST], ids=["pytest", "unittest"])
def test_last_failed(
    pytester: pytest.Pytester, twin_sessions: TwinSessions, source: str
) -> None:
    """
    ``--lf`` runs the tests whose subtests failed.
    """
    pytester.makepyfile(source)
    _, second = twin_sessions([], ["--lf", "-v"])
    assert "::test_pass" not in second.stdout


def test_only_a_subtest_fails(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A failing subtest alone fails its test and the session.
    """
    pytester.makepyfile(
        """
        def test_one(subtests):
            with subtests.test("only"):
                assert 0
        """
    )
    run = twins()
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    assert ("call", "failed") in run.outcomes
    assert "contains 1 failed subtest" in run.stdout
