"""
Results as an editor gets them from its plugin, such as that of VS Code.
"""

from __future__ import annotations

from pathlib import Path

import pytest

#: As the plugin of VS Code, tells of each test once, and of some before they run.
PLUGIN = """
import os
import pytest

told = set()

def tell(nodeid, outcome):
    if nodeid not in told:
        told.add(nodeid)
        with open(os.environ["PIPE"], "a") as pipe:
            pipe.write(f"{nodeid} {outcome}\\n")

@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_protocol(item):
    if item.get_closest_marker("skip"):
        tell(item.nodeid, "skipped")
    return (yield)

def pytest_exception_interact(node, call, report):
    tell(node.nodeid, call.excinfo.typename)

@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_report_teststatus(report):
    if report.when == "call" or (report.when == "setup" and report.skipped):
        tell(report.nodeid, report.outcome)
    return (yield)
"""

TESTS = """
import os
import pytest

skip = pytest.mark.skip(reason="to see it skipped")

@pytest.mark.isolated(scope="class")
class TestShared:
    def test_first(self): pass
    @skip
    def test_skipped(self): pass
    @pytest.mark.parametrize("one", [1, pytest.param(2, marks=skip), 3])
    def test_parameters(self, one): assert one == 1

def test_alone(): raise LookupError
@skip
def test_skipped(): pass
def test_last(): pass
"""


@pytest.mark.parametrize("jobs", [1, 3])
def test_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """
    An editor is told of each test once, in order, also of those that share a sandbox.
    """
    pytester.makepyfile(vscode_pytest=PLUGIN, test_it=TESTS)
    told = []
    for way in (["--no-nsisolate"], ["--nsisolate", f"--nsisolate-jobs={jobs}"]):
        pipe = Path("pipe")
        monkeypatch.setenv("PIPE", str(pipe.resolve()))
        result = pytester.runpytest_subprocess("-p", "vscode_pytest", *way)
        result.assert_outcomes(passed=3, failed=2, skipped=3)
        told.append(pipe.read_text().splitlines())
        pipe.unlink()
    plain, isolated = told
    assert len(plain) == 8
    assert isolated == plain
