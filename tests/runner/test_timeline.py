"""
The page that ``--nsisolate-timeline`` writes: what ran when, and why lanes were empty.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from meeting import MEET
from pages import Page
from ways import RunPytest

PAGE = "--nsisolate-timeline=line.html"
PYTEST = ("-p", "no:cacheprovider")


def page_of(pytester: pytest.Pytester) -> Page:
    """
    Return the page that a run has written, and see that it left nothing else.
    """
    assert [*pytester.path.glob("*.tmp")] == []
    return Page(pytester.path / "line.html")


def test_lanes(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Tests that meet are in different lanes at the same time.
    """
    pytester.makepyfile(
        MEET
        + """
NAMES = ["0", "1", "2"]

@pytest.mark.parametrize("name", NAMES)
def test_meets(name):
    meet(name, *NAMES)

@pytest.mark.parametrize("number", range(5))
def test_more(number):
    pass
"""
    )
    result = run_both_ways(PAGE, "--nsisolate-jobs=3")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines([f"time line: {pytester.path}/line.html"])

    page = page_of(pytester)
    assert page.lanes == ["pytest", "lane 1", "lane 2", "lane 3"]
    met = [page.test(f"test_meets[{name}]") for name in "012"]
    assert {one.lane for one in met} == {"lane 1", "lane 2", "lane 3"}
    assert all(one.overlaps(other) for one in met for other in met)
    for one in page.tests:
        assert (one.outcome, one.phases) == ("passed", ("setup", "call", "teardown"))
        others = [other for other in page.tests if other is not one]
        assert not any(one.overlaps(two) for two in others if two.lane == one.lane)
    assert "8 tests ran isolated." in page.text


def test_groups(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The page says which test a lane waited for, and what it shares with one that ran.
    """
    pytester.makepyfile(
        MEET
        + """
@pytest.mark.isolated(group="db")
def test_one():
    wait_for("beside")

@pytest.mark.isolated(group="db")
def test_two():
    pass

def test_beside():
    (HERE / "beside").touch()
"""
    )
    run_both_ways(PAGE, "--nsisolate-jobs=3").assert_outcomes(passed=3)
    page = page_of(pytester)
    one, two, beside = (page.test(f"test_{name}") for name in ("one", "two", "beside"))
    assert one.overlaps(beside)
    assert one.stop <= two.start
    reason = "tests that share something waited for each other: group db"
    assert two.text in [some.nodeid for some in page.empties if some.text == reason]
    assert reason in page.text


def test_one_job(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    With one job there is one lane, in which tests follow each other.
    """
    pytester.makepyfile(
        """
        import os
        import pytest

        pytestmark = pytest.mark.isolated

        def test_passes(): pass
        def test_fails(): assert False
        def test_crashes(): os._exit(3)
        @pytest.mark.skip
        def test_skipped(): pass
        @pytest.fixture
        def broken(): assert False
        def test_error(broken): pass
        @pytest.mark.xfail
        def test_expected(): assert False
        """
    )
    run_both_ways(PAGE).assert_outcomes(
        passed=1, failed=2, skipped=1, errors=1, xfailed=1
    )
    page = page_of(pytester)
    assert page.lanes == ["pytest", "lane 1"]
    found = [(one.lane, one.text.partition("::")[2], one.outcome) for one in page.tests]
    assert found == [
        ("lane 1", "test_passes", "passed"),
        ("lane 1", "test_fails", "failed"),
        ("lane 1", "test_crashes", "failed"),
        ("lane 1", "test_error", "error"),
        ("lane 1", "test_expected", "xfailed"),
    ]
    edges = [edge for one in page.tests for edge in (one.start, one.stop)]
    assert sorted(edges) == edges
    assert page.test("test_error").phases == ("setup", "teardown")
    assert "5 tests ran isolated, 1 did not start: 2 failed, 1 error" in page.text


def test_fixtures_outside(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The page says which fixture lanes waited for, when it was set up and when finalised.
    """
    pytester.makepyfile(
        meeting=MEET,
        test_a="""
from meeting import *

def test_one():
    meet("a1", "a2")

def test_two():
    meet("a2", "a1")
""",
        test_b="""
from meeting import *

@pytest.fixture(scope="module")
def database():
    yield

@pytest.fixture(autouse=True)
def inside():
    pass

def test_one(database):
    meet("b1", "b2")

def test_two(database):
    meet("b2", "b1")
""",
    )
    run_both_ways(PAGE, "--nsisolate-jobs=2").assert_outcomes(passed=4)
    page = page_of(pytester)
    before, after = (
        [one for one in page.tests if one.text.startswith(name)]
        for name in ("test_a", "test_b")
    )
    assert before[0].overlaps(before[1])
    assert after[0].overlaps(after[1])
    marks = {one.text: one for one in page.marks}
    made = marks["module fixture database set up"]
    gone = marks["module fixture database finalised"]
    assert [one for one in marks if "fixture" in one] == [made.text, gone.text]
    assert {made.lane, gone.lane} == {"pytest"}
    assert made.nodeid == "test_b.py::test_one"
    assert gone.nodeid == "test_b.py::test_two"
    assert max(one.stop for one in before) <= made.start
    assert made.stop <= min(one.start for one in after)
    assert max(one.stop for one in after) <= gone.start
    what = "module fixture database"
    reasons = {one.text: one.nodeid for one in page.empties}
    assert reasons[f"a fixture was set up outside: {what}"] == made.nodeid
    assert reasons[f"a fixture was finalised outside: {what}"] == gone.nodeid
    waited = "others had to end before a fixture was set up or finalised"
    assert reasons[f"{waited}: {what}"] == made.nodeid


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        ("isolated(alone=True)", "a test ran alone (alone=True), or others had to end"),
        ("isolated(nproc=50)", "a test ran alone (nproc=), or others had to end"),
        ("usefixtures()", "others had to end before a test on the host"),
        ("isolated(nothing=1)", "others had to end before a test with a wrong marker"),
    ],
)
def test_reasons(pytester: pytest.Pytester, mark: str, reason: str) -> None:
    """
    The page says which test others had to wait for, and why.
    """
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.isolated
        def test_before(): pass

        @pytest.mark.{mark}
        def test_hinders(): pass

        @pytest.mark.isolated
        def test_after(): pass
        """
    )
    pytester.runpytest_subprocess(*PYTEST, PAGE, "--nsisolate-jobs=2")
    page = page_of(pytester)
    found = [one for one in page.empties if one.nodeid.endswith("::test_hinders")]
    assert any(one.text.startswith(reason) for one in found)
    before, after = page.test("test_before"), page.test("test_after")
    assert all(before.start < one.start < after.stop for one in found)
    if mark == "usefixtures()":
        assert page.test("test_hinders").lane == "pytest"
        assert "a test ran on the host" in page.text


def test_shared_sandbox(pytester: pytest.Pytester) -> None:
    """
    Tests that share a sandbox follow each other, and what they share is named.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated(scope="class")
        class TestThem:
            def test_one(self): pass
            def test_two(self): pass
        """
    )
    pytester.runpytest_subprocess(*PYTEST, PAGE).assert_outcomes(passed=2)
    one, two = page_of(pytester).tests
    assert one.stop <= two.start
    assert {one.shares, two.shares} == {"class test_shared_sandbox.py::TestThem"}


def test_turns(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Of a test that had to wait for its turn, the page says since when and until when.
    """
    # Only the supervisor knows when it has learnt that.
    pytester.makeconftest(
        """
        from pathlib import Path

        def pytest_sessionstart(session):
            line = session.config.pluginmanager.get_plugin("nsisolate-timeline")
            held = line.held

            def tell(guest):
                held(guest)
                Path("held").touch()

            line.held = tell
        """
    )
    pytester.makepyfile(
        MEET
        + """
def test_first():
    wait_for("second", "held")

def test_second():
    (HERE / "second").touch()

def test_third(capfd):
    with capfd.disabled():
        print("at its turn")
"""
    )
    run_both_ways(PAGE, "--nsisolate-jobs=3").assert_outcomes(passed=3)
    page = page_of(pytester)
    first, second, third = page.tests
    assert third.held is not None
    assert third.turn is not None
    assert second.turn is not None
    assert third.start < third.held <= third.turn <= third.stop
    assert first.stop <= second.turn <= third.turn
    assert second.held is None
    assert "Tests that had to wait for their turn" in page.text


def test_dropped(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A test that ran ahead when ``-x`` stopped the session is shown as dropped.
    """
    pytester.makepyfile(
        MEET
        + """
def test_fails():
    wait_for("ahead")
    assert False

def test_ahead():
    meet("ahead", "never")
"""
    )
    run_both_ways(PAGE, "--nsisolate-jobs=2", "-x").assert_outcomes(failed=1)
    page = page_of(pytester)
    failed, ahead = page.tests
    assert (failed.outcome, ahead.outcome, ahead.turn) == ("failed", "dropped", None)
    assert failed.overlaps(ahead)


STOPS = """
import os
import pytest

pytestmark = pytest.mark.isolated

def test_one(): pass

def test_two():
    if HOW == "exit":
        pytest.exit("enough")
    if HOW == "interrupt":
        raise KeyboardInterrupt

def test_three(): pass
"""


@pytest.mark.parametrize("how", ["exit", "interrupt", "error"])
def test_session_stops(pytester: pytest.Pytester, how: str) -> None:
    """
    Whatever ends the session, the page is written, with what ran until then.
    """
    if how == "error":
        pytester.makeconftest(
            """
            def pytest_runtest_logstart(nodeid):
                assert not nodeid.endswith("test_two")
            """
        )
    pytester.makepyfile(f"HOW = {how!r}\n{STOPS}")
    result = pytester.runpytest_subprocess(*PYTEST, PAGE)
    assert result.ret not in {0, 1}
    page = page_of(pytester)
    assert page.test("test_one").outcome == "passed"
    assert [one.outcome for one in page.tests][1:] in ([], ["unfinished"])
    assert len(page.tests) == (1 if how == "error" else 2)


#: An id with what ends a script, a placeholder, quotes, a sign that is not ASCII, a
#: surrogate, a sign that turns the direction of text, and one that no file can have.
ODD = "</script><b>{{data}}&amp;\"'é\udc80\u202e\x00"


def test_odd_names(pytester: pytest.Pytester) -> None:
    """
    Ids of tests are text in the page, whatever is in them.
    """
    never = "disable_test_id_escaping_and_forfeit_all_rights_to_community_support"
    pytester.makeini(f"[pytest]\n{never} = true")
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.fixture(scope="session", params=[1], ids=[{ODD!r}])
        def wide(request): pass

        @pytest.mark.isolated
        def test_it(wide): pass

        def test_on_host(wide): pass
        """
    )
    pytester.runpytest_subprocess(*PYTEST, PAGE)
    page = page_of(pytester)
    # The summary has such markup, the tables have not.
    assert "b" not in page.elements[page.elements.index("table") :]
    assert [one.get("id") for one in page.scripts] == ["data", None]
    shown = ODD.replace("\udc80", r"\udc80").replace("\u202e", r"\u202e")
    shown = shown.replace("\x00", r"\x00")
    assert [one.text.partition("::")[2] for one in page.tests] == [
        f"test_on_host[{shown}]",
        f"test_it[{shown}]",
    ]
    assert f"test_it[{shown}]" in page.text


def test_nothing_isolated(pytester: pytest.Pytester) -> None:
    """
    If no test was isolated, the page says so, and shows what ran on the host.
    """
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_subprocess(*PYTEST, PAGE).assert_outcomes(passed=1)
    page = page_of(pytester)
    assert "No test was isolated in this run." in page.text
    assert [(one.lane, one.outcome) for one in page.tests] == [("pytest", "passed")]


def test_nothing_ran(pytester: pytest.Pytester) -> None:
    """
    If there is no test at all, the page says that too.
    """
    pytester.runpytest_subprocess(*PYTEST, PAGE)
    page = page_of(pytester)
    assert "No test ran." in page.text
    assert page.spans() == []


BAD = """
ERROR: cannot use --nsisolate-timeline={value}
why: {why}
fix: {fix}
"""


@pytest.mark.parametrize(
    ("value", "why", "fix"),
    [
        ("no/line.html", "there is no directory {path}/no", "mkdir -p {path}/no"),
        (
            "folder",
            "{path}/folder is a directory",
            "write --nsisolate-timeline={path}/folder/timeline.html",
        ),
        (
            "test_it.py",
            "{path}/test_it.py is there, and is not a time line that pytest wrote",
            "write --nsisolate-timeline=timeline.html on the command line",
        ),
        (
            "/dev/null",
            "/dev/null is there, and is not a time line that pytest wrote",
            "write --nsisolate-timeline=timeline.html on the command line",
        ),
        (
            "test_it.py/line.html",
            "{path}/test_it.py is not a directory",
            "write --nsisolate-timeline=timeline.html on the command line",
        ),
        (
            "/proc/line.html",
            "no file can be made in /proc: ENOENT",
            "write --nsisolate-timeline=/tmp/timeline.html",
        ),
    ],
)
def test_bad_file(pytester: pytest.Pytester, value: str, why: str, fix: str) -> None:
    """
    A file that cannot be written is a usage error before any test, and keeps its text.
    """
    pytester.makepyfile(test_it="def test_it(): open('ran', 'w')")
    pytester.mkdir("folder")
    command = [*PYTEST, f"--nsisolate-timeline={value}"]
    result = pytester.runpytest_subprocess(*command)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    expected = BAD.format(value=value, why=why, fix=fix).format(path=pytester.path)
    assert expected.strip() in result.stderr.str()
    assert not pytester.path.joinpath("ran").exists()
    assert "def test_it" in pytester.path.joinpath("test_it.py").read_text()
    # What is to be typed works.
    words = fix.format(path=pytester.path).split()
    if words[0] == "mkdir":
        subprocess.run(words, check=True)
    elif "=/tmp/" in words[1]:
        # That file is not the test's own.
        return
    else:
        command[-1] = words[1]
    pytester.runpytest_subprocess(*command).assert_outcomes(passed=1)


def test_written_again(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """
    A page takes the place of an older one, also behind a link, in one step.
    """
    pytester.makepyfile("def test_it(): pass")
    real = tmp_path / "real.html"
    real.touch()
    pytester.path.joinpath("line.html").symlink_to(real)
    # Relative to where pytest was started, not to its rootdir.
    for _ in range(2):
        before = real.stat().st_ino
        pytester.runpytest_subprocess(*PYTEST, PAGE).assert_outcomes(passed=1)
        assert real.stat().st_ino != before
    assert pytester.path.joinpath("line.html").is_symlink()
    assert [*tmp_path.glob("*.tmp")] == []
    assert [one.outcome for one in Page(real).tests] == ["passed"]


def test_not_writable_any_more(pytester: pytest.Pytester) -> None:
    """
    If the page cannot be written at the end, the session says so, and goes well.
    """
    pytester.makepyfile("import os\ndef test_it(): os.rmdir('folder')")
    pytester.mkdir("folder")
    page = "--nsisolate-timeline=folder/line.html"
    result = pytester.runpytest_subprocess(*PYTEST, page)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*= time line =*",
            f"cannot write {pytester.path}/folder/line.html: No such file or directory",
            "why: it could be written when the session began",
            "fix: write --nsisolate-timeline=/tmp/timeline.html*",
        ]
    )


def test_fork_that_leaves(pytester: pytest.Pytester) -> None:
    """
    A fork of pytest that a test lets go to the end of the session writes no page.
    """
    pytester.makepyfile(
        """
        import os
        from pathlib import Path

        def test_forks():
            if not os.fork():
                raise SystemExit
            os.wait()
            assert not Path("line.html").exists()
        """
    )
    result = pytester.runpytest_subprocess(*PYTEST, PAGE)
    assert result.ret == 0
    (one,) = page_of(pytester).tests
    assert one.outcome == "passed"


def test_costs_nothing(pytester: pytest.Pytester) -> None:
    """
    Without the option nothing is imported for it.
    """
    pytester.makeconftest(
        """
        import json
        import sys
        from pathlib import Path

        def pytest_unconfigure():
            Path("loaded").write_text(json.dumps([*sys.modules]))
        """
    )
    pytester.makepyfile("import pytest\n@pytest.mark.isolated\ndef test_it(): pass")
    pytester.runpytest_subprocess(*PYTEST).assert_outcomes(passed=1)
    loaded = json.loads(pytester.path.joinpath("loaded").read_text())
    names = ("timeline", "timeline_page", "lost_time", "record")
    of_page = {f"pytest_nsisolate.reporting.{name}" for name in names}
    assert "pytest_nsisolate.reporting.witness" in loaded
    assert of_page & {*loaded} == set()


BROWSER = next(filter(None, map(shutil.which, ["chromium", "google-chrome"])), None)


@pytest.mark.skipif(BROWSER is None, reason="there is no browser")
def test_in_a_browser(pytester: pytest.Pytester) -> None:
    """
    A browser runs the script of the page: it shows the picture and lists the tests.
    """
    assert BROWSER is not None
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("text", ["<b>", "</script>", "\\udc80"])
        @pytest.mark.isolated
        def test_it(text): pass
        """
    )
    pytester.runpytest_subprocess(*PYTEST, PAGE).assert_outcomes(passed=3)
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu"),
            *(f"--user-data-dir={pytester.path}/profile", "--dump-dom"),
            pytester.path.joinpath("line.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    rows = done.stdout.partition(' id="rows">')[2].partition("</tbody>")[0]
    assert rows.count("<tr ") == 3
    assert "test_it[&lt;b&gt;]" in rows
    assert '<section id="picture" aria-labelledby' in done.stdout
