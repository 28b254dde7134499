"""
Changes in the memory of hooks, as a hostile guest sends them.
"""

from __future__ import annotations

import pytest
from twins import run_once

CONFTEST = """
    import pytest

    results = {}

    class Kept:
        pass

    def helper():
        return "as ever"

    def pytest_runtest_makereport(item, call):
        results[item.name] = call.when

    def pytest_terminal_summary(terminalreporter):
        terminalreporter.line(f"kept: {results} {helper()} {Kept.__name__}")
"""

#: What a test sends: each is a list of changes, in terms of `reporting.memory`.
FORGED = {
    "no list": "5",
    "no path": "[([], ('map', [], []))]",
    "wrong start": "[(['nowhere', ('attributes',)], ('map', [], []))]",
    "no plugin": "[([('plugin', 99), ('attributes',)], ('map', [], []))]",
    "a function": "[(MODULE, ('map', [], [('helper', 1)]))]",
    "a class": "[(MODULE, ('map', ['Kept'], []))]",
    "a method": "[(ITEM, ('map', [], [('runtest', 1)]))]",
    "pytest's own": "[(ITEM, ('map', [], [('parent', None)]))]",
    "a foreign object": (
        "[(MODULE, ('map', [], [('x', ('object', 0, [], 'threading', 'Event'))]))]"
    ),
    "no class": "[(MODULE, ('map', [], [('x', ('object', 0, [], 'os', 'path'))]))]",
    "a call": "[(MODULE, ('map', [], [('x', ('enum', 'os', 'system', 'x'))]))]",
    "no report": "[(MODULE, ('map', [], [('x', ('report', 7))]))]",
    "unhashable": "[(MODULE, ('map', [], [(('list', 0, []), 1)]))]",
    "again": "[(MODULE, ('map', [], [('x', ('again', 3))]))]",
    "tag": "[(MODULE, ('map', [], [('x', ('what',))]))]",
    "nested": "[(MODULE, ('map', [], [('x', NESTED)]))]",
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_changes(pytester: pytest.Pytester, name: str) -> None:
    """
    A forged change ends its test, changes nothing, and leaves the session as it is.
    """
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        f"""
        import gc
        import time
        from pytest_nsisolate.guest.channel import GuestChannel
        from pytest_nsisolate.guest.messages import Kept

        MODULE = [("plugin", 0), ("attributes",)]
        NESTED = 1
        for _ in range(5000):
            NESTED = ("tuple", 0, [NESTED])

        def test_before(): pass

        def test_forges(request):
            chain = request.node.listchain()
            ITEM = [("node", len(chain) - 1), ("attributes",)]
            channel = next(
                one for one in gc.get_objects() if isinstance(one, GuestChannel)
            )
            channel.send(Kept(number=0, changes={FORGED[name]}, lost=[]))
            # The report of a phase comes next.
            from pytest_nsisolate.guest.messages import Report
            report = request.config.hook.pytest_report_to_serializable(
                config=request.config,
                report=__import__("pytest").TestReport(
                    nodeid=request.node.nodeid, location=request.node.location,
                    keywords={{}}, outcome="passed", longrepr=None, when="call",
                ),
            )
            channel.send(Report(report=report, marked=None))

        def test_after(): pass
        """
    )
    run = run_once(pytester, ["--nsisolate"])
    run.result.assert_outcomes(passed=2, failed=1)
    run.result.stdout.fnmatch_lines(["why: *changes that cannot be read*"])
    assert "'test_after': 'teardown'} as ever Kept" in run.stdout
