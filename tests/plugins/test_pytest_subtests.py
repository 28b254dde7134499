"""
Subtests of pytest-subtests, which pytest 9 includes.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins, run_once

pytestmark = [
    pytest.mark.about("pytest-subtests"),
    pytest.mark.skipif(
        pytest.version_tuple >= (9, 0), reason="pytest 9 has subtests of its own"
    ),
]


@pytest.mark.parametrize("arguments", [(), ("-v", "-rA"), ("-x",)], ids=" ".join)
def test_reports(
    pytester: pytest.Pytester, with_plugins: WithPlugins, arguments: tuple[str, ...]
) -> None:
    """
    Each subtest is reported as without isolation, and a failing one fails the run.
    """
    pytest.importorskip("pytest_subtests")
    pytester.makepyfile(
        """
        import sys
        import pytest

        def test_pass(subtests):
            with subtests.test("named", number=1, text="<a>"):
                pass

        def test_fail(subtests):
            for number in range(3):
                with subtests.test(f"message {number}", number=number):
                    print("out", number)
                    print("err", number, file=sys.stderr)
                    assert number != 1, "unequal"
            print("after")

        def test_skip(subtests):
            with subtests.test("skipped"):
                pytest.skip("not this one")

        @pytest.mark.xfail(reason="marked")
        def test_expected(subtests):
            with subtests.test("fails"):
                assert 0
        """
    )
    run = with_plugins("subtests")(*arguments)
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED


def test_unittest(pytester: pytest.Pytester) -> None:
    """
    Subtests of `unittest` have the same outcomes, wherever the plugin prints them.
    """
    pytest.importorskip("pytest_subtests")
    pytester.makepyfile(
        """
        import unittest

        class TestCase(unittest.TestCase):
            def test_both(self):
                with self.subTest("named", number=1):
                    self.fail("inside")
                with self.subTest(text="x"):
                    pass
        """
    )
    plugins = ("-p", "nsisolate", "-p", "subtests")
    plain, isolated = (
        run_once(pytester, [way, *plugins], apart=True)
        for way in ("--no-nsisolate", "--nsisolate")
    )
    assert isolated.outcomes == plain.outcomes
    assert isolated.result.ret == plain.result.ret == pytest.ExitCode.TESTS_FAILED
    assert "[named] (number=1) SUBFAIL" in isolated.stdout
