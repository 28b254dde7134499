"""
Libraries that do something at each fork, such as starting a thread.
"""

from __future__ import annotations

import re

import pytest
from ways import RunPytest

pytestmark = pytest.mark.python

HOOKS = """
import _thread
import os
import threading
import pytest

SUPERVISOR = os.getpid()
# The functions that have started a thread, and in which process.
SEEN = []
# The work that a thread does which was started in this process.
JOBS = []

def serve(started, stop):
    started.set()
    stop.wait()

def start(name):
    started, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=serve, args=(started, stop), name=name)
    thread.start()
    started.wait()
    JOBS.append((thread, stop))
    SEEN.append((name, os.getpid()))
    if FAILS:
        raise ValueError(name)

NAMES = ("before", "after_in_parent", "after_in_child")
for name in NAMES:
    os.register_at_fork(**{name: lambda name=name: start(name)})

def rest():
    while JOBS:
        thread, stop = JOBS.pop()
        stop.set()
        # One that is not here is none that a test can wait for.
        if thread.is_alive():
            thread.join()
    SEEN.clear()

def plain():
    \"\"\"Return what these functions see at a plain fork.\"\"\"
    rest()
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        here = ["child" if one == os.getpid() else "parent" for _, one in SEEN]
        names = [name for name, _ in SEEN]
        os.write(write, repr([*zip(names, here)]).encode())
        os._exit(not JOBS[-1][0].is_alive())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(write)
    inside = eval(os.read(read, 4096).decode())
    os.close(read)
    outside = [name for name, _ in SEEN]
    rest()
    return inside, outside

def seen_here():
    return [(name, "child" if pid == os.getpid() else "parent") for name, pid in SEEN]

PLAIN = None

@pytest.fixture(scope="module", autouse=True)
def plainly():
    global PLAIN
    PLAIN = plain()
    yield
    rest()
"""

ISOLATED = (
    HOOKS
    + """
@pytest.mark.isolated(leaks="ignore")
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_guest(turn):
    assert PLAIN[0] == [("before", "parent"), ("after_in_child", "child")]
    assert seen_here()[-2:] == PLAIN[0]
    assert [pid == os.getpid() for _, pid in SEEN].count(True) == 1
    alive = [thread for thread, _ in JOBS if thread.is_alive()]
    # Those of pytest are not here.
    assert [thread.name for thread in alive] == ["after_in_child"]
    assert len(os.listdir("/proc/self/task")) > 1
    rest()

def test_pytest_has_them():
    names = [name for name, _ in SEEN]
    assert PLAIN[1] == ["before", "after_in_parent"]
    assert names and names == ["before", "after_in_parent"] * (len(names) // 2)
    assert {pid for _, pid in SEEN} == {SUPERVISOR}
    assert all(thread.is_alive() for thread, _ in JOBS)

def test_call(sandbox_factory):
    assert sandbox_factory().run(seen_here)[-2:] == PLAIN[0]
    names = [name for name, _ in SEEN]
    assert names == ["before", "after_in_parent"] * (len(names) // 2)

def test_popen(sandbox_factory):
    box = sandbox_factory()
    for single in (False, True):
        if single:
            rest()
        assert box.popen(["true"]).wait() == 0
        assert all(thread.is_alive() for thread, _ in JOBS)
    assert [name for name, _ in SEEN] == ["before", "after_in_parent"]
"""
)


@pytest.mark.parametrize("fails", [False, True])
def test_python(
    pytester: pytest.Pytester, run_both_ways: RunPytest, *, fails: bool
) -> None:
    """
    What Python calls at a fork may start threads and fail, as at a plain fork.
    """
    pytester.makepyfile(f"FAILS = {fails}\n{ISOLATED}")
    result = run_both_ways("-W", "ignore")
    result.assert_outcomes(passed=6)


def test_registered_before_this_plugin(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    It makes no difference whether a library has registered before this plugin.
    """
    pytester.makepyfile(
        early=f"FAILS = False\n{HOOKS}",
        test_it="from early import *\nimport early\n"
        + ISOLATED.removeprefix(HOOKS).replace("PLAIN", "early.PLAIN"),
    )
    result = run_both_ways("-W", "ignore", "-p", "early")
    result.assert_outcomes(passed=6)


FROZEN = """
import gc
import pytest
from pytest_nsisolate.linux import at_fork

def test_heap_stays_frozen():
    assert not at_fork._called
    # Some of it may have gone since.
    assert 0 < gc.get_freeze_count() <= COUNT
"""


def test_lists_out_of_sight(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Where Python's lists cannot be found, as in a frozen heap, all else works too.
    """
    pytester.makepyfile(
        freezing="import gc\ngc.freeze()\nCOUNT = gc.get_freeze_count()\n",
        test_it=f"FAILS = False\n{ISOLATED}\nfrom freezing import COUNT\n{FROZEN}",
    )
    result = run_both_ways("-W", "ignore", "-p", "freezing")
    result.assert_outcomes(passed=7)


NONE_LEFT = """
import os
import pytest

def registered():
    from pytest_nsisolate.linux import at_fork
    own = [one.functions for one in at_fork._own]
    assert len(at_fork._called) == 3 and not any(own)
    return [len(one) for one in at_fork._called]

BEFORE = registered()

@pytest.mark.isolated
def test_inside(sandbox_factory):
    assert registered() == BEFORE
    assert sandbox_factory().run(registered) == BEFORE

def test_outside(sandbox_factory):
    box = sandbox_factory()
    assert box.run(registered) == BEFORE
    box.popen(["true"]).wait()
    assert registered() == BEFORE
"""


def test_nothing_is_added(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The forks of a test call what they would call without this plugin.
    """
    pytester.makepyfile(NONE_LEFT)
    run_both_ways().assert_outcomes(passed=2)


#: Has C code start a thread at each fork, as gRPC does. It waits for ever.
C_CODE = """
import ctypes
import functools
import os
import threading
import pytest

libc = ctypes.PyDLL(None)
ident = ctypes.c_ulong()
# C code from end to end, for Python is not ready for more here.
create = functools.partial(
    libc.pthread_create, ctypes.byref(ident), None, libc.pause, None
)
function = ctypes.PYFUNCTYPE(None)(create)

@pytest.fixture(scope="session")
def library():
    # gRPC has threads of its own by then.
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    before = len(os.listdir("/proc/self/task"))
    functions = [function if name == WHERE else None for name in NAMES]
    libc.__register_atfork(*functions, None)
    yield
    assert (len(os.listdir("/proc/self/task")) > before) == (WHERE == "parent")
    stop.set()
    thread.join()
    os._exit(7)

NAMES = ("prepare", "parent", "child")

@pytest.mark.isolated
def test_it(library):
    pass
"""


def test_c_code_in_pytest(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    C code may start a thread in pytest as soon as a guest is forked.
    """
    pytester.makepyfile(f"WHERE = 'parent'\n{C_CODE}")
    result = run_both_ways("-v")
    result.stdout.fnmatch_lines(["*::test_it PASSED*"])
    assert result.ret == 7


def test_c_code_in_the_guest(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    If C code starts a thread in the fork, before it is inside, the reason says so.
    """
    pytester.makepyfile(f"WHERE = 'child'\n{C_CODE.replace('os._exit(7)', '')}")
    result = run_both_ways()
    result.assert_outcomes(errors=1)
    text = str(result.stdout)
    assert re.search(
        r"^cannot isolate test_it: setns\(pidfd, [A-Z_|]+\) in a process with the "
        r"threads \S.* failed: EINVAL$",
        text,
        re.MULTILINE,
    )
    assert "a process with threads cannot enter a user or mount namespace" in text
