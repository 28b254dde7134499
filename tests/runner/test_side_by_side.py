"""
Tests that run side by side: what runs at the same time, what does not, what is shown.
"""

from __future__ import annotations

import re

import pytest
from meeting import MEET
from twins import normal
from ways import RunPytest


def lines_of(result: pytest.RunResult) -> list[str]:
    """
    Return what the terminal shows, without what differs from run to run.
    """
    return normal(re.sub(r", \d jobs$", "", result.stdout.str(), flags=re.MULTILINE))


def test_at_the_same_time(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    As many tests run at once as there are jobs, and the header says how many.
    """
    pytester.makepyfile(
        MEET
        + """
NAMES = [f"at{number}" for number in range(4)]

@pytest.mark.parametrize("name", NAMES)
def test_meets(name):
    meet(name, *NAMES)
"""
    )
    result = run_both_ways("--nsisolate-jobs=4")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["nsisolate: ipc uts pid mnt (*), 4 jobs"])


def test_at_most(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    No more tests run at once than there are jobs.
    """
    pytester.makepyfile(
        MEET
        + """
@pytest.mark.parametrize("number", range(30))
def test_counts(number):
    own = HERE / f"running{number}"
    own.touch()
    try:
        assert len([*HERE.glob("running*")]) <= 2
        time.sleep(0.005)
    finally:
        own.unlink()
"""
    )
    run_both_ways("--nsisolate-jobs=2").assert_outcomes(passed=30)


def test_in_order(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    What is shown of a test comes when it is its turn, though others ended before it.
    """
    pytester.makepyfile(
        MEET
        + """
def test_last_to_end():
    wait_for("failed", "passed")

def test_fails():
    print("of the one that fails")
    (HERE / "failed").touch()
    assert False, "so it is"

def test_passes():
    os.system("echo not shown")
    (HERE / "passed").touch()
"""
    )
    result = run_both_ways("-v", "--nsisolate-jobs=3")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*::test_last_to_end PASSED*",
            "*::test_fails FAILED*",
            "*::test_passes PASSED*",
            "*= FAILURES =*",
            "of the one that fails",
        ]
    )
    result.stdout.no_fnmatch_line("not shown")


def test_times_of_reports(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A phase begins before it ends, also if something is finalised outside after it.
    """
    pytester.makeconftest(
        """
        def pytest_runtest_logreport(report):
            assert report.start <= report.stop, report
        """
    )
    pytester.makepyfile(
        MEET
        + """
@pytest.fixture(scope="module", autouse=True)
def wide():
    yield

def test_first():
    wait_for("over")

def test_last():
    (HERE / "over").touch()
"""
    )
    run_both_ways("--nsisolate-jobs=2").assert_outcomes(passed=2)


MIXED = """
import os
import warnings

import pytest

@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    print("set up once")
    with (tmp_path_factory.getbasetemp() / "wide").open("a") as file:
        file.write("set up\\n")
    yield tmp_path_factory.getbasetemp() / "wide"
    print("torn down")

@pytest.fixture
def narrow(wide):
    print("narrow")
    yield
    print("narrow again")

@pytest.mark.isolated
@pytest.mark.parametrize("number", range(6))
def test_borrows(wide, narrow, number, tmp_path):
    print("number", number)
    warnings.warn(f"of {number}")
    assert wide.read_text() == "set up\\n"
    assert number != 2

def test_on_host(wide):
    print("on the host")

@pytest.mark.isolated
class TestMore:
    @pytest.fixture(scope="class", params=["a", "b"])
    def letter(self, request):
        return request.param

    @pytest.mark.parametrize("number", range(3))
    def test_letters(self, letter, number):
        print(letter, number)
        assert (letter, number) != ("b", 1)

    @pytest.mark.skipif("True", reason="for a reason")
    def test_skipped(self):
        pass

    @pytest.mark.xfail(strict=True)
    def test_xfail(self):
        assert False

    @pytest.mark.skipif("False", reason="not at all")
    def test_not_skipped(self, record_property):
        record_property("key", "value")

    def test_crashes(self):
        print("last words", flush=True)
        os._exit(0)

    @pytest.mark.isolated(scope="class")
    def test_shares(self):
        pass

    @pytest.mark.isolated(scope="class")
    def test_shares_too(self):
        pass

@pytest.mark.isolated
@pytest.mark.parametrize("a_name_that_is_longer_than_tmp_path_takes", range(4))
def test_long_names(tmp_path, a_name_that_is_longer_than_tmp_path_takes):
    print(tmp_path.name)
    assert False
"""


@pytest.mark.parametrize("jobs", [2, 8])
def test_same_as_one(
    pytester: pytest.Pytester, run_both_ways: RunPytest, jobs: int
) -> None:
    """
    A session with several jobs shows what one with one job does, to the letter.
    """
    pytester.makepyfile(test_mixed=MIXED, test_mixed_again=MIXED)
    options = ["-rA", "-vv", "--basetemp=base", "--junitxml=report.xml"]

    one = run_both_ways(*options)
    xml = (pytester.path / "report.xml").read_text()
    more = run_both_ways(*options, f"--nsisolate-jobs={jobs}")

    assert lines_of(more) == lines_of(one)
    assert normal((pytester.path / "report.xml").read_text()) == normal(xml)
    assert more.ret == one.ret == 1


def test_stop(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    With -x the session ends at the first failure in order; what ran ahead is dropped.
    """
    pytester.makepyfile(
        MEET
        + """
@pytest.fixture(scope="module")
def server():
    yield
    # Nobody may use it any more.
    assert not (HERE / "told").exists()

def test_fails(server):
    wait_for("ahead")
    assert False

def test_ran_ahead(server):
    (HERE / "ahead").touch()

def test_runs_ahead(server):
    (HERE / "ahead").touch()
    wait_for("never")
    (HERE / "told").touch()
"""
    )
    result = run_both_ways("-v", "-x", "--nsisolate-jobs=3")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*ahead*PASSED*")
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])


def test_alone(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Nothing runs beside a test with alone=True; before and after it, others do.
    """
    pytester.makepyfile(
        MEET
        + """
@pytest.fixture
def running():
    own = HERE / f"running{os.urandom(8).hex()}"
    own.touch()
    yield lambda: len([*HERE.glob("running*")])
    own.unlink()

@pytest.mark.parametrize("name", ["a", "b"])
def test_before(running, name):
    meet(name, "a", "b")

@pytest.mark.isolated(alone=True)
def test_alone(running):
    for _ in range(50):
        assert running() == 1
        time.sleep(0.001)

@pytest.mark.parametrize("name", ["c", "d"])
def test_after(running, name):
    meet(name, "c", "d")
"""
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=5)


def test_group(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Two tests of a group never run at once; those of different groups do.
    """
    pytester.makepyfile(
        MEET
        + """
@pytest.fixture
def lock(request):
    mark = request.node.get_closest_marker("isolated")
    path = HERE / f"lock-{mark.kwargs['group']}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    yield
    path.unlink()

@pytest.mark.isolated(group="one")
def test_meets_two(lock):
    meet("one", "two")

@pytest.mark.isolated(group="one")
@pytest.mark.parametrize("number", range(5))
def test_of_one(lock, number):
    time.sleep(0.002)

@pytest.mark.isolated(group="two")
def test_meets_one(lock):
    meet("two", "one")

@pytest.mark.isolated(group="two")
@pytest.mark.parametrize("number", range(5))
def test_of_two(lock, number):
    time.sleep(0.002)
"""
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=12)


def test_time_limit(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The limit of a test counts from its own start, and it ends before its turn.
    """
    pytester.makepyfile(
        MEET
        + """
def test_first():
    wait_for("over")

@pytest.mark.isolated(timeout=2)
def test_hangs():
    print("as far as here")
    time.sleep(60)

def test_watches():
    # It starts when the one before it has ended: there are two jobs.
    (HERE / "over").touch()
"""
    )
    result = run_both_ways("--nsisolate-jobs=2")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["test_hangs did not finish: timed out after 2 s*", "as far as here"]
    )


def test_timers(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    While a test waits for its turn, its own timer and pytest's watchdog stand still.
    """
    pytester.makepyfile(
        MEET
        + """
import signal

def test_first():
    wait_for("waits")
    time.sleep(3)

def test_waits(capsys):
    signal.setitimer(signal.ITIMER_REAL, 2, 5)
    (HERE / "waits").touch()
    with capsys.disabled():
        left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    assert 0 < left <= 2
    assert interval == 5
"""
    )
    result = run_both_ways("--nsisolate-jobs=2", "-o", "faulthandler_timeout=2.5")
    result.assert_outcomes(passed=2)
    # That of the first one.
    assert result.stderr.str().count("Timeout (0:00:02") == 1


def test_much_output(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A guest with much to say waits for its turn, and holds up no other.
    """
    pytester.makepyfile(
        MEET
        + """
def test_first():
    wait_for("quiet")

@pytest.mark.isolated(timeout=60)
@pytest.mark.parametrize("number", range(2))
def test_loud(number):
    print("x" * 10_000_000 + f"end {number}")
    assert False

def test_quiet():
    (HERE / "quiet").touch()
"""
    )
    result = run_both_ways("--nsisolate-jobs=4", "--tb=short")
    result.assert_outcomes(passed=2, failed=2)
    ends = re.findall(r"x{10000000}end (\d)", result.stdout.str())
    assert ends == ["0", "1"]


@pytest.mark.usefixtures("nothing_left")
def test_killed(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A guest that is killed, or kills its init, takes only its own test with it.
    """
    pytester.makepyfile(
        MEET
        + """
import signal

def test_first():
    wait_for("late")

def test_killed():
    os.kill(os.getpid(), signal.SIGKILL)

@pytest.mark.parametrize("number", range(3))
def test_passes(number):
    pass

def test_late():
    (HERE / "late").touch()
"""
    )
    result = run_both_ways("--nsisolate-jobs=4")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*test_killed*killed by SIGKILL*"])


#: Failures of each kind, between tests that pass, and what the session sets up.
FAILURES = """
import pytest

pytestmark = pytest.mark.isolated

@pytest.fixture(scope="session", autouse=True)
def wide():
    yield
    print("torn down")

@pytest.fixture
def breaks():
    yield
    assert False, "in teardown"

@pytest.mark.parametrize("number", range(3))
def test_passes(number):
    pass

def test_fails():
    assert False, "first"

def test_subtests(subtests):
    for number in range(5):
        with subtests.test(number=number):
            assert number % 2, "even"
    print("after all subtests")

def test_passes_too():
    pass

def test_fails_twice(breaks):
    assert False, "second"

@pytest.mark.parametrize("number", range(3))
def test_fails_as_well(number):
    assert False, "third"
"""


@pytest.mark.skipif(
    pytest.version_tuple < (9, 0), reason="subtests came to pytest in 9.0"
)
@pytest.mark.parametrize("most", [2, 3, 4, 7])
def test_most_failures(
    pytester: pytest.Pytester, run_both_ways: RunPytest, most: int
) -> None:
    """
    With --maxfail the session ends where it does with one job, even in a subtest.
    """
    pytester.makepyfile(FAILURES)
    options = ["-v", "-rA", f"--maxfail={most}"]

    one = run_both_ways(*options)
    more = run_both_ways(*options, "--nsisolate-jobs=4")

    more.stdout.fnmatch_lines(["nsisolate: *, 4 jobs"])
    assert lines_of(more) == lines_of(one)


#: Tests that log while others do, on the way in and out, too.
LOGS = (
    MEET
    + """
import contextlib
import logging

log = logging.getLogger("test")

@pytest.fixture
def logs():
    log.info("set up")
    yield
    log.info("torn down")

@pytest.mark.parametrize("number", range(4))
def test_logs(logs, number):
    log.info("%s before", number)
    meet(f"at{number}", "at0", "at1", "at2", "at3")
    log.info("%s after", number)
    with contextlib.suppress(TypeError):
        log.info("not %d", "text")
    log.info("of another \\ud800 kind")

def test_own_file(logs, request):
    plugin = request.config.pluginmanager.get_plugin("logging-plugin")
    plugin.set_log_path(str(HERE / "own.log"))
    log.info("in a file of its own")

def test_crashes(logs):
    log.info("last words")
    os._exit(3)

def test_logs_again():
    log.info("the end")
"""
)


@pytest.mark.parametrize("source", ["option", "ini"])
def test_log_file(
    pytester: pytest.Pytester, run_both_ways: RunPytest, source: str
) -> None:
    """
    The log file has the records in the order of the tests, as with one job.
    """
    pytester.makepyfile(
        LOGS.replace('meet(f"at{number}", "at0", "at1", "at2", "at3")', "pass"),
    )
    if source == "ini":
        pytester.makeini("[pytest]\nlog_file = all.log\nlog_level = INFO")
        options = []
    else:
        options = ["--log-file=all.log", "--log-file-level=INFO"]
    options.append("--log-file-format=%(name)s %(levelname)s %(message)s")
    files = [pytester.path / "all.log", pytester.path / "own.log"]

    one = run_both_ways(*options)
    before = [file.read_text() for file in files]
    pytester.makepyfile(LOGS)
    more = run_both_ways(*options, "--nsisolate-jobs=4")

    more.stdout.fnmatch_lines(["nsisolate: *, 4 jobs"])
    assert [file.read_text() for file in files] == before
    assert "3 after" in before[0]
    assert before[1] == "test INFO in a file of its own\ntest INFO torn down\n"
    one.assert_outcomes(passed=6, failed=1)
    more.assert_outcomes(passed=6, failed=1)


@pytest.mark.parametrize(
    "option", ["--capture=no", "--capture=sys", "--setup-show", "--pdb"]
)
def test_one_after_the_other(
    pytester: pytest.Pytester, run_both_ways: RunPytest, option: str
) -> None:
    """
    Where tests write to the terminal themselves, they do so in order.
    """
    pytester.makepyfile(
        MEET
        + """
@pytest.mark.parametrize("number", range(3))
def test_alone(number):
    os.close(os.open(HERE / "lock", os.O_CREAT | os.O_EXCL))
    time.sleep(0.002)
    (HERE / "lock").unlink()
"""
    )
    result = run_both_ways(option, "--nsisolate-jobs=3")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([f"nsisolate: *, one job instead of 3 ({option})"])


@pytest.mark.parametrize("way", ["option", "environment", "ini"])
def test_how_many(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """
    The number comes from the command line, the environment or the ini file.
    """
    pytester.makepyfile("def test_func(isolation): pass")
    pytester.makeini("[pytest]\nnsisolate_jobs = 2")
    if way != "ini":
        monkeypatch.setenv("NSISOLATE_JOBS", "3")
    options = ["--nsisolate-jobs=4"] if way == "option" else []
    number = {"option": 4, "environment": 3, "ini": 2}[way]

    result = pytester.runpytest_subprocess(*options)

    result.stdout.fnmatch_lines([f"nsisolate: *, {number} jobs"])


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", ""])
@pytest.mark.parametrize("source", ["option", "environment", "ini"])
def test_wrong_number(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, value: str, source: str
) -> None:
    """
    A wrong number is an error of three lines. An empty one is none at all.
    """
    options = []
    if source == "option":
        options = [f"--nsisolate-jobs={value}"]
    elif source == "environment":
        monkeypatch.setenv("NSISOLATE_JOBS", value)
    else:
        pytester.makeini(f"[pytest]\nnsisolate_jobs = {value}")

    result = pytester.runpytest_subprocess(*options)

    if value == "" and source != "option":
        assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
        return
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            f"*cannot use *{value}",
            "*why: the * takes a number from 1 up, or auto",
            "*fix: write *auto *",
        ]
    )


def test_files_of_other_lanes(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    No guest has the files of another lane, wherever it runs.
    """
    pytester.makepyfile(
        MEET
        + """
def of_lanes():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return [one for one in found if "nsisolate-faulthandler" in one]

@pytest.mark.parametrize("number", range(4))
def test_beside(number):
    assert len(of_lanes()) == 1

@pytest.mark.skipif("False", reason="so that it does not start before its turn")
def test_at_its_turn():
    assert len(of_lanes()) == 1
"""
    )
    run_both_ways("--nsisolate-jobs=3").assert_outcomes(passed=5)
