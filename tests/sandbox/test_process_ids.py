"""
The process id of a guest, which none of the processes that it is a fork of has.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ways import GAIN, KEEP, LOSE, WAYS, cannot, is_capable

pytestmark = pytest.mark.python

#: Runs a command in a new PID namespace.
_NEW = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
#: How it is started to be process 2 there, or process 3.
_START = {
    2: ("sh", "-c", '"$@"; exit $?', "sh"),
    3: ("sh", "-c", 'sh -c :; "$@"; exit $?', "sh"),
}


def in_namespace(way: str, number: int, *args: str) -> list[str]:
    """
    Return a command that runs pytest as process *number* of a new PID namespace.
    """
    new = _NEW if is_capable() else GAIN.split()
    lose = LOSE.split() if way == KEEP else []
    pytest_command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args]
    return [*new, *_START[number], *lose, *pytest_command]


FIXTURES = """
import atexit
import multiprocessing
import os
from pathlib import Path
import pytest

SUPERVISOR = os.getpid()

@pytest.fixture(scope="session")
def shared():
    with multiprocessing.Manager() as manager:
        yield manager.dict(number=0)

def test_number_of_pytest():
    assert os.getpid() == SUPERVISOR == NUMBER

@pytest.mark.isolated
@pytest.mark.parametrize("turn", [1, 2])
def test_manager_lives(shared, turn):
    shared["number"] += 1
    assert shared["number"] == turn
    assert os.getpid() not in {1, SUPERVISOR, os.getppid()}

@pytest.mark.isolated(scope="module", fork=True)
@pytest.mark.parametrize("turn", range(3))
def test_each_fork(turn):
    assert os.getpid() not in {1, SUPERVISOR}
    # They share the sandbox, whatever number its next process gets.
    assert len(os.listdir("/dev/shm")) == turn
    Path(f"/dev/shm/{turn}").touch()

def test_manager_still_lives(shared):
    assert shared["number"] == 2
"""


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("number", list(_START))
def test_manager(pytester: pytest.Pytester, way: str, number: int) -> None:
    """
    What tells a fork by its process id, as multiprocessing does, can tell a guest.
    """
    pytester.makepyfile(f"NUMBER = {number}\n{FIXTURES}")
    result = pytester.run(*in_namespace(way, number), timeout=60)
    result.assert_outcomes(passed=7)


NESTED = """
import os
import pytest

pytest_plugins = "pytester"

# What a library keeps; both sessions see this module.
pytest.numbers = [os.getpid()]

@pytest.mark.isolated
def test_outer(pytester):
    pytest.numbers.append(os.getpid())
    pytester.makepyfile('''
        import os
        import pytest

        @pytest.mark.isolated
        def test_inner():
            assert len(pytest.numbers) == 2
            assert os.getpid() not in pytest.numbers
    ''')
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
"""


@pytest.mark.parametrize("way", list(WAYS))
def test_nested(pytester: pytest.Pytester, way: str) -> None:
    """
    A guest of a guest has neither the number of that one nor that of its supervisor.
    """
    pytester.makepyfile(NESTED)
    result = pytester.run(*in_namespace(way, 3), timeout=60)
    result.assert_outcomes(passed=1)


BOX = """
import os
import subprocess
import pytest

SUPERVISOR = os.getpid()

@pytest.mark.isolated
def test_in_guest(sandbox_factory):
    box = sandbox_factory()
    guest = os.getpid()
    numbers = {box.run(os.getpid) for _ in range(3)}
    assert len(numbers) == 3
    assert not numbers & {1, SUPERVISOR, guest}

def test_on_host(sandbox_factory):
    box = sandbox_factory(leaks="ignore")
    assert box.run(os.getpid) not in {1, SUPERVISOR}

def test_number_comes_later(sandbox_factory):
    \"\"\"The box has got as far as the number of pytest when it is entered again.\"\"\"
    box = sandbox_factory()
    seen = [box.run(os.getpid)]
    while seen[-1] < SUPERVISOR - 3:
        box.popen(["true"]).wait()
        seen.append(box.run(os.getpid))
    seen += [box.run(os.getpid) for _ in range(6)]
    assert SUPERVISOR not in seen and seen[-1] > SUPERVISOR
"""


@pytest.mark.parametrize("way", list(WAYS))
def test_boxes(pytester: pytest.Pytester, way: str) -> None:
    """
    What runs in a box has another number than all processes that it is a fork of.
    """
    pytester.makepyfile(BOX)
    result = pytester.run(*in_namespace(way, 3), timeout=60)
    result.assert_outcomes(passed=3)


WRAPPED = """
import os
from pathlib import Path
import pytest

ABOVE = {1, os.getpid(), os.getppid()}
HIGHEST = int(Path("/proc/sys/kernel/pid_max").read_text())
# The numbers before those that come next: the highest two, and the one of pytest.
TURNS = [HIGHEST - 2, os.getpid() - 1] * 3

def go_on_after(number):
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(number))

@pytest.mark.isolated(scope="module", fork=True, user="root")
@pytest.mark.parametrize("number", TURNS, ids=range(len(TURNS)))
def test_each_fork(number):
    assert os.getpid() not in ABOVE
    go_on_after(number)

def test_box(sandbox_factory):
    box = sandbox_factory(user="root")
    for number in TURNS:
        box.run(go_on_after, number)
        assert {box.run(os.getpid), box.run(os.getpid)}.isdisjoint(ABOVE)
"""


@pytest.mark.parametrize("way", list(WAYS))
def test_numbers_begin_again(pytester: pytest.Pytester, way: str) -> None:
    """
    After the highest number come the low ones again, but none that is taken.
    """
    if not Path("/proc/sys/kernel/ns_last_pid").exists():
        cannot("this kernel has no /proc/sys/kernel/ns_last_pid (proc_sys_kernel(5))")
    pytester.makepyfile(WRAPPED)
    pytest_command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    result = pytester.run(*WAYS[way], *pytest_command, timeout=60)
    result.assert_outcomes(passed=7)


REGISTERED = """
import os
from multiprocessing.util import Finalize
from pathlib import Path
import pytest

LOG = Path("log").absolute()

def note(text):
    with LOG.open("a") as file:
        file.write(text + " ")

OUTSIDE = Finalize(None, note, ["supervisor"], exitpriority=1)

@pytest.mark.isolated
def test_it():
    Finalize(None, note, ["guest"], exitpriority=1)
    # As if this process had the number of pytest.
    OUTSIDE._pid = os.getpid()
"""


def test_only_what_the_guest_registered(pytester: pytest.Pytester) -> None:
    """
    A guest runs no finalizer of the supervisor, even one that takes it for its own.
    """
    pytester.makepyfile(REGISTERED)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    assert (pytester.path / "log").read_text() == "guest supervisor "


ENDED = """
import os
import signal
import sys
import threading
from pathlib import Path

from pytest_nsisolate.guest.entry import InGuest
from pytest_nsisolate.guest.fork import fork_into
from pytest_nsisolate.guest.messages import OF_CALL
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.pool import Pool

# With a thread, there is a process between.
end = threading.Event()
thread = threading.Thread(target=end.wait)
thread.start()
pool = Pool()
sandbox = pool.take(Spec())
try:
    process = fork_into(sandbox, OF_CALL)
except InGuest:
    os._exit(0)
pid = process.pid_inside()
assert process.has_ended(60)

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGUSR1])
number = 0
while number != pid:
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    number = os.fork()
    if not number:
        # Of two signals, it takes the lower one.
        os._exit(signal.sigwait([signal.SIGHUP, signal.SIGUSR1]))
    if number != pid:
        os.kill(number, signal.SIGUSR1)
        os.waitpid(number, 0)
process.send(signal.SIGHUP)
os.kill(number, signal.SIGUSR1)
_, status = os.waitpid(number, 0)

process.reap()
sandbox.close()
pool.stop()
end.set()
assert os.waitstatus_to_exitcode(status) == signal.SIGUSR1
"""


def test_number_of_a_guest_that_has_ended(pytester: pytest.Pytester) -> None:
    """
    Nothing is sent to a guest that was reaped: its number may be another process's.
    """
    script = pytester.makepyfile(script=ENDED)
    result = pytester.run(*GAIN.split(), sys.executable, script, timeout=60)
    assert result.ret == 0
