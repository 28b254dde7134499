"""
Shared sandboxes beside which other tests run: one lane, whose tests keep their place.
"""

from __future__ import annotations

import sys

import pytest
from meeting import MEET
from twins import normal
from ways import WITHOUT_NET, RunPytest

#: How tests can share a sandbox.
KEYWORDS = {
    "module": 'scope="module"',
    "class": 'scope="class"',
    "session": 'scope="session"',
    "fork": 'scope="module", fork=True',
}

FIRST = """
from meeting import *

def test_first():
    pass
"""

LAST = """
from meeting import *

def test_last():
    meet("last", "shared")
"""


def shared(keywords: str, rest: str) -> str:
    """
    Return the source of a module whose tests share a sandbox.
    """
    mark = f"pytestmark = pytest.mark.isolated({keywords})"
    return f"from meeting import *\nimport signal\n\n{mark}\n\n{rest}"


@pytest.mark.parametrize("way", KEYWORDS)
def test_at_the_same_time(
    pytester: pytest.Pytester, run_both_ways: RunPytest, way: str
) -> None:
    """
    While tests of a shared sandbox run, in order, those behind them run beside.
    """
    source = """
names = []
LEFT = Path("/dev/shm/left")

class TestAll:
    def test_one(self):
        names.append("one")
        LEFT.touch()
        meet("shared1", "beside1")

    def test_two(self):
        assert names == NAMES
        LEFT.unlink()
        meet("shared2", "beside2")
"""
    beside = """
from meeting import *

@pytest.mark.parametrize("number", [1, 2])
def test_beside(number):
    assert not Path("/dev/shm/left").exists()
    meet(f"beside{number}", f"shared{number}")
"""
    names = "[]" if way == "fork" else '["one"]'
    pytester.makepyfile(
        meeting=MEET,
        test_a=FIRST,
        test_b=shared(KEYWORDS[way], source.replace("NAMES", names)),
        test_c=beside,
    )
    # With more jobs, both would have run before the second test of the sandbox.
    result = run_both_ways("-v", "--nsisolate-jobs=2")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        [
            "test_a.py::test_first PASSED*",
            "test_b.py::TestAll::test_one PASSED*",
            "test_b.py::TestAll::test_two PASSED*",
            "test_c.py::test_beside?1? PASSED*",
            "test_c.py::test_beside?2? PASSED*",
        ],
        consecutive=True,
    )


@pytest.mark.parametrize("way", ["module", "fork"])
def test_at_most(pytester: pytest.Pytester, run_both_ways: RunPytest, way: str) -> None:
    """
    A shared sandbox takes one lane: beside it, one test less runs than there are jobs.
    """
    pytester.makepyfile(
        meeting=MEET,
        test_a=FIRST,
        test_b=shared(
            KEYWORDS[way],
            """
def test_one():
    meet("shared", *(f"over{number}" for number in range(5)))

def test_two():
    (HERE / "shared").touch()
    wait_for(*(f"over{number}" for number in range(10)))
""",
        ),
        test_c="""
from meeting import *

@pytest.mark.parametrize("number", range(10))
def test_beside(number):
    wait_for("shared")
    own = HERE / f"running{number}"
    own.touch()
    time.sleep(0.01)
    assert [*HERE.glob("running*")] == [own]
    own.unlink()
    (HERE / f"over{number}").touch()
""",
    )
    run_both_ways("--nsisolate-jobs=2").assert_outcomes(passed=13)


MIXED = """
import os
import warnings
from pathlib import Path

import pytest

pytestmark = pytest.mark.isolated(leaks="warn")
share = pytest.mark.isolated(scope="module")
names = []

@pytest.fixture(scope="session")
def wide():
    print("set up once")
    yield "wide"
    print("torn down")

@pytest.fixture(scope="module")
def middle(wide, request):
    print("middle", request.node.name)
    yield request.node.name
    print("middle down")

@pytest.mark.parametrize("number", range(3))
def test_before(number, wide):
    print(number)

@share
def test_shares(wide, middle):
    names.append(1)
    Path("/dev/shm/one").touch()

@pytest.mark.parametrize("number", range(3))
def test_between(number, tmp_path):
    assert not names
    print(tmp_path.name)
    warnings.warn(f"between {number}")

@share
@pytest.mark.skipif("True", reason="for a reason")
def test_skipped():
    pass

@share
@pytest.mark.parametrize("number", range(3))
def test_more(number, tmp_path, middle):
    names.append(number)
    print(names, tmp_path.name)
    assert number != 1

@share
def test_crashes():
    print("last words", flush=True)
    os._exit(3)

@share
def test_anew(middle):
    assert not names
    Path("/dev/shm/two").touch()

def test_between_again(middle):
    print(middle)

@pytest.mark.isolated(scope="class")
class TestFork:
    @pytest.mark.isolated(fork=True)
    @pytest.mark.parametrize("number", range(3))
    def test_it(self, number, wide):
        Path(f"/dev/shm/fork{number}").touch()
        assert len([*Path("/dev/shm").iterdir()]) == number + 1

@pytest.mark.parametrize("a_name_that_is_longer_than_tmp_path_takes", range(4))
@pytest.mark.parametrize("kind", [pytest.param(1, marks=share), 2])
def test_long_names(tmp_path, a_name_that_is_longer_than_tmp_path_takes, kind):
    print(tmp_path.name)
    assert False
"""


@pytest.mark.parametrize("jobs", [2, 8])
def test_same_as_one(
    pytester: pytest.Pytester, run_both_ways: RunPytest, jobs: int
) -> None:
    """
    What is shown is what one job shows, to the letter: reports, leaks and crashes.
    """
    pytester.makepyfile(test_mixed=MIXED, test_mixed_again=MIXED)
    options = ["-rA", "-vv", "--basetemp=base", "--junitxml=report.xml"]

    one = run_both_ways(*options)
    xml = (pytester.path / "report.xml").read_text()
    more = run_both_ways(*options, f"--nsisolate-jobs={jobs}")

    lines = normal(more.stdout.str().replace(f", {jobs} jobs", ""))
    assert lines == normal(one.stdout.str())
    assert normal((pytester.path / "report.xml").read_text()) == normal(xml)
    assert more.ret == one.ret == 1
    # Of the sandboxes that test_more, test_anew and TestFork share.
    assert one.stdout.str().count("found in their shared sandbox") == 6


def test_window_ends(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Nothing behind a shared sandbox starts before what its tests borrow is set up.

    That is done for the first of them, also if only a later one needs it.
    """
    pytester.makepyfile(
        meeting=MEET,
        conftest="""
import os
import pytest

@pytest.fixture(scope="session")
def server():
    os.environ["SERVER"] = "runs"
""",
        test_a=FIRST,
        test_b=shared(
            'scope="module"',
            """
def test_needs_none():
    meet("shared", "last")

@pytest.mark.isolated(scope="function")
def test_between():
    assert os.environ["SERVER"] == "runs"
    meet("last", "shared")

def test_needs_it(server):
    pass
""",
        ),
        test_c="""
from meeting import *

def test_behind():
    assert os.environ["SERVER"] == "runs"
""",
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=5)


def test_finalised_for_it(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Nothing behind it starts before what is finalised for a shared sandbox is gone.

    A fixture of its scope may be set up outside too, with another parameter.
    """
    source = """
servers = []

@pytest.fixture(scope="module", params=["one", "other"])
def server(request):
    servers.append(request.param)
    yield request.param
    servers.remove(request.param)

def borrows(server):
    assert server == "one"

test_a = pytest.mark.isolated(scope="function")(borrows)

def test_shares(server):
    assert servers == ["other"]

@pytest.mark.isolated(scope="function")
def test_behind():
    assert not servers
"""
    pytester.makepyfile(
        meeting=MEET,
        conftest="""
def pytest_collection_modifyitems(items):
    names = ["test_a[one]", "test_shares[other]", "test_behind"]
    items[:] = sorted(
        (one for one in items if one.name in names),
        key=lambda one: names.index(one.name),
    )
""",
        test_it=shared('scope="module"', source),
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=3)


def test_finalised_after_it(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    What a shared sandbox borrows is finalised before the tests that do not need it.
    """
    pytester.makepyfile(
        meeting=MEET,
        test_a=shared(
            'scope="class"',
            """
@pytest.fixture(scope="module")
def server():
    (HERE / "server").touch(exist_ok=False)
    yield
    (HERE / "server").unlink()

@pytest.mark.isolated(scope="function")
def test_first(server):
    meet("first", "second")

class TestAll:
    def test_one(self, server):
        assert (HERE / "server").exists()

    def test_two(self, server):
        assert (HERE / "server").exists()

@pytest.mark.isolated(scope="function")
def test_beside(server):
    meet("second", "first")
""",
        ),
        test_b="""
from meeting import *

def test_behind():
    assert not (HERE / "server").exists()
""",
    )
    run_both_ways("--nsisolate-jobs=2").assert_outcomes(passed=5)


def test_set_up_inside(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    What a scope sets up and finalises in its guest does not end the window.
    """
    package = pytester.mkpydir("package")
    (package / "__init__.py").write_text(
        """
import socket

def setup_module():
    socket.gethostname = lambda: "inside"
"""
    )
    (package / "test_b.py").write_text(
        shared(
            'scope="package"',
            """
import socket

@pytest.fixture(scope="module")
def server():
    return socket.gethostname()

def setup_module():
    assert socket.gethostname() == "inside"

class TestAll:
    @classmethod
    def setup_class(cls):
        assert socket.gethostname() == "inside"

    def test_one(self, server):
        assert server == "inside"
""",
        )
    )
    pytester.makepyfile(
        meeting=MEET,
        test_a="""
from meeting import *

def test_first():
    meet("first", "last")
""",
        test_c="""
from meeting import *
import socket

def test_last():
    meet("last", "first")
    assert socket.gethostname() != "inside"
""",
    )
    pytester.makeini(
        "[pytest]\npythonpath = .\ntestpaths = test_a.py package test_c.py"
    )
    run_both_ways("--nsisolate-jobs=2").assert_outcomes(passed=3)


DEATHS = {
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
    "exited": ("os._exit(0)", "exited with code 0"),
    "timed out": ("time.sleep(60)", "timed out after 2 s"),
}


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("fork", [False, True])
@pytest.mark.parametrize("death", DEATHS)
def test_death(
    pytester: pytest.Pytester, run_both_ways: RunPytest, death: str, fork: bool
) -> None:
    """
    A test that takes its shared guest with it takes no test that runs beside.
    """
    code, text = DEATHS[death]
    pytester.makepyfile(
        meeting=MEET,
        test_a=FIRST,
        test_b=shared(
            f'scope="module", leaks="ignore", fork={fork}',
            f"""
LEFT = Path("/dev/shm/left")

def test_one():
    LEFT.touch()

@pytest.mark.isolated(timeout={2 if death == "timed out" else None})
def test_dies():
    assert LEFT.exists()
    wait_for("last")
    {code}

def test_anew():
    assert not LEFT.exists()
    (HERE / "shared").touch()
""",
        ),
        test_c=LAST,
    )
    result = run_both_ways("--nsisolate-jobs=2")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines([f"test_dies did not finish: {text}*"])


@pytest.mark.usefixtures("nothing_left")
def test_stop(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    With -x, a failure in a shared guest ends what runs beside it, unreported.

    What waits in the guest is finalised all the same.
    """
    pytester.makepyfile(
        meeting=MEET,
        test_a=FIRST,
        test_b=shared(
            'scope="module"',
            """
@pytest.fixture(scope="module")
def server():
    yield
    # Nobody runs beside it any more.
    (HERE / "finalised").touch()

def test_one(server):
    pass

def test_fails(server):
    wait_for("ran", "runs")
    assert False

def test_later(server):
    (HERE / "later").touch()
""",
        ),
        test_c="""
from meeting import *

def test_ran():
    (HERE / "ran").touch()

def test_runs():
    (HERE / "runs").touch()
    wait_for("never")
""",
    )
    result = run_both_ways("-v", "-x", "--nsisolate-jobs=3")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.no_fnmatch_line("*test_c*")
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])
    assert (pytester.path / "finalised").exists()
    assert not (pytester.path / "later").exists()


@pytest.mark.parametrize("fork", [False, True])
def test_refused(pytester: pytest.Pytester, fork: bool) -> None:
    """
    A shared sandbox that is refused fails its tests, and none of those beside it.
    """
    pytester.makepyfile(
        meeting=MEET,
        test_a=FIRST,
        test_b=shared(
            f'scope="module", net=True, fork={fork}',
            "def test_one(): pass\n\ndef test_two(): pass\n",
        ),
        test_c="""
from meeting import *

@pytest.mark.parametrize("number", range(4))
def test_beside(number):
    pass
""",
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    result = pytester.run(*WITHOUT_NET, *command, "-v", "--nsisolate-jobs=3")
    result.assert_outcomes(passed=5, errors=2)
    result.stdout.fnmatch_lines(
        ["cannot isolate test_one: *", "cannot isolate test_two: *"]
    )
    result.stdout.no_fnmatch_line("*JobsWarning*")


@pytest.mark.parametrize("fork", [False, True])
def test_leaks(pytester: pytest.Pytester, run_both_ways: RunPytest, fork: bool) -> None:
    """
    What the sandbox is left with is reported in its place, on the last of its tests.
    """
    pytester.makepyfile(
        meeting=MEET,
        test_a=FIRST,
        test_b=shared(
            f'scope="module", fork={fork}, leaks="fail"',
            """
def test_one():
    Path("/dev/shm/one").touch()

def test_two():
    Path("/dev/shm/two").touch()
    wait_for("last")
    (HERE / "shared").touch()
""",
        ),
        test_c=LAST,
    )
    result = run_both_ways("-v", "--nsisolate-jobs=2")
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(
        [
            "test_b.py::test_two PASSED*",
            "test_b.py::test_two ERROR*",
            "test_c.py::test_last PASSED*",
            "test_two, the last of module test_b.py, left 2 files in /dev/shm (*",
        ]
    )


def test_time_limit(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The limit of a test beside a shared sandbox ends it before its turn.
    """
    pytester.makepyfile(
        meeting=MEET,
        test_a=FIRST,
        test_b=shared('scope="module"', 'def test_one(): wait_for("over")\n'),
        test_c="""
from meeting import *

@pytest.mark.isolated(timeout=2)
def test_hangs():
    time.sleep(60)

def test_watches():
    # There are two jobs.
    (HERE / "over").touch()
""",
    )
    result = run_both_ways("--nsisolate-jobs=2")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["test_hangs did not finish: timed out after 2 s*"])


ALONE = """
@pytest.fixture
def running():
    own = HERE / f"running{os.urandom(8).hex()}"
    own.touch()
    yield lambda: len([*HERE.glob("running*")])
    own.unlink()
"""


@pytest.mark.parametrize("way", ["module", "fork"])
def test_alone(pytester: pytest.Pytester, run_both_ways: RunPytest, way: str) -> None:
    """
    Nothing runs beside a test with alone=True, be it in the shared sandbox or behind.
    """
    alone = """
@pytest.mark.isolated(alone=True)
def test_alone(running):
    for _ in range(50):
        assert running() == 1
        time.sleep(0.001)
"""
    beside = """
@pytest.mark.parametrize("number", range(3))
def test_some(running, number):
    time.sleep(0.002)
"""
    pytester.makepyfile(
        meeting=MEET,
        test_a=f"from meeting import *\n{ALONE}{beside}",
        test_b=shared(KEYWORDS[way], ALONE + beside + alone),
        test_c=f"from meeting import *\n{ALONE}{beside}{alone}",
        test_d=shared(KEYWORDS[way], ALONE + alone + beside),
        test_e=f"from meeting import *\n{ALONE}{beside}",
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=18)


@pytest.mark.parametrize("way", ["module", "fork"])
def test_group(pytester: pytest.Pytester, run_both_ways: RunPytest, way: str) -> None:
    """
    No test of a group runs beside one of it in a shared sandbox, or before it.

    Nor does one whose temporary directories would get other names.
    """
    lock = """
LOCK = HERE / "lock"

@pytest.fixture
def number():
    os.close(os.open(LOCK, os.O_CREAT | os.O_EXCL))
    with (HERE / "log").open("a+") as file:
        file.seek(0)
        number = len(file.readlines())
        print("line", file=file)
    yield number
    LOCK.unlink()
"""
    pytester.makepyfile(
        meeting=MEET,
        test_a=FIRST,
        test_b=shared(
            f'{KEYWORDS[way]}, group="one"',
            f"""
{lock}

def test_one(number, tmp_path):
    assert number == 0
    meet("shared", "beside")

@pytest.mark.isolated(scope="function")
def test_between(number, tmp_path):
    assert number == 1

@pytest.mark.isolated(scope="function", group="other")
def test_meanwhile():
    meet("meanwhile", "last")

def test_two(number):
    assert number == 2
""",
        ),
        test_c=f"""
from meeting import *
{lock}

def test_one(tmp_path):
    assert tmp_path.name == "test_one1"

@pytest.mark.isolated(group="one")
def test_three(number):
    assert number == 3

def test_beside():
    meet("beside", "shared")

def test_last():
    meet("last", "meanwhile")
""",
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=9)


def test_directories(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Directories that a fixture in a shared guest names get their numbers first.
    """
    fixture = """
@pytest.fixture(scope="SCOPE")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("directory").name
"""
    pytester.makepyfile(
        meeting=MEET,
        test_a=FIRST,
        test_b=shared(
            'scope="module"',
            fixture.replace("SCOPE", "module")
            + """
def test_one():
    meet("shared", "last")

def test_two(directory):
    assert directory == "directory0"
""",
        ),
        test_c="from meeting import *\n"
        + fixture.replace("SCOPE", "function")
        + """
def test_other(directory):
    assert directory == "directory1"

def test_last():
    meet("last", "shared")
""",
    )
    # With two jobs, the last one starts only if the one before must wait.
    run_both_ways("--nsisolate-jobs=2").assert_outcomes(passed=5)


def test_skip_marks(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Tests start behind those of a shared sandbox that a mark skips, or may skip.

    If they are in a group, those of the group behind wait for them.
    """
    pytester.makepyfile(
        meeting=MEET,
        test_a="""
from meeting import *

def test_first(tmp_path):
    meet("first", "last")
""",
        test_b=shared(
            'scope="module", group="one"',
            """
@pytest.mark.skip
def test_one(tmp_path):
    pass

@pytest.mark.skipif("False", reason="none")
def test_two(tmp_path):
    (HERE / "shared").touch()

@pytest.mark.isolated(scope="function")
@pytest.mark.skipif("False", reason="none")
def test_three():
    assert (HERE / "shared").exists()
    (HERE / "three").touch()
""",
        ),
        test_c="""
from meeting import *

def test_two(tmp_path):
    assert tmp_path.name == "test_two1"

@pytest.mark.isolated(group="one")
def test_one():
    assert (HERE / "three").exists()

def test_last():
    meet("last", "first")
""",
    )
    result = run_both_ways("--nsisolate-jobs=4")
    result.assert_outcomes(passed=6, skipped=1)


def test_host_between(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Nothing runs beside a test on the host, before or after which a guest waits.
    """
    pytester.makepyfile(
        MEET.replace("pytestmark = pytest.mark.isolated\n", "")
        + """
names = []
shares = pytest.mark.isolated(scope="module")
RUNNING = HERE / "running"

@pytest.mark.isolated
def test_first():
    pass

@shares
def test_one():
    names.append(1)
    meet("one", "beside1")

@pytest.mark.isolated
def test_beside1():
    RUNNING.touch()
    meet("beside1", "one")
    RUNNING.unlink()

def test_on_host():
    assert not RUNNING.exists()

@shares
def test_two():
    assert names == [1]
    meet("two", "beside2")

@pytest.mark.isolated
def test_beside2():
    meet("beside2", "two")
"""
    )
    run_both_ways("--nsisolate-jobs=2").assert_outcomes(passed=6)
