"""
Reports of tests, with and without isolation.
"""

from __future__ import annotations

import sys

import pytest
from sources import ERRORS, EXPECTED_FAILURES, FEW, OUTCOMES, PHASES
from twins import Twins, reports_of, run_once

pytestmark = pytest.mark.python

GROUPS = """
    def test_group():
        inner = ExceptionGroup("in", [KeyError(1)])
        raise ExceptionGroup("some", [ValueError("a"), inner])

    def test_group_from():
        try:
            raise ExceptionGroup("first", [OSError(2, "none")])
        except ExceptionGroup as group:
            raise RuntimeError("second") from group

    def test_base_group():
        raise BaseExceptionGroup("all", [SystemExit(3), ValueError("v")])

    def test_note():
        error = ValueError("noted")
        error.add_note("a note")
        raise error
"""


@pytest.mark.parametrize("source", [OUTCOMES, EXPECTED_FAILURES, PHASES, ERRORS])
def test_outcomes(pytester: pytest.Pytester, twins: Twins, source: str) -> None:
    """
    Every outcome is reported as in a plain run, in every section of the summary.
    """
    pytester.makepyfile(source)
    twins("-rA", "-vv")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs ExceptionGroup")
@pytest.mark.parametrize("style", ["auto", "short", "native"])
def test_exception_groups(pytester: pytest.Pytester, twins: Twins, style: str) -> None:
    """
    Exception groups and notes are shown as in a plain run.
    """
    pytester.makepyfile(GROUPS)
    twins(f"--tb={style}")


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native", "no"])
def test_traceback_styles(pytester: pytest.Pytester, twins: Twins, style: str) -> None:
    """
    Tracebacks are shown as in a plain run in every style.
    """
    pytester.makepyfile(test_few=FEW, test_errors=ERRORS)
    twins(f"--tb={style}")


@pytest.mark.parametrize(
    "arguments",
    [
        ("-l",),
        ("-qq",),
        ("-v",),
        ("-x",),
        ("--maxfail=3",),
        ("--color=yes", "-v"),
        ("--durations=0", "-vv"),
        ("--strict-markers", "--runxfail"),
        ("-p", "no:terminal"),
        ("-o", "console_output_style=count"),
        ("-W", "error"),
    ],
    ids=" ".join,
)
def test_options(
    pytester: pytest.Pytester, twins: Twins, arguments: tuple[str, ...]
) -> None:
    """
    Options that change what is shown have their usual effect.
    """
    pytester.makepyfile(test_few=FEW)
    twins(*arguments)


@pytest.mark.parametrize(
    "statement",
    [
        "pytest.exit('enough')",
        "pytest.exit('enough', returncode=42)",
        "raise KeyboardInterrupt",
        "raise KeyboardInterrupt('text')",
        "os.kill(os.getpid(), 2)",
    ],
)
@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
def test_end_of_session(
    pytester: pytest.Pytester, twins: Twins, statement: str, phase: str
) -> None:
    """
    What ends a session does so with its text and exit code, after the usual teardown.
    """
    statements = {"setup": "pass", "call": "pass", "teardown": "pass", phase: statement}
    pytester.makepyfile(
        f"""
        import os
        import pytest

        @pytest.fixture(scope="session")
        def wide():
            yield
            os.write(os.open("finalised", os.O_CREAT | os.O_WRONLY | os.O_APPEND), b".")

        @pytest.fixture
        def narrow(wide):
            {statements["setup"]}
            yield
            {statements["teardown"]}

        def test_first():
            pass

        def test_end(narrow):
            {statements["call"]}

        def test_never_reached():
            pass
        """
    )
    run = twins()
    assert "test_never_reached" not in str(run.events)
    assert (pytester.path / "finalised").read_text() == ".."


def test_endless_recursion(pytester: pytest.Pytester) -> None:
    """
    Endless recursion is an error of the test, with a shortened traceback.
    """
    pytester.makepyfile("def test_one(): test_one()")
    run = run_once(pytester, ["--nsisolate"])
    assert run.outcomes[1] == ("call", "failed")
    assert "RecursionError: maximum recursion depth exceeded" in run.stdout


def test_user_properties(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    User properties arrive in every report, as tuples.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def narrow(record_property):
            record_property("setup", 1)
            yield
            record_property("teardown", 2.5)

        def test_one(record_property, narrow):
            record_property("text", "<&>")
            record_property("true", True)
            record_property("none", None)
            assert 0

        def test_none():
            pass
        """
    )
    run = twins("-vv")
    assert "('text', '<&>')" in run.reports[2]["user_properties"]


@pytest.mark.parametrize("scope", ["function", "module"])
def test_keywords(pytester: pytest.Pytester, twins: Twins, scope: str) -> None:
    """
    Marks that a test or its fixtures add are among the keywords of its reports.
    """
    pytester.makeini(f"[pytest]\nnsisolate_scope = {scope}")
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def wide(request):
            request.node.add_marker("of_module")

        @pytest.fixture
        def narrow(request):
            request.node.add_marker("of_fixture")
            yield
            request.node.add_marker("of_teardown")

        def test_none(): pass
        def test_own(request): request.node.add_marker("of_test")
        def test_fixtures(wide, narrow): pass
        def test_after(): pass
        """
    )
    run = twins()
    assert "of_test" in run.reports[4]["keywords"]
    assert "of_teardown" in run.reports[8]["keywords"]
    assert "of_module" in run.reports[-1]["keywords"]


def test_additions(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    What hooks add to a report that has passed, or change in it, arrives.
    """
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(item, call):
            outcome = yield
            report = outcome.get_result()
            match item.name:
                case "test_attribute": report.added = {1: "x"}
                case "test_duration": report.duration = 2
                case "test_location": report.location = ("other.py", 3, "other")
                case "test_sections": report.sections.append(("title", "content"))
                case "test_value": report.keywords["test_value"] = 2
                case "test_keyword": report.keywords["added"] = 1
                case "test_name": report.keywords[1] = 1
        """
    )
    names = [
        "none",
        "attribute",
        "duration",
        "location",
        "sections",
        "value",
        "keyword",
        "name",
    ]
    pytester.makepyfile("\n".join(f"def test_{name}(): pass" for name in names))
    twins("--durations=0", "-vv")


def test_serialisation(pytester: pytest.Pytester) -> None:
    """
    What a plugin adds to the serialised form of a report arrives.
    """
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(hookwrapper=True)
        def pytest_report_to_serializable(report):
            outcome = yield
            if outcome.get_result() is not None:
                outcome.get_result()["added"] = f"to {report.when}"
        """
    )
    pytester.makepyfile("def test_one(): pass")
    run = run_once(pytester, ["--nsisolate"])
    added = [report["added"] for report in run.reports]
    assert added == ["to setup", "to call", "to teardown"]


def test_order_of_events(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Start, setup, call, teardown and finish of a test are reported in this order.
    """
    pytester.makepyfile("def test_one(): pass")
    run = twins()
    kinds = [event[0] for event in run.events]
    assert kinds == ["start", "report", "report", "report", "finish"]
    assert [when for when, _ in run.outcomes] == ["setup", "call", "teardown"]


#: A plugin: a clock for what pytest measures, which only `spend` moves.
CLOCK = """
import pytest

now = 0

def spend(seconds):
    global now
    now += seconds

def pytest_configure(config):
    patched = pytest.MonkeyPatch()
    config.add_cleanup(patched.undo)
    for name in ("time", "perf_counter"):
        patched.setattr(f"_pytest.timing.{name}", lambda: now)
"""


def test_time_of_a_test(pytester: pytest.Pytester) -> None:
    """
    The duration of each phase is the time it took, including borrowed fixtures.
    """
    pytester.makepyfile(clock=CLOCK)
    pytester.makeconftest("pytest_plugins = ['clock']")
    pytester.makepyfile(
        """
        import pytest
        from clock import spend

        @pytest.fixture(scope="module")
        def wide():
            spend(1)
            yield
            spend(2)

        @pytest.fixture
        def narrow(wide):
            spend(4)
            yield
            spend(8)

        def test_one(narrow):
            spend(16)
        """
    )
    reports = reports_of(pytester)
    assert [report.duration for report in reports] == [1 + 4, 16, 8 + 2]
    setup, call, teardown = reports
    assert setup.start < setup.stop <= call.start < call.stop <= teardown.start


def test_assertion_plugins(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A project's own explanations of comparisons are used.
    """
    pytester.makeconftest(
        """
        def pytest_assertrepr_compare(config, op, left, right):
            return [f"{left} against {right}", "by a hook"]
        """
    )
    pytester.makepyfile("def test_one(): assert 1 == 2")
    assert "by a hook" in twins().stdout
