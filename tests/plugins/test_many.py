"""
Plugins that need little to be tried, several in a run.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from twins import WITHOUT_HYPOTHESIS, WithPlugins
from ways import cannot

about = pytest.mark.about


@about("pytest-assume")
@about("pytest-check")
@about("pytest-github-actions-annotate-failures")
@about("pytest-instafail")
@about("pytest-split")
def test_reports(
    pytester: pytest.Pytester,
    with_plugins: WithPlugins,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Soft asserts, annotations, failures shown at once and parts of a suite are as plain.
    """
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    # Those of tests that it does not name are their mean.
    durations = {"test_other_part.py::test_not_run": 99, "test_soft.py::test_many": 1}
    names = ("raises", "both", "xfail", "passes", "assume", "assumed", "error")
    durations |= {f"test_soft.py::test_{name}": 1 for name in names}
    (pytester.path / ".test_durations").write_text(json.dumps(durations))
    pytester.makepyfile(
        test_soft="""
        import pytest
        from pytest_check import check

        def test_many():
            check.equal(1, 2)
            check.is_in("a", "b", "none of these")
            print("goes on")

        def test_raises():
            with check: assert 0
            with check.raises(KeyError): {}["a"]

        def test_both():
            check.equal(1, 2)
            assert 0

        @pytest.mark.xfail
        def test_xfail(): check.is_true(False)

        def test_passes(): check.is_true(True)

        def test_assume():
            pytest.assume(1 == 2)
            with pytest.assume: assert 1 == 1
            pytest.assume(3 == 4, "why not")

        def test_assumed(): pytest.assume(True)

        def test_error(missing): pass
        """,
        test_other_part="def test_not_run(): assert 0",
    )
    run = with_plugins(
        "pytest_assume.plugin",
        "pytest_check.plugin",
        "pytest_github_actions_annotate_failures.plugin",
        "pytest_instafail",
        "pytest_split.plugin",
    )("--instafail", "--splits=2", "--group=2")
    run.result.assert_outcomes(
        passed=2, failed=4, errors=1, xfailed=1, warnings=1, deselected=1
    )
    assert run.result.stderr.str().count("::error ") == 4


def run_both(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """
    Run pytest plain and isolated, compare the outcomes, and return the isolated run.
    """
    plain, isolated = (
        pytester.runpytest_subprocess(
            *WITHOUT_HYPOTHESIS, "-p", "nsisolate", switch, *arguments, timeout=60
        )
        for switch in ("--no-nsisolate", "--nsisolate")
    )
    assert isolated.parseoutcomes() == plain.parseoutcomes()
    assert isolated.ret == plain.ret
    return isolated


@about("pyfakefs")
@about("pytest-redis")
@about("pytest-xprocess")
def test_fixtures(pytester: pytest.Pytester, temporary: Path) -> None:
    """
    False files, processes and a Redis server, borrowed or owned, work inside.
    """
    redis = shutil.which("redis-server")
    if redis is None:
        cannot("there is no redis-server")
    pytester.makepyfile(
        test_fakefs="""
        import os

        def test_file(fs):
            fs.create_file("/etc/only-here", contents="x")
            with open("/etc/only-here") as file: assert file.read() == "x"
            assert not os.path.exists("/proc")

        def test_other_file(fs): assert not os.path.exists("/etc/only-here")

        def test_real():
            assert os.path.exists("/proc/self/stat")
            assert not os.path.exists("/etc/only-here")

        def test_module(fs_module): fs_module.create_file("/kept")

        def test_fails(fs): open("/missing")
        """,
        test_redis="""
        from pytest_redis import factories

        ours = factories.redis_proc(port=None)
        client = factories.redisdb("ours")

        def test_one(client):
            client.set("a", 1)
            assert client.get("a") == b"1"

        def test_is_clean(client): assert client.get("a") is None

        def test_fails(client): assert client.get("a") == b"1"
        """,
        test_xprocess="""
        import socket
        import sys
        import pytest
        from xprocess import ProcessStarter

        SERVE = (
            "import socket, time; server = socket.create_server(('127.0.0.1', 0)); "
            "print(f'port {server.getsockname()[1]}'); time.sleep(1000)"
        )

        class Starter(ProcessStarter):
            pattern = "port"
            timeout = 60
            args = [sys.executable, "-u", "-c", SERVE]
            terminate_on_interrupt = True

        def serve(xprocess, name):
            _, log = xprocess.ensure(name, Starter)
            with open(log) as file: port = int(file.read().split()[-1])
            yield port
            xprocess.getinfo(name).terminate()

        @pytest.fixture
        def inside(xprocess): yield from serve(xprocess, "inside")

        @pytest.fixture(scope="module")
        def outside(xprocess): yield from serve(xprocess, "outside")

        def test_inside(inside, xprocess):
            socket.create_connection(("127.0.0.1", inside)).close()
            assert xprocess.getinfo("inside").isrunning()

        def test_outside(outside):
            socket.create_connection(("127.0.0.1", outside)).close()
        """,
    )
    plugins = (
        "pyfakefs.pytest_plugin",
        "pytest_redis.plugin",
        "xprocess.pytest_xprocess",
    )
    named = [part for name in plugins for part in ("-p", name)]
    # The path of the server's socket must be short.
    options = (f"--redis-exec={redis}", f"--basetemp={temporary / 'short'}")
    run = run_both(pytester, *named, *options)
    run.assert_outcomes(passed=8, failed=2)


@about("pytest-xprocess")
@pytest.mark.xfail(reason="process ids of outside have no meaning inside")
def test_process_of_outside(pytester: pytest.Pytester) -> None:
    """
    A test sees that a process of a borrowed fixture runs.
    """
    pytester.makepyfile(
        """
        import sys
        import pytest
        from xprocess import ProcessStarter

        @pytest.fixture(scope="module")
        def outside(xprocess):
            class Starter(ProcessStarter):
                pattern = "ready"
                timeout = 60
                args = [sys.executable, "-uc", "print('ready'); input()"]

            xprocess.ensure("outside", Starter)
            yield xprocess.getinfo("outside")
            xprocess.getinfo("outside").terminate()

        def test_one(outside): assert outside.isrunning()
        """
    )
    run_both(pytester, "-p", "xprocess.pytest_xprocess").assert_outcomes(passed=1)


@about("pytest-run-parallel")
def test_run_parallel(pytester: pytest.Pytester) -> None:
    """
    A test runs in several threads, all of them inside.
    """
    pytester.makepyfile(
        """
        import threading

        ran = []

        def test_threads(num_parallel_threads):
            ran.append(threading.get_ident())
            assert num_parallel_threads == 4

        def test_ran(isolated): assert (ran == []) == isolated

        def test_fails():
            assert threading.current_thread() is threading.main_thread()
        """
    )
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def isolated(pytestconfig): return pytestconfig.option.nsisolate
        """
    )
    run = run_both(pytester, "-p", "pytest_run_parallel.plugin", "--parallel-threads=4")
    run.assert_outcomes(passed=2, errors=1)


@about("pytest-twisted")
def test_twisted(pytester: pytest.Pytester) -> None:
    """
    The reactor, which has begun outside, runs deferreds and fixtures inside.
    """
    pytester.makepyfile(
        """
        import pytest_twisted
        from twisted.internet import reactor, task, threads

        def later(): return task.deferLater(reactor, 0.01, lambda: 1)

        @pytest_twisted.async_yield_fixture(scope="module")
        async def wide():
            yield await later()
            await later()

        @pytest_twisted.inlineCallbacks
        def test_deferred(): yield later()

        @pytest_twisted.ensureDeferred
        async def test_wide(wide): assert await later() == wide

        @pytest_twisted.ensureDeferred
        async def test_fails():
            await later()
            assert 0

        @pytest_twisted.ensureDeferred
        async def test_thread():
            assert await threads.deferToThread(int, "42") == 42
        """
    )
    run = run_both(pytester, "-p", "pytest_twisted")
    run.assert_outcomes(passed=3, failed=1)


@about("pytest-memray")
def test_memray(pytester: pytest.Pytester) -> None:
    """
    What a test allocates is limited and shown.
    """
    pytester.makepyfile(
        """
        import pytest

        def test_shown(): bytearray(30_000_000)

        @pytest.mark.limit_memory("1 MB")
        def test_over(): bytearray(20_000_000)

        @pytest.mark.limit_memory("100 MB")
        def test_under(): bytearray(10_000_000)
        """
    )
    run = run_both(pytester, "-p", "pytest_memray.plugin", "--memray")
    run.assert_outcomes(passed=2, failed=1)
    run.stdout.fnmatch_lines(
        ["*test_memray.py::test_shown at the high watermark", "*28.6MiB*"]
    )
