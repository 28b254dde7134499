"""
Changes in the memory of hooks, as a hostile guest sends them.
"""

from __future__ import annotations

import pytest
from twins import Run, run_once

CONFTEST = """
    import pytest

    results = {}

    class Kept:
        default = 1
        def method(self): pass

    def helper():
        return "as ever"

    def counter():
        number = 0
        def count():
            nonlocal number
            number += helper() == "as ever"
            return number
        return count

    count = counter()
    kept = Kept()

    def pytest_runtest_makereport(item, call):
        results[item.name] = call.when

    def pytest_terminal_summary(terminalreporter):
        terminalreporter.line(
            f"kept: {results} {helper()} {Kept.__name__} {Kept().method()} {count()}"
        )
"""

#: What a test sends: each is a list of changes, in terms of `reporting.memory`.
FORGED = {
    "no list": "5",
    "no path": "[([], put('x', 1), '')]",
    "wrong start": "[([('nowhere', 0), ATTRIBUTES], put('x', 1), '')]",
    "no number": "[([('known', 'x'), ATTRIBUTES], put('x', 1), '')]",
    "no root": "[([('known', -1), ATTRIBUTES], put('x', 1), '')]",
    "no change": "[(MODULE, ('call', 1), '')]",
    "no name": "[(MODULE, put(5, 1), '')]",
    "Python's own": "[([*MODULE, 'Kept', ATTRIBUTES], put('__doc__', 1), '')]",
    "code": "[([*MODULE, 'helper', ATTRIBUTES], put('__code__', 1), '')]",
    "no variable": "[([*MODULE, 'count', ('step', 'cells')], put('x', 1), '')]",
    "a variable": "[([*MODULE, 'count', ('step', 'cells')], put(1, 1), '')]",
    "no stash": "[([*MODULE, 'count', ('step', 'stash')], put(1, 1), '')]",
    "pytest's own": "[(ITEM, put('parent', None), '')]",
    "no report": "[(MODULE, put('x', ('report', 7)), '')]",
    "unhashable": "[(MODULE, put(('list', 0, []), 1), '')]",
    "tag": "[(MODULE, put('x', ('what',)), '')]",
    "order": "[([*MODULE, 'results'], ('map', [], [], 5), '')]",
    "nested": "[(MODULE, put('x', NESTED), '')]",
    "no name of a class": "[(MODULE, put('x', ('class', 5, 6)), '')]",
}

#: What a guest may mean that is not outside: it is lost, as others are told.
ELSEWHERE = {
    "a function": "[(MODULE, put('helper', 1), 'here')]",
    "another class": "[(MODULE, ('map', ['Kept'], [], []), 'here')]",
    "a method": "[(ITEM, put('runtest', 1), 'here')]",
    "a method of a class": (
        "[([*MODULE, 'Kept', ATTRIBUTES], put('method', 1), 'here')]"
    ),
    "a method of an object": (
        "[([*MODULE, 'kept', ATTRIBUTES], put('method', 1), 'here')]"
    ),
    "a foreign object": (
        "[(MODULE, put('x', ('object', 0, 'threading', 'Event', [], None)), 'here')]"
    ),
    "no class": "[(MODULE, put('x', ('object', 0, 'os', 'path', [], None)), 'here')]",
    "a call": "[(MODULE, put('x', ('enum', 'os', 'system', 'x')), 'here')]",
    "a class": "[(MODULE, put('x', ('class', 'subprocess', 'Popen')), 'here')]",
    "a key": "[(MODULE, put('x', ('key', 0, 'helper')), 'here')]",
    "a builtin": "[([*MODULE, 'pytest', ATTRIBUTES], put('x', 1), 'here')]",
    "nothing known": "[([('known', 99), ATTRIBUTES], put('x', 1), 'here')]",
    "again": "[(MODULE, put('x', ('again', 3)), 'here')]",
    "nothing": "[([*MODULE, 'what', ATTRIBUTES], put('x', 1), 'here')]",
}

TESTS = """
    import gc
    import pytest
    from pytest_nsisolate.guest.channel import GuestChannel
    from pytest_nsisolate.guest.messages import Kept, Report

    ATTRIBUTES = ("step", "attributes")
    NESTED = 1
    for _ in range(5000):
        NESTED = ("tuple", 0, [NESTED])

    def put(name, value):
        return ("map", [], [(name, value)], [])

    def test_before(): pass

    @pytest.mark.filterwarnings("default")
    def test_forges(request):
        chain = request.node.listchain()
        ITEM = [("known", len(chain) - 1), ATTRIBUTES]
        # After the nodes come their modules and classes, and the configuration.
        MODULE = [("known", 2 * len(chain) + 1), ATTRIBUTES]
        channel = next(
            one for one in gc.get_objects() if isinstance(one, GuestChannel)
        )
        channel.send(
            Kept(number=0, changes=CHANGES, reports=REPORTS, lost=[], version=0)
        )
        # The report of a phase comes next.
        report = request.config.hook.pytest_report_to_serializable(
            config=request.config,
            report=pytest.TestReport(
                nodeid=request.node.nodeid, location=request.node.location,
                keywords={}, outcome="passed", longrepr=None, when="call",
            ),
        )
        channel.send(Report(report=report, marked=None))

    def test_after(): pass
"""


def _run(pytester: pytest.Pytester, changes: str, reports: str = "{}") -> Run:
    """
    Run tests, the second of which sends *changes*.
    """
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS.replace("CHANGES", changes).replace("REPORTS", reports))
    run = run_once(pytester, ["--nsisolate"])
    assert "'test_after': 'teardown'} as ever Kept None 1\n" in run.stdout
    return run


@pytest.mark.parametrize("name", FORGED)
def test_forged_changes(pytester: pytest.Pytester, name: str) -> None:
    """
    A forged change ends its test, changes nothing, and leaves the session as it is.
    """
    run = _run(pytester, FORGED[name])
    run.result.assert_outcomes(passed=2, failed=1)
    run.result.stdout.fnmatch_lines(["why: *changes that cannot be read*"])


@pytest.mark.parametrize("reports", ["5", "{5: 5}", "{5: {'a': 1}}", "{'a': []}"])
def test_forged_reports(pytester: pytest.Pytester, reports: str) -> None:
    """
    A forged report among what was kept ends its test in the same way.
    """
    run = _run(pytester, "[]", reports)
    run.result.assert_outcomes(passed=2, failed=1)
    run.result.stdout.fnmatch_lines(["why: *report*"])


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_not_outside(pytester: pytest.Pytester, name: str) -> None:
    """
    A change by something that is not outside is lost, with a warning.
    """
    run = _run(pytester, ELSEWHERE[name])
    assert "HookWarning: here is lost" in run.stdout


def test_changes_as_they_should_be(pytester: pytest.Pytester) -> None:
    """
    What the other tests send would be taken if it were right.
    """
    run = _run(pytester, "[([*MODULE, 'results'], put('new', ('set', 0, [1])), '')]")
    assert "'new': {1}" in run.stdout
