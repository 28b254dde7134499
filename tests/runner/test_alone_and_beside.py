"""
The flavours alone and beside, and the table of tests that differ between flavours.
"""

from __future__ import annotations

import contextlib
import random
import socket

import pytest
from ways import RunPytest

FLAVOURS = "--nsisolate-flavours=alone,beside"
JOBS = "--nsisolate-jobs=4"
BOTH = [FLAVOURS, JOBS]

#: Two tests that use the same thing of the host. In the flavour `beside` each of them
#: waits for the other, at most for as long as a slow machine may take.
SHARE = """
import os
import socket
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent

def is_beside(request):
    return request.node.name.endswith("beside]")

def wait_for(name):
    until = time.monotonic() + 60
    while not (HERE / name).exists():
        assert time.monotonic() < until, f"no {name}"
        time.sleep(0.001)

def take():
    taken = socket.socket()
    taken.bind(("127.0.0.1", PORT))
    taken.listen()
    return taken.close

def test_clean():
    pass

def test_holds(request):
    give_back = take()
    if is_beside(request):
        (HERE / "held").touch()
        wait_for("tried")
    give_back()

def test_tries(request):
    if is_beside(request):
        wait_for("held")
    try:
        take()()
    finally:
        if is_beside(request):
            (HERE / "tried").touch()
"""

TAKE_FILE = """
def take():
    (HERE / "run").mkdir(exist_ok=True)
    pid_file = HERE / "run" / "server.pid"
    pid_file.touch(exist_ok=False)
    return pid_file.unlink

(HERE / "run").mkdir(exist_ok=True)
pytestmark = pytest.mark.isolated(KEYWORDS)
"""

TAKE_PORT = """
pytestmark = pytest.mark.isolated(KEYWORDS)
"""


@pytest.fixture
def free_port() -> int:
    """
    Return a port that nothing listens on.
    """
    # The kernel gives none of these to those who ask for any port. Source: ip(7).
    for port in random.sample(range(20_000, 32_000), 50):
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
    pytest.fail("there is no free port")


@pytest.mark.parametrize(
    ("more", "own"), [(TAKE_FILE, 'tmpfs=[HERE / "run"]'), (TAKE_PORT, "net=True")]
)
def test_shared(
    pytester: pytest.Pytester,
    run_both_ways: RunPytest,
    free_port: int,
    more: str,
    own: str,
) -> None:
    """
    A test that fails beside another, for both use a file or port, is named at the end.
    """
    source = f"{SHARE}\nPORT = {free_port}\n{more}"
    pytester.makepyfile(test_share=source.replace("KEYWORDS", ""))
    result = run_both_ways(*BOTH)
    pytester.path.joinpath("held").unlink()
    pytester.path.joinpath("tried").unlink()
    pytester.makepyfile(test_share=source.replace("KEYWORDS", own))
    mended = run_both_ways(*BOTH)

    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*= tests that differ between flavours =*",
            "test_share.py::test_tries: alone passed, beside failed",
            "1 of 3 tests differs",
            "Those that fail only beside others may share a port, a directory or a *",
            "with one of them. *",
            "share it with *",
            "*= short test summary info =*",
        ],
        consecutive=True,
    )
    mended.assert_outcomes(passed=6)
    mended.stdout.fnmatch_lines(
        ["nsisolate: no difference between alone and beside in 3 tests"]
    )


MEET = """
import os
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.isolated
HERE = Path(__file__).parent

@pytest.mark.parametrize("name", NAMES)
def test_meets(name, request):
    flavour = request.node.name.rpartition("-")[2]
    own = HERE / f"running-{flavour}{name}"
    own.touch()
    until = time.monotonic() + 60
    while flavour == "beside]" and len([*HERE.glob("running-b*")]) < 3:
        assert time.monotonic() < until
        time.sleep(0.001)
    if flavour == "alone]":
        assert [*HERE.glob("running*")] == [own]
        own.unlink()
"""

SHUFFLE = """
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.name.replace("alone", "x"), reverse=True)
"""


@pytest.mark.parametrize("conftest", ["", SHUFFLE], ids=["plain", "shuffled"])
def test_at_the_same_time(
    pytester: pytest.Pytester, run_both_ways: RunPytest, conftest: str
) -> None:
    """
    Nothing runs beside the one flavour, others beside the other, in whatever order.
    """
    pytester.makeconftest(conftest)
    # Those of other modules too.
    pytester.makepyfile(
        test_one=MEET.replace("NAMES", "['a', 'b']"),
        test_other=MEET.replace("NAMES", "['c']"),
    )

    run_both_ways(*BOTH).assert_outcomes(passed=6)


WIDE = """
from pathlib import Path

import pytest

HERE = Path(__file__).parent

def note(text):
    with (HERE / "set-up").open("a") as file:
        file.write(text + "\\n")

@pytest.fixture(scope="session")
def of_session():
    note("session")

@pytest.fixture(scope="module")
def of_module(request):
    note(request.module.__name__)

@pytest.fixture(scope="module", params=["x", "y"])
def letter(request):
    note(request.module.__name__ + request.param)

@pytest.fixture(scope="class")
def of_class(request):
    note(str(request.cls))
"""

NARROW = """
import pytest

@pytest.mark.isolated
def test_one(of_session): pass

@pytest.mark.isolated
def test_two(of_session): pass
"""

OF_MODULE = """
import pytest

pytestmark = pytest.mark.isolated

def test_plain(): pass
def test_one(of_module): pass

class TestAll:
    def test_one(self, of_class): pass
    def test_two(self, of_class): pass

def test_two(of_module): pass
"""

OF_PACKAGE = """
def setup_module():
    with open("set-up", "a") as file:
        file.write("package\\n")
"""

OF_VALUE = """
import pytest

pytestmark = pytest.mark.isolated

def test_one(letter): pass
def test_two(letter): pass
"""


def test_set_up_once(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Wide fixtures are set up as often as without flavours.
    """
    pytester.makeconftest(WIDE)
    pytester.makepyfile(
        test_a=NARROW, test_b=OF_MODULE, test_c=NARROW, test_d=OF_VALUE, test_e=NARROW
    )
    package = pytester.mkpydir("package")
    package.joinpath("__init__.py").write_text(OF_PACKAGE)
    package.joinpath("test_f.py").write_text(NARROW)
    log = pytester.path / "set-up"
    run_both_ways().assert_outcomes(passed=17)
    plain = log.read_text()
    log.unlink()
    result = run_both_ways(*BOTH)

    result.assert_outcomes(passed=34)
    assert log.read_text() == plain
    assert plain.splitlines() == [
        "package",
        "session",
        "test_b",
        "<class 'test_b.TestAll'>",
        "test_dx",
        "test_dy",
    ]


ORDER = """
import unittest

import pytest

@pytest.mark.isolated
@pytest.mark.parametrize("number", [1, 2])
def test_param(number): pass

def test_on_host(): pass

@pytest.mark.isolated
class TestIt(unittest.TestCase):
    def test_method(self): pass

@pytest.mark.isolated(group="db")
def test_group(): pass

@pytest.mark.isolated(alone=True)
def test_alone(): pass

@pytest.mark.isolated(scope="class")
def test_no_class(): pass

@pytest.mark.isolated(scope="module")
def test_shares(): pass

@pytest.mark.isolated(scope="module")
def test_shares_too(): pass

@pytest.mark.isolated(alon=True)
def test_bad(): pass
"""

ORDERED = [
    "test_param[1-alone]",
    "test_param[2-alone]",
    "test_param[1-beside]",
    "test_param[2-beside]",
    "test_on_host",
    "TestIt::test_method[alone]",
    "TestIt::test_method[beside]",
    "test_group[alone]",
    "test_group[beside]",
    "test_alone[alone]",
    "test_no_class[alone]",
    "test_no_class[beside]",
    "test_shares[alone]",
    "test_shares_too[alone]",
    "test_bad",
]


def names_in(result: pytest.RunResult) -> list[str]:
    """
    Return the names of the tests that *result* lists, without the file name.
    """
    return [
        line.partition("::")[2].partition(" ")[0]
        for line in result.outlines
        if line.startswith("test_order.py::") and ": " not in line
    ]


def test_order(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Copies follow each other flavour by flavour; what never has company runs once.
    """
    pytester.makepyfile(test_order=ORDER)

    result = run_both_ways("-v", *BOTH)

    result.assert_outcomes(passed=14, errors=1)
    assert names_in(result) == ORDERED
    result.stdout.fnmatch_lines(
        ["nsisolate: no difference between alone and beside in 5 tests"]
    )


OTHERS = [
    ("beside,alone", ["test_group[beside]", "test_group[alone]", "test_alone[alone]"]),
    ("beside", ["test_group[beside]", "test_alone[alone]"]),
    ("alone", ["test_group[alone]", "test_alone[alone]"]),
    (
        "host,alone,beside",
        [
            *("test_group[host]", "test_group[alone]", "test_group[beside]"),
            *("test_alone[host]", "test_alone[alone]"),
        ],
    ),
    (
        "isolated,alone",
        [
            *("test_group[isolated]", "test_group[alone]"),
            *("test_alone[isolated]", "test_alone[alone]"),
        ],
    ),
]


@pytest.mark.parametrize(("flavours", "names"), OTHERS)
def test_other_flavours(
    pytester: pytest.Pytester, flavours: str, names: list[str]
) -> None:
    """
    All flavours go together, in each order.
    """
    pytester.makepyfile(test_order=ORDER)

    result = pytester.runpytest_subprocess(
        "-v", f"--nsisolate-flavours={flavours}", JOBS, "-k", "group or test_alone"
    )

    assert result.ret == 0
    assert names_in(result) == names


def test_chosen(pytester: pytest.Pytester) -> None:
    """
    A flavour is selected with ``-k`` and by id. There is nothing to compare then.
    """
    pytester.makepyfile(test_order=ORDER)
    by_word = pytester.runpytest_subprocess("-v", *BOTH, "-k", "beside] and not class")
    by_id = pytester.runpytest_subprocess(
        "-v", *BOTH, "test_order.py::test_group[beside]"
    )

    assert names_in(by_word) == [
        one for one in ORDERED if "beside]" in one and "class" not in one
    ]
    assert names_in(by_id) == ["test_group[beside]"]
    for result in (by_word, by_id):
        result.stdout.fnmatch_lines(
            ["nsisolate: no difference between alone and beside in 0 tests"]
        )


FAILS_BESIDE = """
import pytest

pytestmark = pytest.mark.isolated

@pytest.fixture
def flavour(request):
    return request.node.name.rpartition("[")[2]

def test_first(): pass

def test_second(flavour): assert flavour != "beside]"

@pytest.fixture
def breaks(flavour):
    yield
    assert flavour != "alone]"

def test_third(breaks): pass

def test_fourth(flavour):
    if flavour == "beside]":
        pytest.skip("no")

@pytest.mark.xfail
def test_fifth(flavour): assert flavour != "alone]"
"""


def test_each_outcome(pytester: pytest.Pytester) -> None:
    """
    The table tells apart all outcomes of a test, and gives advice on those that fail.
    """
    pytester.makepyfile(test_fails=FAILS_BESIDE)

    result = pytester.runpytest_subprocess(*BOTH, "-q", "--tb=no")

    result.stdout.fnmatch_lines(
        [
            "*= tests that differ between flavours =*",
            "test_fails.py::test_second: alone passed, beside failed",
            "test_fails.py::test_third: alone error, beside passed",
            "test_fails.py::test_fourth: alone passed, beside skipped",
            "test_fails.py::test_fifth: alone xfailed, beside xpassed",
            "4 of 5 tests differ",
            "Those that fail only beside *",
            "with one of them. *",
            "share it with *",
            "Those that fail only alone *",
        ],
        consecutive=True,
    )


@pytest.mark.parametrize(
    ("option", "outcomes"),
    [
        ("--lf", {"passed": 6, "failed": 1, "skipped": 1, "xpassed": 2}),
        # The second test fails beside, as the seventh in the order, and ends it.
        ("--sw", {"passed": 5, "failed": 1, "xpassed": 1}),
    ],
)
def test_last_failed(
    pytester: pytest.Pytester, option: str, outcomes: dict[str, int]
) -> None:
    """
    With ``--lf`` a test that failed runs again in that flavour; ``--sw`` goes on there.
    """
    pytester.makepyfile(test_order=FAILS_BESIDE.replace("alone]", "no]"))
    first = pytester.runpytest_subprocess(*BOTH, option)
    pytester.makepyfile(test_order=FAILS_BESIDE.replace("!=", "or"))
    again = pytester.runpytest_subprocess(*BOTH, option, "-v")

    first.assert_outcomes(**outcomes)
    expected = ["test_second[beside]"]
    if option == "--sw":
        expected += [f"test_{one}[beside]" for one in ("third", "fourth", "fifth")]
    assert names_in(again) == expected


def test_stepwise(pytester: pytest.Pytester) -> None:
    """
    With ``--sw`` no test is left out, though pytest goes by wide parameters as well.
    """
    source = """
    import pytest

    pytestmark = pytest.mark.isolated

    @pytest.fixture(scope="module", params=["x", "y"])
    def letter(request): return request.param

    def test_one(letter): pass

    def test_two(letter, request): assert "x-alone" not in request.node.name
    """
    pytester.makepyfile(test_order=source)
    first = pytester.runpytest_subprocess(*BOTH, "--sw", "-v")
    pytester.makepyfile(test_order=source.replace("not in", "or"))
    again = pytester.runpytest_subprocess(*BOTH, "--sw", "-v")

    first.assert_outcomes(passed=1, failed=1)
    again.assert_outcomes(passed=7, deselected=1)
    assert [*names_in(first)[:1], *names_in(again)] == [
        f"test_{number}[{letter}-{flavour}]"
        for letter in "xy"
        for flavour in ("alone", "beside")
        for number in ("one", "two")
    ]


LATE_HOOK = "def pytest_runtest_makereport(): pass\n"


@pytest.mark.parametrize(
    ("arguments", "why", "fix"),
    [
        ([], "there is one job", "add --nsisolate-jobs=4"),
        (["--nsisolate-jobs=1"], "there is one job", "add --nsisolate-jobs=4"),
        ([JOBS, "-s"], "--capture=no", "run without that, *"),
        ([JOBS, "below"], "pytest_runtest_makereport() of *", "run without that, *"),
    ],
)
def test_one_job(
    pytester: pytest.Pytester, arguments: list[str], why: str, fix: str
) -> None:
    """
    Where tests run one after the other, the flavour beside is refused in three lines.
    """
    pytester.makepyfile(test_order=ORDER)
    below = pytester.mkdir("below")
    below.joinpath("conftest.py").write_text(LATE_HOOK)
    below.joinpath("test_below.py").write_text(ORDER)
    if arguments[-1:] == ["below"]:
        arguments = [*arguments[:-1], "."]
    else:
        arguments = [*arguments, "test_order.py"]

    result = pytester.runpytest_subprocess(FLAVOURS, *arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: cannot use the flavour beside: no test runs beside another",
            f"why: tests run one after the other: {why}",
            f"fix: {fix}",
        ]
    )


def test_alone_with_one_job(pytester: pytest.Pytester) -> None:
    """
    The flavour alone needs no jobs.
    """
    pytester.makepyfile(test_order=ORDER)

    result = pytester.runpytest_subprocess("--nsisolate-flavours=alone", "-k", "group")

    result.assert_outcomes(passed=1, deselected=9)
