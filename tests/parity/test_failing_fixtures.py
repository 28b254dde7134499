"""
Reports of fixtures that fail, with and without isolation.
"""

from __future__ import annotations

import pytest
from twins import Twins, run_once

FAILURES = {
    "setup fails": ("print('said'); raise OSError('setup')", "pass"),
    "setup skips": ("print('said'); pytest.skip('not now')", "pass"),
    "setup is expected to fail": ("print('said'); pytest.xfail('known')", "pass"),
    "setup is said to fail": ("pytest.fail('said', pytrace=False)", "pass"),
    "teardown fails": ("pass", "print('said'); raise OSError('teardown')"),
    "teardown skips": ("pass", "pytest.skip('late')"),
}


@pytest.mark.parametrize("scope", ["session", "module", "class"])
@pytest.mark.parametrize("case", FAILURES)
def test_borrowed_fixture_fails(
    pytester: pytest.Pytester, twins: Twins, scope: str, case: str
) -> None:
    """
    A borrowed fixture that fails, skips or xfails is reported as usual.
    """
    setup, teardown = FAILURES[case]
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.fixture(scope={scope!r})
        def wide():
            {setup}
            yield
            {teardown}

        @pytest.fixture
        def narrow(): print("narrow")

        class TestIn:
            def test_one(self, narrow, wide): pass
            def test_two(self, wide, narrow): print("two")
            @pytest.mark.xfail
            def test_three(self, wide): assert 0

        def test_last(): pass
        """
    )
    twins("-rA")


def test_both_teardowns_fail(pytester: pytest.Pytester) -> None:
    """
    If the teardown fails both inside and outside, both errors are reported.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def wide():
            yield
            raise OSError("outside fails")

        @pytest.fixture
        def narrow(wide):
            yield
            raise OSError("inside fails")

        def test_one(narrow): pass
        """
    )
    run = run_once(pytester, ["--nsisolate"])
    assert "OSError: inside fails" in run.stdout
    assert "OSError: outside fails" in run.stdout
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
