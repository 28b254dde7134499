"""
Interrupts: Ctrl-C on a real terminal, SIGINT to pytest alone, SIGTERM and SIGHUP.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import machine
import pexpect
import psutil
import pytest
from terminals import ALL, PATIENCE, PLAIN, Seen, Terminal, compare, terminals
from ways import KEEP, WAYS
from ways import PLAIN as PLAIN_WAY

# They wait for what the test whose turn it is does to the host.
pytestmark = pytest.mark.one_job

TESTS = """
import functools
import os
import signal
import subprocess
import time
import pytest

def note(text):
    with open("log", "a") as file:
        print(text, file=file)

# A signal that comes just before a sleep begins is seen when that is over.
nap = functools.partial(time.sleep, 0.1)

@pytest.fixture(scope="session", autouse=True)
def wide():
    yield
    note("wide down")

@pytest.fixture
def narrow():
    note("narrow up")
    yield
    # Long enough to be interrupted in, were one Ctrl-C taken for two.
    time.sleep(0.2)
    note("narrow down")

def test_swallows(narrow):
    try:
        os.mkdir("here 1"); [nap() for _ in range(900)]
    except KeyboardInterrupt:
        note("swallowed")

def test_passes(narrow): pass

@pytest.fixture
def ready(narrow):
    os.mkdir("ready")

def test_sleeps(narrow, ready):
    # On one line, so that this is the place of the interrupt whenever it comes.
    os.mkdir("here 2"); [nap() for _ in range(900)]

@pytest.fixture(scope="session")
def slow_up():
    os.mkdir("here 1"); [nap() for _ in range(900)]

def test_wide_setup(narrow, slow_up): pass

@pytest.fixture
def slow_down(narrow):
    yield
    os.mkdir("here 1"); [nap() for _ in range(900)]

def test_teardown(slow_down): pass

@pytest.fixture(scope="session")
def wide_slow_down():
    yield
    os.mkdir("here 1"); [nap() for _ in range(900)]

def test_wide_teardown(narrow, wide_slow_down): pass

def test_insists():
    number = 0
    while True:
        number += 1
        try:
            os.mkdir(f"here {number}"); [nap() for _ in range(900)]
        except KeyboardInterrupt:
            note("swallowed")

def test_blocks():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.mkdir("here 1")
    while signal.SIGINT not in signal.sigpending():
        time.sleep(0.01)
    os.mkdir("here 2"); [nap() for _ in range(900)]

def test_family():
    subprocess.Popen(["sleep", "90"], start_new_session=True)
    subprocess.Popen(["sh", "-c", "trap '' HUP INT TERM; sleep 90; sleep 90"])
    os.mkdir("here 1"); [nap() for _ in range(900)]

def test_never(): note("never")
"""

FILES = {"test_it.py": TESTS}

#: The option that runs all tests in one guest, with the fixtures of all scopes.
SHARED = "--nsisolate-scope=session"


def at_the_terminal(one: Terminal) -> None:
    """
    Press Ctrl-C, for which the kernel sends SIGINT to the foreground process group.
    """
    one.spawn.sendintr()


def to_pytest_alone(one: Terminal) -> None:
    """
    Send SIGINT to the supervisor alone.
    """
    one.supervisor().send_signal(signal.SIGINT)


def _interrupt(
    found: Mapping[str, Terminal],
    how: Callable[[Terminal], None],
    name: str = "here 1",
) -> None:
    """
    Interrupt each session after it has made the directory *name*.
    """
    for one in found.values():
        one.await_path(name)
        how(one)


def _isolated_ones(found: Mapping[str, Terminal]) -> list[Terminal]:
    """
    Return the isolated sessions, and close the plain one, which is not examined.
    """
    found[PLAIN].spawn.close(force=True)
    return [one for way, one in found.items() if way != PLAIN]


def _tells(seen: Seen) -> bool:
    """
    Return whether pytest reported the interrupt as usual.
    """
    return any("!! KeyboardInterrupt !!" in line for line in seen.lines)


def _expect_interrupted(seen: Seen) -> None:
    """
    Check pytest's usual report, its exit code, and that nothing is left.
    """
    assert _tells(seen), seen.lines
    assert seen.status == 2
    assert seen.left == []


@pytest.mark.parametrize("how", [at_the_terminal, to_pytest_alone])
@pytest.mark.parametrize(
    "options", [[], ["-s"], [SHARED]], ids=["captured", "-s", "shared"]
)
def test_interrupt(
    pytester: pytest.Pytester, how: Callable[[Terminal], None], options: list[str]
) -> None:
    """
    One SIGINT raises one KeyboardInterrupt in the test, which may swallow it.
    """
    options = [*options, "-k", "swallows or passes or sleeps or never"]
    with terminals(pytester.path, FILES, options) as found:
        _interrupt(found, how)
        _interrupt(found, how, "here 2")
        seen = compare(found)
    _expect_interrupted(seen)
    line = TESTS[: TESTS.index('"here 2"')].count("\n") + 1
    assert f"/test_it.py:{line}: KeyboardInterrupt" in seen.lines
    around = ["narrow up", "narrow down"]
    swallowed = ["narrow up", "swallowed", "narrow down"]
    assert seen.log == [*swallowed, *around, *around, "wide down"]


#: A test that runs beside those of the other module, until an interrupt ends it.
BESIDE = """
import os
import time

def test_beside():
    os.mkdir("beside")
    [time.sleep(0.1) for _ in range(900)]
"""


@pytest.mark.parametrize("how", [at_the_terminal, to_pytest_alone])
@pytest.mark.parametrize("keywords", ['scope="module"', 'scope="module", fork=True'])
def test_interrupt_beside(
    pytester: pytest.Pytester, how: Callable[[Terminal], None], keywords: str
) -> None:
    """
    Beside a shared sandbox, only the test whose turn it is gets the interrupt.
    """
    mark = f"import pytest\npytestmark = pytest.mark.isolated({keywords})\n"
    files = {"test_it.py": mark + TESTS, "test_z.py": BESIDE}
    names = "swallows or passes or sleeps or beside"
    with terminals(pytester.path, files, ["--nsisolate-jobs=4", "-k", names]) as found:
        for way, one in found.items():
            if way != PLAIN:
                one.await_path("beside")
        _interrupt(found, how)
        _interrupt(found, how, "here 2")
        seen = compare(found)
    _expect_interrupted(seen)
    assert seen.log.count("swallowed") == 1
    assert seen.log[-1] == "wide down"


@pytest.mark.parametrize(
    ("where", "how", "options"),
    [
        ("wide_setup", at_the_terminal, []),
        ("wide_setup", at_the_terminal, [SHARED]),
        ("teardown and not wide", at_the_terminal, []),
        ("wide_teardown", to_pytest_alone, []),
        ("wide_teardown", to_pytest_alone, [SHARED]),
    ],
)
def test_interrupted_fixture(
    pytester: pytest.Pytester,
    where: str,
    how: Callable[[Terminal], None],
    options: list[str],
) -> None:
    """
    An interrupt in setup or teardown, borrowed or owned, acts as in a plain run.
    """
    options = ["-v", "-k", f"{where} or never", *options]
    with terminals(pytester.path, FILES, options) as found:
        _interrupt(found, how)
        _expect_interrupted(compare(found))


def test_job_of_shell(pytester: pytest.Pytester) -> None:
    """
    If pytest is a job of a shell, Ctrl-C ends it and the shell gets the terminal back.
    """
    options = ["-k", "sleeps or never"]
    job = ["sh", "-mc", '"$@"; echo "status $?"', "sh"]
    ways = {way: [*job, *prefix] for way, prefix in ALL.items()}
    with terminals(pytester.path, FILES, options, ways=ways) as found:
        _interrupt(found, at_the_terminal, "here 2")
        seen = compare(found)
    assert _tells(seen), seen.lines
    assert seen.lines[-1] == "status 2"
    assert seen.log == ["narrow up", "narrow down", "wide down"]


@pytest.mark.parametrize(
    ("test", "options"), [("insists", []), ("insists", ["-s"]), ("blocks", [])]
)
def test_second(pytester: pytest.Pytester, test: str, options: list[str]) -> None:
    """
    A second Ctrl-C ends the session at once, whatever the test does with it.
    """
    options = [*options, "-k", f"{test} or never"]
    with terminals(pytester.path, FILES, options) as found:
        isolated = _isolated_ones(found)
        for name in ("here 1", "here 2"):
            for one in isolated:
                one.await_path(name)
                one.spawn.sendintr()
        for one in isolated:
            # The kernel merges two signals that come too close together.
            if one.spawn.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=10):
                one.spawn.sendintr()
            seen = one.finish()
            _expect_interrupted(seen)
            assert "never" not in seen.log
            assert seen.log[-1] == "wide down"


AT_FORK = """
import contextlib
import itertools
import os
import signal
import time
import psutil

count, supervisor = itertools.count(1), os.getpid()

def is_over(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

def interrupt():
    if os.getpid() != supervisor or next(count) != int(os.environ["NUMBER"]):
        return
    end = time.monotonic() + 30
    while os.environ["AWAIT"] not in os.listdir() and time.monotonic() < end:
        time.sleep(0.01)
    if "KILL" in os.environ:
        killed = psutil.Process().children(recursive=True)
        for process in killed:
            # An init dies with the launcher.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        while not all(map(is_over, killed)):
            time.sleep(0.001)
    os.kill(supervisor, signal.SIGINT)

os.register_at_fork(before=interrupt)
"""


@pytest.mark.parametrize(
    ("number", "name"),
    [(2, "test_it.py"), (3, "ready")],
    ids=["its own fork", "the next one's fork"],
)
def test_during_fork(pytester: pytest.Pytester, number: int, name: str) -> None:
    """
    An interrupt that comes while a guest is being forked is neither lost nor early.
    """
    files = {**FILES, "conftest.py": AT_FORK}
    # The first fork is that of the probe.
    variables = {"NUMBER": str(number), "AWAIT": name}
    with terminals(pytester.path, files, ["-k", "sleeps or never"], variables) as found:
        for one in _isolated_ones(found):
            seen = one.finish()
            _expect_interrupted(seen)
            if number == 3:
                assert seen.log == ["narrow up", "narrow down", "wide down"]


KEY_IN_FORK = """
import os
import time
from pytest_nsisolate.linux import syscalls

# Much memory makes a fork last, so that a key can be pressed within it.
ballast = b"!" * (200 << 20)
supervisor, made = os.getpid(), []

def tell():
    is_supervisor = os.getpid() == supervisor
    if is_supervisor:
        made.append(None)
    # The first fork is that of the probe, the second that of the first test.
    number = len(made) - 3
    if number < 0 or is_supervisor != (os.environ["FORKED_BY"] == "supervisor"):
        return
    end = time.monotonic() + 30
    while f"here {number}" not in os.listdir() and time.monotonic() < end:
        time.sleep(0.001)
    with open(os.environ["FORKING"], "w") as fifo:
        fifo.write("!")

os.register_at_fork(before=tell)

# The process between calls nothing that is registered.
fork_alone = syscalls.fork_alone

def tell_and_fork(**told):
    tell()
    return fork_alone(**told)

syscalls.fork_alone = tell_and_fork
"""

SWALLOW = """
import os
import time
import pytest

@pytest.mark.parametrize("number", range(9))
def test_swallows(number):
    with pytest.raises(KeyboardInterrupt):
        os.mkdir(f"here {number}")
        while True:
            time.sleep(0.01)

def test_last(): pass
"""


@pytest.mark.parametrize(
    ("way", "forked_by"), [(PLAIN_WAY, "supervisor"), (KEEP, "process between")]
)
def test_key_during_fork(pytester: pytest.Pytester, way: str, forked_by: str) -> None:
    """
    A Ctrl-C in the middle of a fork for the next test is only for the one that runs.

    The kernel gives it to the fork as well, as a signal that no one is said to have
    sent. Source: copy_process() in Linux 4.19, on "delayed" signals.
    """
    files = {"conftest.py": KEY_IN_FORK, "test_it.py": SWALLOW}
    fifo = pytester.path / "forking"
    os.mkfifo(fifo)
    variables = {"FORKING": str(fifo), "FORKED_BY": forked_by}
    # If pytest itself wrote to the terminal, each test would wait for that fork.
    ways = {way: ["sh", "-c", 'exec "$@" >out', "sh", *WAYS[way]]}
    with (
        # Opened for writing too, it stays open between two writers.
        fifo.open("r+b", buffering=0) as forking,
        terminals(pytester.path, files, [], variables, ways=ways) as found,
    ):
        for _ in range(9):
            readable, _, _ = select.select([forking], [], [], PATIENCE)
            assert readable
            forking.read(1)
            found[way].spawn.sendintr()
        seen = found[way].finish()
        output = (found[way].path / "out").read_text()
    assert seen.status == 0, output
    assert seen.left == []


def test_during_refused_fork(pytester: pytest.Pytester) -> None:
    """
    An interrupt is not lost if the guest that it came with is refused and made again.
    """
    files = {**FILES, "conftest.py": AT_FORK}
    variables = {"NUMBER": "2", "AWAIT": "test_it.py", "KILL": "1"}
    with terminals(pytester.path, files, ["-k", "sleeps or never"], variables) as found:
        for one in _isolated_ones(found):
            seen = one.finish()
            _expect_interrupted(seen)
            assert "never" not in seen.log


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_terminated(pytester: pytest.Pytester, signum: signal.Signals) -> None:
    """
    A signal that ends pytest ends every process that it started.
    """
    options = ["-k", "family or never"]
    # The first process of a PID namespace ignores both: pid_namespaces(7).
    ways = {way: prefix for way, prefix in ALL.items() if "--fork" not in prefix}
    with terminals(pytester.path, FILES, options, ways=ways) as found:
        for one in _isolated_ones(found):
            one.await_path("here 1")
            assert len(one.processes()) >= 7
            one.supervisor().send_signal(signum)
            end = time.monotonic() + PATIENCE
            while one.processes() and time.monotonic() < end:
                time.sleep(0.01)
            assert one.processes() == []


WAITS = """
import time

def wait():
    open("here", "w").close()
    # A signal that comes just before a sleep begins is seen when that is over.
    [time.sleep(0.1) for _ in range(900)]
"""

AFTER = """
import atexit
import os
import pytest
import waits

if "exit" in os.environ["WHERE"]:
    @pytest.mark.isolated
    def test_waits():
        atexit.register(waits.wait)

if "hook" in os.environ["WHERE"]:
    @pytest.mark.isolated
    def test_waits(): pass
"""

COLLECTS = """
import os
import waits

def pytest_nsisolate_collect(item, report):
    if "hook" in os.environ["WHERE"] and report is None:
        waits.wait()
"""


def _start_until_here() -> tuple[subprocess.Popen[str], bytes]:
    """
    Start pytest, and wait until a test opens the FIFO ``here``; return what it writes.
    """
    os.mkfifo("here")
    # This does not wait for the test, which may never come.
    here = os.open("here", os.O_RDONLY | os.O_NONBLOCK)
    # A shell has processes in the background ignore SIGINT.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "pytest"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    readable, _, _ = select.select([here], [], [], PATIENCE)
    assert readable
    said = os.read(here, 32)
    os.close(here)
    return process, said


@pytest.mark.parametrize("where", ["exit handler", "hook"])
def test_after_the_test(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """
    Ctrl-C in the process of a test that is over ends the session, and fails no test.
    """
    monkeypatch.setenv("WHERE", where)
    pytester.makeconftest(COLLECTS)
    pytester.makepyfile(
        waits=WAITS, test_1=AFTER, test_2="def test_next(): raise AssertionError"
    )
    process, _ = _start_until_here()

    process.send_signal(signal.SIGINT)

    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in output
    assert "1 passed" in output
    assert "failed" not in output
    assert "error" not in output


ENDS = """
import os
import pytest

pytestmark = pytest.mark.isolated(scope=os.environ["SCOPE"])

def test_ends(isolation):
    with open("here", "w") as file:
        file.write(str(isolation.pid_on_host))
    # So it sleeps only when it is over.
    while not os.path.exists("go"): pass

def test_next(): raise AssertionError
"""


@pytest.mark.parametrize("scope", ["function", "module"])
def test_as_the_test_ends(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    """
    Ctrl-C ends the session if the test is over and pytest has not taken note of it.
    """
    monkeypatch.setenv("SCOPE", scope)
    pytester.makepyfile(ENDS)
    process, number = _start_until_here()
    guest = psutil.Process(int(number))
    process.send_signal(signal.SIGSTOP)
    machine.wait_until(lambda: machine.stands_still(psutil.Process(process.pid)))
    (pytester.path / "go").touch()
    machine.wait_until(lambda: does_nothing_more(guest), "the end of the test")

    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)

    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in output
    assert "failed" not in output
    assert "error" not in output


def does_nothing_more(guest: psutil.Process) -> bool:
    """
    Say whether *guest* has ended, or waits for its next test.
    """
    try:
        status = guest.status()
    except psutil.NoSuchProcess:
        return True
    return status in {psutil.STATUS_ZOMBIE, psutil.STATUS_SLEEPING}
