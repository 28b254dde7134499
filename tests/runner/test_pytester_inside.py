"""
Isolated tests that run pytest themselves.
"""

from __future__ import annotations

import pytest
from twins import run_once

INNER = """
    import pytest

    pytest_plugins = "pytester"

    @pytest.fixture
    def inner(pytester):
        pytester.makeini("[pytest]")
        pytester.makeconftest(
            '''
            import pytest

            @pytest.fixture(scope="session")
            def wide():
                yield
                print("wide teardown")
            '''
        )
        pytester.makepyfile(
            '''
            import warnings
            def test_pass(wide): pass
            def test_fail(tmp_path):
                print("inner output")
                warnings.warn("inner warning")
                assert 0
            '''
        )
        return pytester
"""

WAYS = (
    """
    def test_inprocess(inner):
        result = inner.runpytest_inprocess("-p", "no:cacheprovider", {more})
        result.assert_outcomes(passed=1, failed=1, warnings=1)
        result.stdout.fnmatch_lines(["*inner output*", "*inner warning*"])
    """,
    """
    def test_subprocess(inner):
        result = inner.runpytest_subprocess("-p", "no:cacheprovider", {more})
        result.assert_outcomes(passed=1, failed=1, warnings=1)
    """,
    """
    def test_inline(inner):
        recorder = inner.inline_run("-p", "no:cacheprovider", {more})
        recorder.assertoutcome(passed=1, failed=1)
        reports = recorder.getreports("pytest_runtest_logreport")
        assert len(reports) == 6
        assert recorder.getcall("pytest_sessionfinish").exitstatus == 1
    """,
    """
    def test_outer_fails(inner):
        inner.runpytest_inprocess("-p", "no:cacheprovider", {more})
        assert 0
    """,
    """
    def test_parsed(inner):
        config = inner.parseconfig("-q", {more})
        assert config.option.verbose == -1
        items = inner.getitems("def test_one(): pass")
        assert [one.name for one in items] == ["test_one"]
    """,
)


@pytest.mark.parametrize("more", ["", "'--nsisolate'"], ids=["plain", "isolated"])
def test_pytester(pytester: pytest.Pytester, more: str) -> None:
    """
    ``pytester`` works in an isolated test, and the inner tests may be isolated too.
    """
    pytester.makepyfile(INNER + "".join(WAYS).replace("{more}", more))
    # Apart, since an inner session does not end as this one does.
    run = run_once(pytester, ["--nsisolate"], apart=True)
    calls = [outcome for when, outcome in run.outcomes if when == "call"]
    assert calls == ["passed", "passed", "passed", "failed", "passed"]


def test_inner_exit(pytester: pytest.Pytester) -> None:
    """
    `pytest.exit` in an inner session ends only that session.
    """
    pytester.makepyfile(
        """
        import pytest

        pytest_plugins = "pytester"

        @pytest.mark.parametrize("more", [(), ("--nsisolate",)])
        def test_exit(pytester, more):
            pytester.makepyfile("import pytest\\ndef test(): pytest.exit('so', 7)")
            assert pytester.runpytest_inprocess(*more).ret == 7

        def test_after_that(): pass
        """
    )
    run = run_once(pytester, ["--nsisolate"], apart=True)
    run.result.assert_outcomes(passed=3)
