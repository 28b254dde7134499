"""
Process groups and sessions: a test leads none, as in a pytest that a script starts.
"""

from __future__ import annotations

import sys

import pytest
from terminals import terminals
from ways import RunPytest

pytestmark = pytest.mark.python

OWN = """
import os
import signal
import subprocess

def exchange():
    \"\"\"Send a signal to the group of this process and of one that it starts.\"\"\"
    got = []
    signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    process = subprocess.Popen(["sleep", "60"])
    assert os.getpgid(process.pid) == os.getpgrp()
    os.kill(0, signal.SIGUSR1)
    assert process.wait() == -signal.SIGUSR1
    assert got == [1]

def test_session():
    assert os.getpgrp() not in {0, 1, os.getpid()}
    os.setsid()
    assert os.getsid(0) == os.getpgrp() == os.getpid()
    exchange()
    pid = os.fork()
    if not pid:
        os._exit(os.getsid(0) == os.getppid())
    assert os.waitpid(pid, 0) == (pid, 1 << 8)

def test_group():
    before = os.getpgrp()
    assert before not in {0, 1, os.getpid()}
    os.setpgid(0, 0)
    assert os.getpgrp() == os.getpid()
    exchange()

def test_terminal():
    import fcntl, pty, termios
    leader, follower = pty.openpty()
    os.setsid()
    fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
    assert os.tcgetpgrp(follower) == os.getpgrp() == os.getpid()
    got = []
    signal.signal(signal.SIGINT, lambda *_: got.append(1))
    os.write(leader, b"\\x03")
    # It is read back once it has been acted on; its two bytes may come one by one.
    with open(leader, "rb", closefd=False) as echo:
        assert echo.read(2) == b"^C"
    assert got == [1]
"""

CHILDREN = """
import os
import pty
import signal
import subprocess
import sys
import pytest

TELL = "import os; print(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())"

def told(**keywords):
    command = [sys.executable, "-I", "-S", "-c", TELL]
    return subprocess.check_output(command, text=True, **keywords).split()

def test_popen():
    assert told() == ["False", "False"]
    assert told(start_new_session=True) == ["True", "True"]
    assert told(preexec_fn=os.setsid) == ["True", "True"]
    assert told(preexec_fn=os.setpgrp) == ["True", "False"]

@pytest.mark.skipif(sys.version_info < (3, 11), reason="process_group= is new in 3.11")
def test_process_group():
    assert told(process_group=0) == ["True", "False"]

@pytest.mark.skipif(sys.version_info < (3, 11), reason="process_group= is new in 3.11")
def test_process_group_of_this_process():
    assert told(process_group=os.getpgrp()) == ["False", "False"]

def test_daemon():
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            if not os.fork():
                os.umask(0)
                leads = os.getsid(0) == os.getpid()
                os.write(write, f"{os.getsid(0) == os.getpgrp()} {leads}".encode())
        finally:
            os._exit(0)
    os.close(write)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert os.read(read, 64) == b"True False"

def test_pty_fork():
    pid, fd = pty.fork()
    if not pid:
        try:
            leads = os.getsid(0) == os.tcgetpgrp(0) == os.getpid()
            os.write(1, f"{leads}".encode())
        finally:
            os._exit(0)
    with open(fd, "rb") as written:
        assert written.read(4) == b"True"
        assert os.waitpid(pid, 0) == (pid, 0)

@pytest.mark.skipif(sys.version_info < (3, 11), reason="os.login_tty() is new in 3.11")
def test_login_tty():
    leader, follower = pty.openpty()
    pid = os.fork()
    if not pid:
        try:
            os.login_tty(follower)
            os._exit(os.tcgetpgrp(0) == os.getpid() == os.getsid(0))
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0) == (pid, 1 << 8)

@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_stopped_job(number, pytestconfig):
    if number == signal.SIGTSTP and not pytestconfig.option.nsisolate:
        pytest.skip("stops nothing if the group of pytest is an orphaned one")
    process = subprocess.Popen(["sleep", "60"])
    os.kill(process.pid, number)
    assert os.waitpid(process.pid, os.WUNTRACED) == (process.pid, number << 8 | 0x7F)
    os.kill(process.pid, signal.SIGCONT)
    assert os.WIFCONTINUED(os.waitpid(process.pid, os.WCONTINUED)[1])
    process.kill()
    assert process.wait() == -signal.SIGKILL

def test_nothing_to_wait_for():
    with pytest.raises(ChildProcessError):
        os.wait()
    assert not signal.sigpending()
"""


def test_plain(pytester: pytest.Pytester) -> None:
    """
    What the isolated tests below expect is what a plain run gives.
    """
    pytester.makepyfile(test_own=OWN, test_children=CHILDREN)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    # The first three change the group of pytest itself.
    for name in ("session", "group", "terminal"):
        one = f"test_own.py::test_{name}"
        result = pytester.run(*command, "--no-nsisolate", one, timeout=60)
        result.assert_outcomes(passed=1)
    arguments = ["--no-nsisolate", "test_children.py"]
    result = pytester.run(*command, *arguments, timeout=60)
    assert result.ret == 0


def test_isolated(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A test leads neither group nor session, and may found one.
    """
    pytester.makepyfile(test_own=OWN, test_children=CHILDREN)
    result = run_both_ways("--nsisolate")
    assert result.ret == 0


REAPED = """
import os
import signal
import pytest

# As of a parent that wants none of its children.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)

@pytest.mark.isolated
def test_group():
    assert os.getpgrp() not in {0, 1, os.getpid()}
    os.setsid()

def test_box(sandbox_factory):
    box = sandbox_factory()
    assert box.run(abs, -3) == 3
    with box.popen(["sh", "-c", "exit 0"]) as process:
        process.wait()
"""


def test_reaped_by_the_kernel(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    A test leads no group either if pytest ignores SIGCHLD, and no zombie waits.
    """
    pytester.makepyfile(REAPED)
    run_both_ways().assert_outcomes(passed=2)


@pytest.mark.parametrize("options", [["-v"], ["--nsisolate-doctor"]])
def test_reaped_from_the_start(
    pytester: pytest.Pytester, run_both_ways: RunPytest, options: list[str]
) -> None:
    """
    The same if it has ignored SIGCHLD before isolation is tried out.
    """
    pytester.makeconftest(REAPED.partition("@")[0])
    pytester.makepyfile(REAPED)
    assert run_both_ways(*options).ret == 0


def test_refused_and_reaped(pytester: pytest.Pytester) -> None:
    """
    A refusal is explained by trying each call, also if nobody can wait for a process.
    """
    pytester.makepyfile(REAPED)
    none = "echo 0 > /proc/sys/user/max_ipc_namespaces; "
    command = f"{sys.executable} -m pytest -p no:cacheprovider"
    unshare = ["unshare", "--user", "--map-root-user", "sh", "-c", none + command]
    result = pytester.run(*unshare, timeout=60)
    result.assert_outcomes(errors=1, failed=1)
    result.stdout.fnmatch_lines(["why: *max_ipc_namespaces is 0*"])


READS = """
import os
import signal
import subprocess
from pathlib import Path

def test_reads():
    with Path("log").open("w") as log:
        print(input("line? "), file=log)
        fd = os.open("/dev/tty", os.O_RDWR)
        print(os.tcgetpgrp(fd) == os.getpgrp(), file=log)
        command = ["sh", "-c", "printf 'more? ' >&0; read line; echo $line"]
        print(subprocess.check_output(command, stdin=fd, text=True), file=log)
        signal.signal(signal.SIGINT, lambda *_: print("interrupted", file=log))
        print("interrupt! ")
        assert not os.read(fd, 10)
"""


def test_terminal(pytester: pytest.Pytester) -> None:
    """
    The group of a test can be in the foreground of a terminal.
    """
    with terminals(pytester.path, {"test_it.py": READS}, ["-s"]) as found:
        for one in found.values():
            one.spawn.expect_exact("line? ")
            one.spawn.sendline("first")
            one.spawn.expect_exact("more? ")
            one.spawn.sendline("second")
            one.spawn.expect_exact("interrupt! ")
            one.spawn.sendintr()
            one.spawn.sendeof()
            seen = one.finish()
            assert seen.log == ["first", "True", "second", "", "interrupted"]
            assert (seen.status, seen.left) == (0, [])
