"""
Reruns of flaky.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

pytestmark = pytest.mark.about("flaky")

TESTS = """
    import pytest
    from flaky import flaky

    @pytest.fixture(scope="module")
    def wide():
        print("wide set up")

    @pytest.fixture
    def narrow(wide):
        print("set up")
        yield
        print("torn down")

    @flaky
    def test_second_time(narrow, request):
        request.node.times = getattr(request.node, "times", 0) + 1
        print("try", request.node.times)
        assert request.node.times == 2

    @flaky(max_runs=3, min_passes=2)
    def test_twice(): pass

    @pytest.mark.flaky(max_runs=3)
    def test_never(narrow): assert 0, "as always"

    @flaky(rerun_filter=lambda error, *_: issubclass(error[0], KeyError))
    def test_filter(): raise ValueError("another")

    @flaky
    class TestClass:
        def test_method(self): pass

    def test_plain(): assert 0
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("-rA",),
        ("-v", "--no-success-flaky-report"),
        ("--no-flaky-report", "--force-flaky", "--max-runs=3"),
    ],
    ids=["", "failures", "force"],
)
def test_report(
    arguments: tuple[str, ...], pytester: pytest.Pytester, with_plugins: WithPlugins
) -> None:
    """
    Tests are rerun equally often, and the final report lists each try.
    """
    pytester.makepyfile(TESTS)
    run = with_plugins("flaky.flaky_pytest_plugin")(*arguments)
    assert run.result.ret == 1
    reports = "--no-flaky-report" not in arguments
    assert ("===Flaky Test Report===" in run.stdout) is reports


@pytest.mark.xfail(
    strict=True,
    reason="Between the tries of a test that is the last to need a fixture of wider "
    "than function scope, flaky has that fixture torn down and set up anew.",
)
def test_last(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    The last test of a module has a new wide fixture in each try.
    """
    pytester.makepyfile(
        """
        import pytest
        from flaky import flaky

        @pytest.fixture(scope="module")
        def wide():
            print("wide set up")
            yield
            print("wide torn down")

        @flaky
        def test_last(wide): assert 0
        """
    )
    with_plugins("flaky.flaky_pytest_plugin")()


def test_reports_of_a_hook(
    pytester: pytest.Pytester, with_plugins: WithPlugins
) -> None:
    """
    A hook keeps also the reports that flaky makes and does not log.
    """
    pytester.makeconftest(
        """
        import pytest

        kept = {}

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(item, call):
            report = (yield).get_result()
            setattr(item, f"report_{report.when}", report)
            kept.setdefault(item.name, []).append(report)

        def pytest_terminal_summary(terminalreporter):
            for item in terminalreporter._session.items:
                reports = kept[item.name]
                terminalreporter.line(
                    f"{item.name} {item.report_call is reports[-2]} "
                    f"{[(one.when, one.outcome) for one in reports]}"
                )
        """
    )
    pytester.makepyfile(
        """
        import pytest

        tries = []

        @pytest.mark.flaky
        def test_second_time():
            tries.append(1)
            assert len(tries) == 2

        @pytest.mark.flaky
        def test_never(): assert 0
        """
    )
    run = with_plugins("flaky.flaky_pytest_plugin")("--no-flaky-report", "--tb=no")
    assert (
        "test_second_time True [('setup', 'passed'), ('call', 'failed')" in run.stdout
    )
