"""
Threads of pytest that do not exist in a guest: a test that waits for one is told so.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.python

SERVING = """
    import queue
    import threading
    import pytest

    class Worker:
        def __init__(self, name):
            self.asked = queue.Queue()
            self.thread = threading.Thread(target=self.work, name=name)
            self.thread.start()

        def work(self):
            while self.asked.get():
                self.asked.task_done()

        def stop(self):
            self.asked.put(None)
            self.thread.join()
"""


def lines_of(result: pytest.RunResult, name: str) -> list[str]:
    """
    Return the lines that the report of the test *name* marks as its error.
    """
    text = result.stdout.str()
    part = text.partition(f" {name} _")[2].partition("\n___")[0]
    lines = [line[1:].strip() for line in part.splitlines() if line.startswith("E ")]
    assert lines, text
    return lines


def explained(thread: str, started: str, fix: str) -> list[str]:
    """
    Return the three lines about the thread named *thread*.
    """
    what = f"cannot join the thread {thread}: it does not exist here"
    why = f"it was started {started}, and fork(2) copies only the thread that calls it"
    return [f"pytest_nsisolate.LeftBehind: {what}", f"why: {why}", f"fix: {fix}"]


def test_join(pytester: pytest.Pytester) -> None:
    """
    Joining a thread raises an error with the fixture that started it and a way out.
    """
    pytester.makeconftest(
        SERVING
        + """
    def pytest_configure(config):
        config.worker = Worker("of conftest")

    def pytest_unconfigure(config):
        config.worker.stop()

    @pytest.fixture(scope="session")
    def ours():
        worker = Worker("ours")
        yield worker
        worker.stop()

    @pytest.fixture(scope="module")
    def outer(request):
        # Only the fixture that it requests starts a thread.
        return request.getfixturevalue("ours")
    """
    )
    pytester.makepyfile(
        test_inside="""
        import threading
        import pytest
        from conftest import Worker

        pytestmark = pytest.mark.isolated(timeout=60)

        def setup_module(module):
            module.worker = Worker("of module")

        def teardown_module(module):
            module.worker.stop()

        def test_session(outer):
            outer.stop()

        def test_module():
            worker.thread.join(0.1)

        def test_no_fixture(pytestconfig):
            pytestconfig.worker.thread.join(timeout=None)

        @pytest.fixture
        def stopping(ours):
            yield
            print("torn down")
            ours.stop()

        def test_teardown(stopping): pass

        def test_own():
            thread = Worker("own")
            thread.stop()
            assert not thread.thread.is_alive()

        @pytest.fixture(scope="class")
        def inside():
            worker = Worker("inside")
            yield worker
            worker.stop()

        @pytest.mark.isolated(scope="module")
        class TestInside:
            def test_one(self, inside): pass
            def test_two(self, inside): inside.stop()
        """,
        test_on_host="""
        def test_joins(ours):
            assert ours.thread.is_alive()
            ours.stop()
            assert not ours.thread.is_alive()
        """,
    )
    result = pytester.runpytest_subprocess("-p", "no:faulthandler", timeout=120)
    result.assert_outcomes(passed=5, failed=3, errors=1)
    session = explained(
        "ours",
        "by the fixture ours (session), outside the sandbox",
        'write @pytest.mark.isolated(scope="session"), or start it in a fixture of '
        "function scope",
    )
    assert lines_of(result, "test_session") == session
    assert lines_of(result, "ERROR at teardown of test_teardown") == session
    assert lines_of(result, "test_module") == explained(
        "of module",
        "by the fixture setup_module (module), outside the sandbox",
        'write @pytest.mark.isolated(scope="module"), or start it in a fixture of '
        "function scope",
    )
    assert lines_of(result, "test_no_fixture") == explained(
        "of conftest",
        "before this process was forked",
        "start it in the test or in a fixture of function scope",
    )
    # No frame of this package.
    assert "absent.py" not in result.stdout.str()


LIBRARY = """
import os
import threading

class Worker:
    def __init__(self):
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.stop.wait, daemon=True)
        self.thread.start()

    def end(self):
        self.stop.set()
        self.thread.join()

# It is never started again: whoever forks has it, and the fork does not.
lasting = Worker()
# It ends before each fork, and starts again after it.
paused = Worker()
ended, calls = [], []

def before():
    lasting.thread.join(0.01)
    ended.append(paused)
    paused.end()
    calls.append("before")

def after(where):
    global paused
    lasting.thread.join(0.01)
    ended[-1].thread.join()
    paused = Worker()
    calls.append(where)

os.register_at_fork(
    before=before,
    after_in_parent=lambda: after("parent"),
    after_in_child=lambda: after("child"),
)
"""

FORKS = """
import atexit
import multiprocessing
import os
import threading
import weakref
from multiprocessing.util import Finalize
import pytest
import library

@pytest.fixture(scope="session", autouse=True)
def tidy():
    yield
    library.paused.end()
    library.lasting.end()

def refused():
    with pytest.raises(RuntimeError) as caught:
        library.lasting.thread.join()
    return type(caught.value).__name__ == "LeftBehind"

@pytest.mark.isolated(timeout=60)
@pytest.mark.parametrize("turn", [1, 2])
def test_library_at_the_fork(turn):
    assert library.calls[-2:] == ["before", "child"]
    # This one ended where it was; another lives here.
    library.ended[-1].end()
    assert library.paused.thread.is_alive()
    assert refused()

@pytest.mark.isolated(timeout=60)
def test_own_forks():
    library.calls.clear()
    pid = os.fork()
    if not pid:
        library.lasting.end()
        os._exit(library.calls != ["before", "child"])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert library.calls == ["before", "parent"]
    child = multiprocessing.get_context("fork").Process(target=library.lasting.end)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert library.calls == ["before", "parent"] * 2
    assert refused()

@pytest.mark.isolated(timeout=60)
def test_own_box(sandbox_factory):
    sandbox_factory().run(library.lasting.end)
    assert refused()

class Thing:
    pass

@pytest.mark.isolated(timeout=60)
def test_exit_functions(thing=Thing()):
    def end(where):
        library.lasting.thread.join()
        os.write(LOG, f"{where} ".encode())
    atexit.register(end, "atexit")
    weakref.finalize(thing, end, "weakref")
    Finalize(None, end, ["multiprocessing"], exitpriority=1)

LOG = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

@pytest.mark.isolated(timeout=60)
def test_made_anew():
    thread = library.lasting.thread
    with pytest.raises(RuntimeError, match="only be started once"):
        thread.start()
    assert refused()
    done = []
    thread.__init__(target=done.append, args=[1])
    thread.start()
    thread.join()
    assert done == [1]
    thread.join()
"""


def test_join_by_libraries(pytester: pytest.Pytester) -> None:
    """
    At a fork, at the end of a process and in a fork of the test, a join returns.
    """
    pytester.makepyfile(library=LIBRARY, test_forks=FORKS)
    result = pytester.runpytest_subprocess(
        "-Werror", "-Wignore::DeprecationWarning", "-s", timeout=120
    )
    result.assert_outcomes(passed=6)
    log = (pytester.path / "log").read_text().split()
    assert sorted(log) == ["atexit", "multiprocessing", "weakref"]
    assert "LeftBehind" not in f"{result.stdout}{result.stderr}"


WAITS = {
    "event": "threading.Event().wait()",
    "condition": "with things.condition: things.condition.wait()",
    "lock": "things.lock.acquire()",
    "with_lock": "with things.lock: pass",
    "rlock": "things.rlock.acquire()",
    "semaphore": "threading.Semaphore(0).acquire()",
    "barrier": "threading.Barrier(2).wait()",
    "queue_get": "queue.Queue().get()",
    "queue_join": "things.queue.put(1); things.queue.join()",
    "simple_queue": "queue.SimpleQueue().get()",
    "future": "things.future.result()",
    "coroutine": "asyncio.run_coroutine_threadsafe(answer(), things.loop).result()",
    "inside_asyncio": "asyncio.run(blocked())",
    "shutdown": "things.server.shutdown()",
}


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (tuple(WAITS), ()),
        # It has a thread of its own in the guest.
        (("event", "lock"), ("-o", "faulthandler_timeout=90")),
    ],
    ids=["plain", "watchdog"],
)
def test_wait(
    pytester: pytest.Pytester, names: tuple[str, ...], options: tuple[str, ...]
) -> None:
    """
    A wait that only a thread of a borrowed fixture could end raises an error.
    """
    pytester.makepyfile(
        """
        import asyncio
        import concurrent.futures
        import queue
        import socketserver
        import threading
        import types
        import pytest

        async def answer(): return 42

        async def blocked(): threading.Event().wait()

        @pytest.fixture(scope="module")
        def things():
            stop, held = threading.Event(), threading.Event()
            condition, lock, rlock = (
                threading.Condition(), threading.Lock(), threading.RLock()
            )
            def hold():
                with lock, rlock:
                    held.set()
                    stop.wait()
            holder = threading.Thread(target=hold, name="holder")
            holder.start()
            held.wait()
            executor = concurrent.futures.ThreadPoolExecutor(1)
            future = executor.submit(stop.wait)
            loop = asyncio.new_event_loop()
            looping = threading.Thread(target=loop.run_forever, name="loop")
            looping.start()
            server = socketserver.TCPServer(("127.0.0.1", 0), None)
            serving = threading.Thread(target=server.serve_forever, name="server")
            serving.start()
            yield types.SimpleNamespace(
                condition=condition, lock=lock, rlock=rlock, queue=queue.Queue(),
                future=future, loop=loop, server=server, executor=executor,
            )
            stop.set()
            holder.join()
            executor.shutdown()
            loop.call_soon_threadsafe(loop.stop)
            looping.join()
            loop.close()
            server.shutdown()
            serving.join()
            server.server_close()

        @pytest.fixture(autouse=True)
        def tidy():
            yield
            print("torn down")

        pytestmark = pytest.mark.isolated(timeout=100)

        def test_executor(things):
            assert things.executor.submit(int, "42").result() == 42
            things.executor.shutdown()
        """
        + "".join(
            f"\n        def test_{name}(things):\n            {WAITS[name]}\n"
            for name in names
        )
    )
    result = pytester.runpytest_subprocess(
        "-rP", "-p", "no:cacheprovider", *options, timeout=240
    )
    result.assert_outcomes(passed=1, failed=len(names))
    for name in names:
        what, why, fix = lines_of(result, f"test_{name}")
        path = pytester.path / "test_wait.py"
        if name == "shutdown":
            assert "LeftBehind: shutdown() waits for ever at " in what
        elif name not in {"coroutine", "inside_asyncio"}:
            assert f"LeftBehind: test_{name}() waits for ever at {path}:" in what
        assert why.startswith(
            "why: this process has no other thread that could end its wait for a lock. "
            "Perhaps it waits for one of pytest: 4 threads of pytest do not exist here,"
        )
        for one in ("holder", "loop", "server", "ThreadPoolExecutor-0_0"):
            assert f"{one} (of things, module)" in why
        assert fix == (
            'fix: write @pytest.mark.isolated(scope="module"), or start it in a '
            "fixture of function scope"
        )
    result.stdout.fnmatch_lines(["torn down"] * (len(names) + 1))


def test_others_can_end_the_wait(pytester: pytest.Pytester) -> None:
    """
    A wait that a thread of the test, a signal or a process may end goes on.
    """
    pytester.makepyfile(
        """
        import multiprocessing
        import signal
        import subprocess
        import threading
        import time
        import pytest

        @pytest.fixture(scope="module", autouse=True)
        def wide():
            stop = threading.Event()
            thread = threading.Thread(target=stop.wait)
            thread.start()
            yield
            stop.set()
            thread.join()

        pytestmark = pytest.mark.isolated(timeout=60)

        def release_later(semaphore):
            time.sleep(0.8)
            semaphore.release()

        def test_thread():
            event = threading.Event()
            threading.Thread(target=lambda: time.sleep(0.8) or event.set()).start()
            event.wait()

        def test_one_thread_after_the_other():
            for _ in range(10):
                thread = threading.Thread(target=time.sleep, args=[0.1])
                thread.start()
                thread.join()

        def test_signal():
            event = threading.Event()
            signal.signal(signal.SIGALRM, lambda *_: event.set())
            signal.setitimer(signal.ITIMER_REAL, 0.8)
            event.wait()

        def test_interrupt():
            with pytest.raises(KeyboardInterrupt):
                child = subprocess.Popen(["sh", "-c", "sleep 0.8; kill -INT $PPID"])
                threading.Event().wait()
            child.wait()

        def test_process():
            context = multiprocessing.get_context("fork")
            queue = context.SimpleQueue()
            child = context.Process(target=lambda: time.sleep(0.8) or queue.put(1))
            child.start()
            assert queue.get() == 1
            child.join()

        def test_shared_semaphore():
            semaphore = multiprocessing.get_context("fork").Semaphore(0)
            thread = threading.Thread(target=release_later, args=[semaphore])
            thread.start()
            semaphore.acquire()

        def test_limited_wait():
            assert not threading.Event().wait(0.8)
        """
    )
    result = pytester.runpytest_subprocess("-Wignore", timeout=120)
    result.assert_outcomes(passed=7)


def test_the_last_other_thread_has_just_ended(pytester: pytest.Pytester) -> None:
    """
    A thread that ends between two looks may have ended the wait, so a third decides.
    """
    pytester.makepyfile(
        """
        import ctypes
        import os
        import signal
        import threading
        import pytest
        import pytest_nsisolate
        from pytest_nsisolate.guest.deadlock import DEADLOCK_SIGNAL

        libc = ctypes.CDLL(None)

        @pytest.fixture(scope="module", autouse=True)
        def wide():
            stop = threading.Event()
            thread = threading.Thread(target=stop.wait)
            thread.start()
            yield
            stop.set()
            thread.join()

        def number_of_threads():
            return len(os.listdir("/proc/self/task"))

        @pytest.mark.isolated(timeout=60)
        def test_it():
            # No thread of Python: this one would sleep each time it gives up the GIL.
            ident, go = ctypes.c_ulong(), ctypes.create_string_buffer(64)
            libc.sem_init(go, 0, 0)
            libc.pthread_create(ctypes.byref(ident), None, libc.sem_wait, go)
            assert number_of_threads() == 2
            seen = []
            with pytest.raises(pytest_nsisolate.LeftBehind):
                while True:
                    seen.append(number_of_threads())
                    signal.raise_signal(DEADLOCK_SIGNAL)
                    libc.sem_post(go)
                    while number_of_threads() > 1:
                        pass
            assert seen[0] == 2
            assert len(seen) >= 3
        """
    )
    result = pytester.runpytest_subprocess("-Wignore", timeout=60)
    result.assert_outcomes(passed=1)


def test_pools(pytester: pytest.Pytester) -> None:
    """
    A pool of processes of a borrowed fixture raises an error, and its processes stay.
    """
    pytester.makepyfile(
        """
        import concurrent.futures
        import multiprocessing
        import pytest

        CONTEXT = multiprocessing.get_context("fork")

        @pytest.fixture(scope="module")
        def pool():
            with CONTEXT.Pool(1) as pool:
                yield pool
                assert pool.apply(int, ["4"]) == 4

        @pytest.fixture(scope="module")
        def executor():
            with concurrent.futures.ProcessPoolExecutor(1, CONTEXT) as executor:
                assert executor.submit(int, "1").result() == 1
                yield executor
                assert executor.submit(int, "4").result() == 4

        pytestmark = pytest.mark.isolated(timeout=60)

        def test_pool(pool): pool.apply(int, ["2"])
        def test_executor(executor): executor.submit(int, "2").result()
        def test_shutdown(executor): executor.shutdown()
        """
    )
    result = pytester.runpytest_subprocess("-Wignore", timeout=120)
    result.assert_outcomes(failed=3)
    for name in ("test_pool", "test_executor", "test_shutdown"):
        what, _, fix = lines_of(result, name)
        assert what.startswith("pytest_nsisolate.LeftBehind: ")
        assert 'write @pytest.mark.isolated(scope="module")' in fix
