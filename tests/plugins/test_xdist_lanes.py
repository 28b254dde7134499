"""
Isolated tests side by side in each process of pytest-xdist.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import machine
import pytest
from meeting import MEET
from pages import Page

from pytest_nsisolate.linux import processors

pytestmark = [
    pytest.mark.about("pytest-xdist"),
    # Here each test says itself how many.
    pytest.mark.one_job,
    pytest.mark.usefixtures("nothing_left"),
]

NAMED = ("-p", "nsisolate", "-p", "xdist")

#: How pytest-xdist shares out tests, if it does not take them back.
MODES = ["load", "loadscope", "loadfile", "loadgroup", "each"]

#: For tests that want to know in which process they are.
WHO = """
WHO = os.environ["PYTEST_XDIST_WORKER"]
"""

#: The first two tests of each process meet. The others run if they are free to.
MEETING = (
    MEET
    + WHO
    + """
@pytest.fixture(scope="session", autouse=True)
def once():
    path = HERE / f"set-up-{WHO}"
    path.touch(exist_ok=False)
    yield
    path.rename(HERE / f"torn-down-{WHO}")

@pytest.fixture
def begin(request):
    (HERE / f"began-{WHO}-{request.node.name}").touch(exist_ok=False)
    if os.environ.get("DIST") == "loadgroup" and "@" not in request.node.nodeid:
        # With pytest 9.2, pytest-xdist 3.8 sees no groups: each process has one test.
        return
    until = time.monotonic() + 60
    while len([*HERE.glob(f"began-{WHO}-*")]) < 2:
        assert time.monotonic() < until, "alone"
        time.sleep(0.001)

@pytest.mark.parametrize("number", range(12))
@pytest.mark.xdist_group("one")
class TestOne:
    def test_one(self, number, begin):
        pass

@pytest.mark.parametrize("number", range(12))
@pytest.mark.xdist_group("two")
class TestTwo:
    def test_two(self, number, begin):
        pass
"""
)


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """
    Run pytest with both plugins, and no more than 100 s.
    """
    return pytester.runpytest_subprocess(*NAMED, *arguments, timeout=100)


@pytest.mark.parametrize("mode", MODES)
def test_at_the_same_time(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """
    In each process tests run at the same time, and session fixtures are set up once.
    """
    monkeypatch.setenv("DIST", mode)
    for name in ("test_a", "test_b"):
        pytester.makepyfile(**{name: MEETING.replace("began-", f"began-{name}-")})
    if mode != "loadfile":
        pytester.path.joinpath("test_b.py").unlink()
    options = ["-n2", f"--dist={mode}", "--nsisolate", "--nsisolate-jobs=4"]
    result = run(pytester, *options)
    times = 2 if mode in {"each", "loadfile"} else 1
    result.assert_outcomes(passed=24 * times)
    assert len([*pytester.path.glob("began-*")]) == 24 * times
    assert len([*pytester.path.glob("torn-down-*")]) == 2
    result.stdout.fnmatch_lines(
        ["nsisolate: *, 4 jobs in each process of pytest-xdist"]
    )


#: A test does not run while another of its process does.
LOCKS = """
    import os
    import pytest

    @pytest.mark.parametrize("number", range(8))
    def test_it(number):
        name = f"lock-{os.environ['PYTEST_XDIST_WORKER']}"
        os.close(os.open(name, os.O_CREAT | os.O_EXCL))
        os.unlink(name)
"""

#: A way of its own to share out tests, which might take them back.
SCHEDULER = """
    from xdist.scheduler import LoadScheduling

    def pytest_xdist_make_scheduler(config, log):
        return LoadScheduling(config, log)
"""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param([], "", id="not-said"),
        pytest.param(["--nsisolate-jobs=1"], "", id="one"),
        pytest.param(
            ["--nsisolate-jobs=4", "--dist=worksteal"],
            ", one job in each process of pytest-xdist instead of 4 (--dist=worksteal)",
            id="worksteal",
        ),
        pytest.param(
            ["--nsisolate-jobs=4", "-p", "own_scheduler"],
            ", one job in each process of pytest-xdist instead of 4 "
            "(pytest_xdist_make_scheduler() of own_scheduler)",
            id="scheduler",
        ),
        pytest.param(
            ["--nsisolate-jobs=4", "-p", "no_lock"],
            ", one job in each process of pytest-xdist instead of 4 "
            "(this version of pytest-xdist)",
            id="unknown",
        ),
    ],
)
def test_one_after_the_other(
    pytester: pytest.Pytester, options: list[str], words: str
) -> None:
    """
    Tests of a process run one after the other if it cannot know which ones come next.
    """
    pytester.makepyfile(LOCKS, own_scheduler=SCHEDULER)
    pytester.makepyfile(no_lock="import xdist.remote\ndel xdist.remote.TestQueue.lock")
    result = run(pytester, "-n2", "--nsisolate", *options)
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["nsisolate: *"])
    line = next(one for one in result.outlines if one.startswith("nsisolate: "))
    assert line.partition(")")[2] == words


@pytest.mark.parametrize("place", ["command", "ini", "environment"])
def test_said(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """
    The number may be said at any place.
    """
    options = ["-n1", "--nsisolate"]
    if place == "command":
        options.append("--nsisolate-jobs=2")
    elif place == "ini":
        pytester.makeini("[pytest]\nnsisolate_jobs = 2")
    else:
        monkeypatch.setenv("NSISOLATE_JOBS", "2")
    pytester.makepyfile(MEETING)
    result = run(pytester, *options)
    result.assert_outcomes(passed=24)
    result.stdout.fnmatch_lines(
        ["nsisolate: *, 2 jobs in each process of pytest-xdist"]
    )


@pytest.mark.parametrize("number", [1, 2])
def test_auto(pytester: pytest.Pytester, number: int) -> None:
    """
    All processes together have as many jobs as there are processors, and at least one.
    """
    jobs = max(1, processors.usable() // number)
    pytester.makepyfile(LOCKS if jobs == 1 else MEETING)
    options = [f"-n{number}", "--nsisolate", "--nsisolate-jobs=auto"]
    result = run(pytester, *options)
    result.assert_outcomes(passed=8 if jobs == 1 else 24)
    words = "one job" if jobs == 1 else f"{jobs} jobs"
    result.stdout.fnmatch_lines(
        [f"nsisolate: *), {words} in each process of pytest-xdist"]
    )


def test_stop(pytester: pytest.Pytester) -> None:
    """
    With -x a process ends at its first failure; what ran ahead is dropped.
    """
    pytester.makepyfile(
        MEET
        + """
@pytest.fixture(scope="module")
def server():
    yield
    assert not (HERE / "told").exists()
    (HERE / "stopped").touch()

def test_fails(server):
    wait_for("ahead", "forever")
    assert False

def test_ran_ahead(server):
    (HERE / "ahead").touch()

def test_runs_ahead(server):
    (HERE / "forever").touch()
    wait_for("never")
    (HERE / "told").touch()
"""
    )
    options = ["-n1", "--dist=loadfile", "-x", "-v", "--nsisolate-jobs=3"]
    result = run(pytester, *options)
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*PASSED*")
    names = {"ahead", "forever", "stopped"}
    assert all((pytester.path / name).exists() for name in names)


def test_interrupt(pytester: pytest.Pytester) -> None:
    """
    A Ctrl-C ends the session while tests hang side by side.
    """
    pytester.makepyfile(
        MEET
        + """
import re
import signal

@pytest.mark.parametrize("number", range(6))
def test_hangs(number):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    (HERE / f"hangs{number}").touch()
    wait_for("never")
"""
    )
    arguments = [*NAMED, "-n1", "--dist=loadfile", "--nsisolate-jobs=3"]
    command = [sys.executable, "-mpytest", *arguments]
    with machine.started(command, pytester.path, stdout=subprocess.PIPE) as session:
        for number in range(3):
            path = pytester.path / f"hangs{number}"
            machine.wait_until(path.exists, str(path))
        os.killpg(session.process.pid, signal.SIGINT)
        out, _ = session.process.communicate(timeout=40)
        machine.wait_until(lambda: not session.processes(), "the end of all")
    assert session.process.returncode == 2
    assert "KeyboardInterrupt" in out


def test_killed_guest(pytester: pytest.Pytester) -> None:
    """
    If a guest is killed, its test fails, and those beside it go on.
    """
    pytester.makepyfile(
        MEET
        + """
import re
import signal

def test_first():
    wait_for("killing", "passing")

def test_killed():
    (HERE / "killing").touch()
    wait_for("passing")
    os.kill(os.getpid(), signal.SIGKILL)

@pytest.mark.parametrize("number", range(4))
def test_passes(number):
    (HERE / "passing").touch()
"""
    )
    options = ["-n1", "--dist=loadfile", "--nsisolate-jobs=3"]
    result = run(pytester, *options)
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*killed by SIGKILL during call*"])


@pytest.mark.parametrize(("mode", "passed"), [("load", 16), ("loadfile", 17)])
def test_killed_process(pytester: pytest.Pytester, mode: str, passed: int) -> None:
    """
    If a process is killed, so are its guests, and another one runs their tests.

    Some modes of pytest-xdist also run the test again whose turn it was.
    """
    pytester.makepyfile(
        MEET
        + WHO
        + """
import re
import signal

@pytest.fixture(scope="session", autouse=True)
def supervisor():
    return os.getpid()

@pytest.fixture(scope="session", autouse=True)
def killer(supervisor):
    if WHO == "gw0" and not os.fork():
        wait_for("first-gw0", "beside0-gw0", "beside1-gw0")
        os.kill(supervisor, signal.SIGKILL)
        os._exit(0)

def test_first():
    (HERE / f"first-{WHO}").touch()
    if WHO == "gw0":
        wait_for("never")

@pytest.mark.parametrize("number", range(16))
def test_beside(number):
    (HERE / f"beside{number}-{WHO}").touch()
    if WHO == "gw0":
        wait_for("never")
"""
    )
    result = run(pytester, "-n1", f"--dist={mode}", "--nsisolate-jobs=3")
    result.assert_outcomes(passed=passed, failed=1)
    result.stdout.fnmatch_lines(["*crashed while running '*::test_first'*"])
    assert len([*pytester.path.glob("beside*-gw1")]) == 16


#: Notes in which order things are done, and which test each one is told comes next.
NOTES = """
    from pathlib import Path
    import pytest

    HERE = Path(__file__).parent

    def note(*words):
        with (HERE / "notes").open("a") as file:
            print(*words, file=file)

    @pytest.fixture(scope="module")
    def wide(request):
        note("set up", request.node.name)
        yield
        note("torn down", request.node.name)

    def pytest_runtest_teardown(item, nextitem):
        with (HERE / "next").open("a") as file:
            print(item.name, nextitem and nextitem.name, file=file)
"""


def test_other_order(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is set up and finalised follows the order in which a process gets its tests.

    pytest-xdist begins with the modules that have most tests. So the last of one meets
    the first of one that was collected before it.
    """
    pytester.makeconftest(NOTES)
    for name, number in (("a", 2), ("b", 3), ("c", 4), ("d", 5)):
        uses = "wide" if name == "c" else "request"
        source = f"""
@pytest.mark.parametrize("number", range({number}))
def test_{name}(number, {uses}):
    (HERE / f"began-{name}{{number}}").touch()
    if f"{name}{{number}}" == "b2" and "BESIDE" in os.environ:
        wait_for("began-a0")
"""
        pytester.makepyfile(**{f"test_{name}": MEET + source})
    found = []
    for more in ("--no-nsisolate", "--nsisolate-jobs=3"):
        result = run(pytester, "-n1", "--dist=loadscope", more)
        result.assert_outcomes(passed=14)
        notes, following = (pytester.path / one for one in ("notes", "next"))
        found.append([notes.read_text(), {*following.read_text().splitlines()}])
        for path in (notes, following, *pytester.path.glob("began-*")):
            path.unlink()
        monkeypatch.setenv("BESIDE", "yes")
    assert found[0] == found[1]


def test_durations(pytester: pytest.Pytester) -> None:
    """
    What takes long in any process is kept for the next run, and starts first there.
    """
    source = """
        import time
        import pytest

        @pytest.mark.parametrize("number", range(3))
        def test_it(number):
            if number == 1:
                time.sleep(0.15)
    """
    pytester.makepyfile(test_a=source, test_b=source)
    options = ["-n2", "--dist=loadfile", "--nsisolate", "--nsisolate-jobs=2"]
    run(pytester, *options).assert_outcomes(passed=6)
    path = pytester.path / ".pytest_cache/v/nsisolate/durations"
    kept = json.loads(path.read_text())
    assert kept.keys() >= {"test_a.py::test_it[1]", "test_b.py::test_it[1]"}
    # Others are kept only if this machine made them slow.
    assert min(kept.values()) >= 0.1


def test_time_line(pytester: pytest.Pytester) -> None:
    """
    One page has the lanes of all processes, and what ran in each.
    """
    path = pytester.makepyfile(
        test_a=MEET + WHO + "def test_a1(): meet('a1', 'a2')\n"
        "def test_a2(): meet('a2', 'a1', 'b')\n",
        test_b=MEET + WHO + "def test_b(): meet('b', 'a2')\n",
    ).parent
    page = "--nsisolate-timeline=line.html"
    lanes = ("--dist=loadfile", "--nsisolate-jobs=2")
    run(pytester, "-n2", *lanes, page).assert_outcomes(passed=3)
    found = Page(path / "line.html")
    of_each = ["pytest", "lane 1", "lane 2"]
    assert found.lanes == [f"gw{one} {name}" for one in (0, 1) for name in of_each]
    one, two, other = (found.test(name) for name in ("test_a1", "test_a2", "test_b"))
    assert one.overlaps(two)
    assert two.overlaps(other)
    assert one.lane[:3] == two.lane[:3] != other.lane[:3]
    assert {one.outcome for one in found.tests} == {"passed"}
    assert [*path.glob("*.tmp")] == []


def test_time_line_of_a_process_that_dies(pytester: pytest.Pytester) -> None:
    """
    If a process of pytest-xdist dies, the page says that nothing is known of it.
    """
    path = pytester.makepyfile(
        test_a="import os\ndef test_a(): os._exit(1)\n",
        test_b=MEET + "def test_b(): pass\n",
    ).parent
    once = "--max-worker-restart=0"
    run(pytester, "-n2", "--dist=loadfile", once, "--nsisolate-timeline=line.html")
    found = Page(path / "line.html")
    assert found.test("test_b").outcome == "passed"
    assert re.search(r"Nothing is known of gw\d, which ended early\.", found.text)
