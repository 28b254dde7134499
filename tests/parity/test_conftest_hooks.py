"""
Hooks of conftest files, called with and without isolation.
"""

from __future__ import annotations

import pytest
from twins import Twins, run_once


def test_interactive_exceptions(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    `pytest_exception_interact` is called once, where the exception was raised.
    """
    pytester.makeconftest(
        """
        def pytest_exception_interact(node, call, report):
            print("interact", node.name, call.excinfo.value, report.when)
            with open("seen", "a") as stream:
                stream.write(f"{node.name} {call.excinfo.value!r} {report.when}\\n")
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def broken(): raise KeyError(1)

        def test_one(): raise ValueError(2)
        def test_two(broken): pass
        def test_three(): pytest.skip("so")
        """
    )
    # Apart, since what the hook prints is not captured.
    run = twins("-rA", apart=True, file="seen")
    assert "test_one ValueError(2) call" in run.file


@pytest.mark.xfail(reason="called outside and inside for a test that borrows")
def test_hooks_of_each_phase(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    The hooks of each phase are called once and in order, and their output is kept.
    """
    pytester.makeconftest(
        """
        import pytest

        def tell(*words):
            print(*words)
            with open("story", "a") as stream:
                print(*words, file=stream)

        def pytest_runtest_setup(item): tell("setup", item.name)
        def pytest_runtest_call(item): tell("call", item.name)
        def pytest_runtest_teardown(item, nextitem):
            tell("teardown", item.name, getattr(nextitem, "name", None))
        def pytest_pyfunc_call(pyfuncitem): tell("function", pyfuncitem.name)
        def pytest_fixture_setup(fixturedef): tell("fixture", fixturedef.argname)
        def pytest_fixture_post_finalizer(fixturedef):
            if fixturedef.cached_result is not None:
                tell("finalised", fixturedef.argname)
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def wide(): yield

        @pytest.fixture
        def narrow(wide): yield

        def test_one(narrow): pass
        def test_two(narrow): assert 0
        """
    )
    twins("-rA", file="story")


def test_hooks_that_wrap(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Hooks that wrap the protocol of a test, in old style or new, run once.
    """
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(item, nextitem):
            item.user_properties.append(("protocol", item.name))
            result = yield
            return result

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_call(item):
            item.before = 1
            outcome = yield
            assert item.before == 1
            if item.name == "test_swallowed":
                outcome.force_result(None)

        @pytest.hookimpl(wrapper=True)
        def pytest_pyfunc_call(pyfuncitem):
            try:
                return (yield)
            except ZeroDivisionError:
                pytest.skip("no division here")
        """
    )
    pytester.makepyfile(
        """
        def test_one(): pass
        def test_swallowed(): raise ValueError
        def test_division(): 1 / 0
        """
    )
    run = twins("-rA")
    assert "no division here" in run.stdout


def test_changed_reports(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A report that a hook changed is reported as changed.
    """
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            report.sections.append((f"of {report.when}", "<text>"))
            report.description = item.function.__doc__
            if report.when == "call" and item.name == "test_turned":
                report.outcome = "failed"
                report.longrepr = "turned by a hook"
            if report.when == "call" and item.name == "test_forgiven":
                report.outcome = "skipped"
                report.wasxfail = "reason: forgiven"
            return report
        """
    )
    pytester.makepyfile(
        """
        def test_turned(): "What it is."
        def test_forgiven(): assert 0
        def test_fails(): assert 0
        """
    )
    run = twins("-rA")
    assert "turned by a hook" in run.stdout
    assert run.reports[0]["description"] == "What it is."


def test_stash_of_the_session(pytester: pytest.Pytester) -> None:
    """
    Each test sees what the session stashed, whatever other tests change in it.
    """
    pytester.makeconftest(
        """
        import pytest

        class Keys:
            config = pytest.StashKey()
            session = pytest.StashKey()

        def pytest_configure(config):
            config.keys = Keys
            config.stash[Keys.config] = ["configured"]

        def pytest_sessionstart(session):
            session.stash[Keys.session] = {"started": True}
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(3))
        def test_one(request, number):
            stash, keys = request.config.stash, request.config.keys
            assert stash[keys.config] == ["configured"]
            stash[keys.config].append(number)
            assert request.session.stash[keys.session] == {"started": True}
        """
    )
    run_once(pytester, ["--nsisolate"]).result.assert_outcomes(passed=3)
