"""
Recipes for conftest files from pytest's documentation, with isolated tests.
"""

from __future__ import annotations

import pytest
from twins import Twins


def test_result_in_fixtures(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A fixture finds the reports that `pytest_runtest_makereport` put in the stash.
    """
    pytester.makeconftest(
        """
        import pytest

        key = pytest.StashKey()

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            item.stash.setdefault(key, {})[report.when] = report
            return report

        @pytest.fixture
        def something(request):
            yield
            report = request.node.stash[key]
            with open("story", "a") as story:
                if report["setup"].failed:
                    print("setting up failed", request.node.name, file=story)
                elif "call" not in report or report["call"].failed:
                    print("executing failed", request.node.name, file=story)
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def other():
            assert 0

        def test_setup_fails(something, other): pass

        def test_call_fails(something):
            assert 0

        def test_passes(something): pass
        """
    )
    run = twins("-rA", file="story")
    assert run.file.splitlines() == [
        "setting up failed test_setup_fails",
        "executing failed test_call_fails",
    ]


def test_incremental(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    After a step of a class has failed, the later steps are expected to fail.
    """
    pytester.makeconftest(
        """
        import pytest

        failed = {}

        def pytest_runtest_makereport(item, call):
            if "incremental" in item.keywords and call.excinfo is not None:
                failed.setdefault(str(item.cls), item.name)

        def pytest_runtest_setup(item):
            if "incremental" in item.keywords:
                name = failed.get(str(item.cls))
                if name is not None:
                    pytest.xfail(f"previous test failed ({name})")
        """
    )
    pytester.makeini("[pytest]\nmarkers = incremental")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.incremental
        class TestUser:
            def test_login(self): pass
            def test_change(self): assert 0
            def test_delete(self): pass

        def test_normal(): pass
        """
    )
    run = twins("-rA")
    assert "previous test failed (test_change)" in run.stdout


def test_failures_in_a_file(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    `pytest_runtest_makereport` can write failures to a file and look at fixtures.
    """
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if report.when == "call" and report.failed:
                with open("failures", "a") as stream:
                    extra = item.funcargs.get("value")
                    stream.write(f"{report.nodeid} ({extra})\\n")
            return report
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def value(): return "made"

        def test_one(value): assert 0
        def test_two(): assert 0
        def test_three(value): pass
        """
    )
    run = twins(file="failures")
    assert "test_one (made)" in run.file


def test_collected_state(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    What hooks collect from reports is there at the end of the session.
    """
    pytester.makeconftest(
        """
        import pytest

        key = pytest.StashKey()

        def pytest_configure(config):
            config.stash[key] = []

        def pytest_runtest_logstart(nodeid, location):
            seen.append(("start", nodeid))

        def pytest_runtest_logfinish(nodeid, location):
            seen.append(("finish", nodeid))

        seen = []

        def pytest_runtest_logreport(report):
            seen.append((report.nodeid, report.when, report.outcome))

        def pytest_report_teststatus(report, config):
            config.stash[key].append(report.when)
            if report.when == "call" and report.passed:
                return "passed", "P", ("PASSED AS EVER", {"green": True})

        def pytest_sessionfinish(session, exitstatus):
            print("state", session.testsfailed, session.testscollected, exitstatus)

        def pytest_terminal_summary(terminalreporter, exitstatus, config):
            terminalreporter.section("collected")
            for one in seen:
                terminalreporter.line(str(one))
            terminalreporter.line(str(config.stash[key]))
            for name, reports in sorted(terminalreporter.stats.items()):
                terminalreporter.line(f"{name or 'none'}: {len(reports)}")
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def wide():
            yield
            assert 0

        def test_one(wide): pass
        def test_two(): assert 0
        def test_three(): pytest.skip("so")
        """
    )
    twins("-v")
