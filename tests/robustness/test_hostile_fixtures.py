"""
Borrowed fixtures that stand in the way of the guests which are forked after them.
"""

from __future__ import annotations

import pytest
from ways import RunPytest

TESTS = """
import os
import signal

import pytest

pytestmark = pytest.mark.isolated

def test_first(): pass
def test_second(): pass
def test_third(): pass
"""

#: A finalizer that gets in the way of a fork that drops it.
REFUSES = """
import os
import weakref
from pathlib import Path

import pytest

class Refuses(weakref.finalize):
    @property
    def atexit(self): return True

    @atexit.setter
    def atexit(self, value): raise RuntimeError("not in a fork")

class Thing: pass

@pytest.fixture(scope="session", autouse=True)
def server():
    thing = Thing()
    Refuses(thing, print)
    yield
    with open("finalised", "a") as file:
        print(os.getpid(), file=file)
"""


def test_error_after_the_fork(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    An error in a fork that is not yet a guest fails the test, and ends that fork.

    It does not go on as pytest, which would finalise fixtures once more.
    """
    pytester.makeconftest(REFUSES)
    pytester.makepyfile(TESTS)

    for arguments in ([], ["--nsisolate-jobs=2"]):
        finalised = pytester.path.joinpath("finalised")
        finalised.unlink(missing_ok=True)

        result = run_both_ways(*arguments)

        result.assert_outcomes(errors=3)
        result.stdout.fnmatch_lines(
            [
                "test_first did not finish: no report of setup came from its guest",
                "RuntimeError: not in a fork",
            ]
        )
        assert len(finalised.read_text().splitlines()) == 1
        result.stdout.no_fnmatch_line("*INTERNALERROR*")


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(
            """
    from multiprocessing import resource_tracker as module
    module.ensure_running()
    os.close(module._resource_tracker._fd)
    yield
    module._resource_tracker._fd = None
""",
            id="descriptor",
        ),
        pytest.param(
            """
    import subprocess
    def refuse(*_, **__): raise RuntimeError("no test starts a process")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse)
        yield
""",
            id="popen",
        ),
        pytest.param(
            """
    import threading
    class Own(threading.Thread):
        def is_alive(self):
            assert os.getpid() == pid, "another process"
            return super().is_alive()
    pid, end = os.getpid(), threading.Event()
    thread = Own(target=end.wait)
    thread.start()
    yield
    end.set()
    thread.join()
""",
            id="thread",
        ),
        pytest.param(
            """
    import _thread
    import threading
    begun, end = threading.Event(), threading.Event()
    def run():
        threading.current_thread()
        begun.set()
        end.wait()
    _thread.start_new_thread(run, ())
    begun.wait()
    yield
    end.set()
""",
            id="thread of C",
        ),
    ],
)
def test_no_obstacle(
    pytester: pytest.Pytester, run_both_ways: RunPytest, lines: str
) -> None:
    """
    What fixtures have closed or replaced is not needed to isolate a test.
    """
    pytester.makeconftest(
        "import os\nimport pytest\n\n"
        '@pytest.fixture(scope="session", autouse=True)\ndef server():' + lines
    )
    pytester.makepyfile(TESTS)

    # The line on isolation would start a launcher before the fixture is set up.
    run_both_ways("-q").assert_outcomes(passed=3)


def test_ignored_children(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    How a guest ended is known though a fixture ignores SIGCHLD, as in the test.
    """
    pytester.makeconftest(
        """
        import signal
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def server():
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        """
    )
    pytester.makepyfile(
        TESTS
        + """
def test_killed():
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
    os.kill(os.getpid(), signal.SIGUSR1)

def test_exited(): os._exit(7)
"""
    )

    result = run_both_ways()

    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        [
            "test_killed did not finish: killed by SIGUSR1 during call",
            "test_exited did not finish: exited with code 7 during call",
        ]
    )


STARVES = """
import os
import resource
import signal
import threading

import pytest

@pytest.fixture(scope="session")
def starve():
    begin, end = os.pipe(), os.pipe()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    taken = []

    def take():
        os.read(begin[0], 1)
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            os.write(end[1], b"!")

    thread = threading.Thread(target=take)
    thread.start()
    yield begin[1], end[0]
    thread.join()
    for fd in taken:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)

@pytest.mark.isolated(timeout=2)
def test_hangs(starve):
    begin, end = starve
    os.write(begin, b"!")
    os.read(end, 1)
    signal.pause()

def test_next(): pass
"""


def test_no_descriptors_at_the_deadline(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    If nothing can be opened when the time is over, the report has what can be known.
    """
    pytester.makepyfile(STARVES)

    result = run_both_ways()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "test_hangs did not finish: timed out after 2 s during call",
            "processes in the sandbox:",
            "  * the test: *",
            "*in test_hangs",
        ]
    )
