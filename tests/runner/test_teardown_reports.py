"""
The one report of a teardown, whatever fails in it and after it.
"""

from __future__ import annotations

import itertools
from typing import Any, Literal
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from property_tests import QUICKLY

from pytest_nsisolate.reporting.report import failed_report, report_to_message
from pytest_nsisolate.reporting.test_run import TestRun
from pytest_nsisolate.runner.roles import supervisor_of

SUITE = """
import os
import signal
import subprocess
import pytest

@pytest.fixture(scope="module")
def outside():
    yield
    assert False, "outside"

@pytest.fixture
def inside():
    yield
    print("printed")
    assert False, "inside"

@pytest.fixture
def killed():
    yield
    os.kill(os.getpid(), signal.SIGKILL)

@pytest.fixture
def leak():
    subprocess.Popen(["sleep", "60"])

pytestmark = pytest.mark.isolated(leaks="fail")

def test_two(inside, leak): pass
def test_killed(killed, leak): pass
def test_three(inside, leak, outside): assert False, "called"
"""


def errors_in(result: pytest.RunResult, name: str) -> str:
    """
    Return the lines about the teardown of the test *name*.
    """
    text = result.stdout.str()
    _, _, text = text.partition(f" ERROR at teardown of {name} _")
    lines = text.splitlines()[1:]
    return "\n".join(
        itertools.takewhile(lambda line: line[:2] not in {"__", "=="}, lines)
    )


def test_one_error(pytester: pytest.Pytester) -> None:
    """
    All that fails in the teardown of a test is reported as a single error.
    """
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess("--junitxml=report.xml")
    result.assert_outcomes(passed=2, failed=1, errors=3)
    two, three = errors_in(result, "test_two"), errors_in(result, "test_three")
    for text, name in [(two, "test_two"), (three, "test_three")]:
        assert "AssertionError: inside" in text
        assert f"{name} left 1 process (sleep 60" in text
        assert "printed" in text
    assert two.count("- another error in teardown -") == 1
    assert three.count("- another error in teardown -") == 2
    assert "    def outside():\n" in three
    assert "AssertionError: outside" in three
    assert "killed by SIGKILL during teardown" in errors_in(result, "test_killed")
    tree = ElementTree.parse(pytester.path / "report.xml")
    assert len(tree.findall(".//error")) == 3
    told = [one.text or "" for one in tree.findall(".//error")]
    assert sum("left 1 process" in text for text in told) >= 2


@pytest.mark.skipif(
    not hasattr(pytest, "Subtests"), reason="needs pytest's own subtests, since 9.0"
)
@pytest.mark.parametrize("last", ["assert False, 'inside'", "os._exit(3)", "pass"])
def test_subtests(pytester: pytest.Pytester, last: str) -> None:
    """
    The JUnit file is still written correctly if subtests failed before.
    """
    pytester.makepyfile(
        f"""
        import os
        import subprocess
        import pytest

        @pytest.fixture
        def inside():
            yield
            subprocess.Popen(["sleep", "60"])
            {last}

        @pytest.mark.isolated(leaks="fail")
        def test_parts(inside, subtests):
            for number in range(3):
                with subtests.test(number=number):
                    assert False

        def test_next(): pass
        """
    )
    result = pytester.runpytest_subprocess("--junitxml=report.xml")
    assert result.parseoutcomes() == {"failed": 4, "passed": 1, "errors": 1}
    tree = ElementTree.parse(pytester.path / "report.xml")
    assert [len(tree.findall(f".//{kind}")) for kind in ("failure", "error")] == [4, 1]


EXITS = """
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    yield
    pytest.exit("after the test")
"""


@pytest.mark.parametrize("switch", ["--no-nsisolate", "--nsisolate"])
def test_exit_after_teardown(pytester: pytest.Pytester, switch: str) -> None:
    """
    The teardown is reported even if the session ends in the guest after the test.
    """
    pytester.makeconftest(EXITS)
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def inside():
            yield
            assert False, "inside"

        def test_one(inside): pass
        """
    )
    result = pytester.runpytest_subprocess(switch)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*!! *Exit: after the test !!*"])


Told = tuple[Literal["setup", "call", "teardown"], str, str]

WHENS: list[Literal["setup", "call", "teardown"]] = ["setup", "call", "teardown"]

#: Reports that a guest can send only by writing to the channel itself; without
#: `Order` the writer of the JUnit XML file raises for them.
TWICE: list[Told] = [
    ("setup", "passed", ""),
    ("call", "failed", ""),
    ("call", "failed", ""),
    ("teardown", "failed", ""),
    ("teardown", "failed", ""),
]


#: More items than hypothesis tries.
MANY = """
import pytest

@pytest.mark.parametrize("number", range(3000))
def test_func(number): pass
"""


def test_any_order(pytester: pytest.Pytester) -> None:
    """
    Every failure is logged, whatever order a guest reports in and whatever follows.
    """
    module = pytester.getmodulecol(MANY, ("--junitxml=report.xml",))
    config, session = module.config, module.session
    items = iter(pytester.genitems([module]))
    logged: list[pytest.TestReport] = []

    class Log:
        """
        A plugin that records the reports logged.
        """

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            """
            Keep *report*.
            """
            logged.append(report)

    config.pluginmanager.register(Log())

    def failed(item: pytest.Item, text: str) -> pytest.TestReport:
        """
        Return the report for a teardown of *item* that fails with *text*.
        """
        return failed_report(
            item, "teardown", pytest.fail.Exception(text, pytrace=False)
        )

    @settings(QUICKLY, max_examples=400)
    @given(
        told=st.lists(
            st.tuples(
                st.sampled_from(WHENS),
                st.sampled_from(["passed", "failed", "skipped", "rerun"]),
                st.sampled_from(["", "", "", "another"]),
            ),
            max_size=12,
        ),
        crashes=st.booleans(),
        leaks=st.integers(0, 2),
        outside=st.booleans(),
    )
    @example(told=TWICE, crashes=False, leaks=0, outside=False)
    @example(told=TWICE[:-1], crashes=True, leaks=1, outside=True)
    def check(told: list[Told], *, crashes: bool, leaks: int, outside: bool) -> None:
        """
        Report *told* as a guest would, and check that every failure is logged.
        """
        item = next(items)
        logged.clear()
        run, texts = TestRun(item), []
        for number, (when, outcome, other) in enumerate(told):
            text: Any = f"failure {number}"
            if outcome == "skipped":
                text = "test_it.py", 1, text
            elif outcome == "failed":
                texts.append(text)
            report = pytest.TestReport(
                nodeid=item.nodeid + other,
                location=item.location,
                keywords={},
                outcome=outcome,  # type: ignore[arg-type]
                longrepr=None if outcome == "passed" else text,
                when=when,
            )
            run.hear(report_to_message(config, report), synchronous=False)
        if crashes:
            texts.append("crashed")
            run.borrow(supervisor_of(config).borrowing.set_up(item))
            run.fail("crashed", {})
        for number in range(leaks):
            texts.append(f"leak {number}")
            run.fail_teardown(failed(item, texts[-1]), ValueError("so"))
        if outside:
            texts.append("outside")
            run.complete_teardown(failed(item, "outside"))
        else:
            run.log_held()
        shown = "\n".join(str(one.longrepr) for one in logged if one.failed)
        assert [text for text in texts if text not in shown] == []

    check()
    config.hook.pytest_sessionfinish(session=session, exitstatus=1)
    tree = ElementTree.parse(pytester.path / "report.xml")
    assert len(tree.findall(".//testcase/failure")) > 0
