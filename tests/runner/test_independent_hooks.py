"""
Hooks that keep nothing of a test for others: they need not run one after the other.
"""

from __future__ import annotations

import re

import pytest
from meeting import MEET
from twins import normal
from ways import RunPytest

#: Results for a fixture, as in pytest's documentation, and for the end of the session.
CONFTEST = """
import pytest

reports = pytest.StashKey()
seen = []
outcomes = {}
letters = {"all": set()}

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.stash.setdefault(reports, {})[report.when] = report
    setattr(item, f"is_{report.when}", report.passed)
    seen.append((item.name, report.when))
    outcomes.setdefault(item.nodeid, {})[report.when] = report.outcome
    letters["all"].add(item.name[-1])
    return report

@pytest.fixture
def something(request):
    yield
    found = request.node.stash[reports]
    print("outcomes", found["setup"].outcome, found["call"].outcome)

def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"seen: {seen}")
    terminalreporter.write_line(f"outcomes: {outcomes}")
    terminalreporter.write_line(f"letters: {sorted(letters['all'])}")
    for item in terminalreporter._session.items:
        kept = sorted(name for name in vars(item) if name.startswith("is_"))
        terminalreporter.write_line(f"{item.name}: {kept}")
"""

TESTS = (
    MEET
    + """
NAMES = [f"at{number}" for number in range(4)]

@pytest.mark.parametrize("name", NAMES)
def test_meets(something, name):
    if os.environ.get("MEET"):
        meet(name, *NAMES)
    assert name != "at2"

def test_skips(something):
    pytest.skip("so it is")

@pytest.mark.parametrize("number", range(10))
def test_more(number):
    pass
"""
)


def lines_of(result: pytest.RunResult) -> list[str]:
    """
    Return what the terminal shows, without what differs from run to run.
    """
    return normal(re.sub(r", \d jobs$", "", result.stdout.str(), flags=re.MULTILINE))


@pytest.mark.parametrize("source", ["option", "ini"])
def test_independent(
    pytester: pytest.Pytester,
    run_both_ways: RunPytest,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
) -> None:
    """
    Tests run at the same time, and what hooks keep comes back as with one job.
    """
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    options = ["--nsisolate-independent-hooks=another,conftest"]
    if source == "ini":
        pytester.makeini("[pytest]\nnsisolate_independent_hooks = conftest another")
        options = []

    one = run_both_ways("-rA", "-W", "error", *options)
    monkeypatch.setenv("MEET", "1")
    more = run_both_ways("-rA", "-W", "error", *options, "--nsisolate-jobs=4")

    more.assert_outcomes(passed=13, failed=1, skipped=1)
    more.stdout.fnmatch_lines(["nsisolate: *, 4 jobs"])
    assert lines_of(more) == lines_of(one)


def test_not_said(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The hook of another module still takes one job.
    """
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    options = ["--nsisolate-independent-hooks=another", "--nsisolate-jobs=4"]
    result = run_both_ways(*options)
    why = "pytest_runtest_makereport() of conftest"
    result.stdout.fnmatch_lines([f"nsisolate: *, one job instead of 4 ({why})"])


#: Statements that spoil what tests keep at the same time, and what is said of them.
CLASHES = [
    ("item.session.number = getattr(item.session, 'number', 0) + 1", "Session.number"),
    ("last['name'] = item.name", "conftest.last"),
    ("names.discard(item.name)", "conftest.names"),
    ("some[:] = [*some, item.name]", None),
    ("some[:] = [item.name]", "conftest.some"),
    ("some[0]['name'] = item.name", "conftest.some[[]...]"),
]


@pytest.mark.parametrize(
    ("line", "what"), CLASHES, ids=[what or line for line, what in CLASHES]
)
def test_clash(
    pytester: pytest.Pytester,
    run_both_ways: RunPytest,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    what: str | None,
) -> None:
    """
    If what was said is not so, a warning names what may be wrong.
    """
    pytester.makeconftest(
        f"""
        import pytest

        last = {{"name": None}}
        names = {{f"test_meets[at{{number}}]" for number in range(4)}}
        some = [{{}}]

        def pytest_runtest_makereport(item, call):
            if call.when == "call":
                {line}

        @pytest.fixture
        def something():
            pass
        """
    )
    pytester.makepyfile(TESTS)
    monkeypatch.setenv("MEET", "1")
    options = ["--nsisolate-independent-hooks=conftest", "--nsisolate-jobs=4"]

    result = run_both_ways(*options)

    result.assert_outcomes(passed=13, failed=1, skipped=1, warnings=int(bool(what)))
    if what is not None:
        hook = "pytest_runtest_makereport() of conftest.py"
        found = "ran beside other tests and has changed what it found there"
        known = "another test has kept something since it started"
        fix = "run with --nsisolate-jobs=1, or keep in its item what is of one test"
        result.stdout.fnmatch_lines(
            [
                f"*HookWarning: {what} may be wrong, which {hook} has kept",
                f"*why: test_* {found}, but {known}",
                f"*fix: {fix}",
            ]
        )
