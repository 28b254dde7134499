"""
The fixture `sandbox_factory`: scopes, isolated tests, leaks, and the end.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import machine
import pytest
from killing import kill
from ways import WAYS, RunPytest

_SUITE = """
import os
import socket
import subprocess
from pathlib import Path

import pytest

def use(factory):
    db, web = factory(hostname="db"), factory(hostname="web")
    assert [db.run(socket.gethostname), web.run(socket.gethostname)] == ["db", "web"]
    with db.popen(["hostname"], stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0] == "db\\n"
    assert web.pids() == []

def test_on_host(sandbox_factory):
    use(sandbox_factory)

@pytest.mark.isolated(hostname="t1")
def test_isolated(sandbox_factory):
    use(sandbox_factory)
    assert socket.gethostname() == "t1"

@pytest.mark.isolated(user="root")
def test_isolated_as_root(sandbox_factory):
    use(sandbox_factory)
    assert sandbox_factory(user="root").run(os.getuid) == 0

def test_nested(sandbox_factory):
    outer = sandbox_factory(hostname="outer")
    hostname = lambda: sandbox_factory(hostname="inner").run(socket.gethostname)
    assert outer.run(hostname) == "inner"

@pytest.fixture(scope="module")
def db(module_sandbox_factory):
    db = module_sandbox_factory(hostname="db", leaks="ignore")
    db.run(Path("/dev/shm/shared").touch)
    return db

def test_one(db):
    db.run(Path("/dev/shm/shared").rename, "/dev/shm/used")

@pytest.mark.isolated
def test_between(db):
    assert db.ipc().files == ("used",)
    db.run(int)

def test_other(db):
    assert db.ipc().files == ("used",)
    assert db.run(os.path.exists, "/dev/shm/used")

class TestScopes:
    boxes = []

    @pytest.mark.parametrize("_", range(2))
    def test_lasts(self, _, class_sandbox_factory, session_sandbox_factory):
        self.boxes += [class_sandbox_factory(), session_sandbox_factory()]
        for box in self.boxes:
            box.run(int)

def test_ends():
    assert ["closed" in repr(box) for box in TestScopes.boxes] == [True, False] * 2

def test_skips(sandbox_factory):
    sandbox_factory().run(pytest.skip, "from inside")
"""


@pytest.mark.usefixtures("nothing_left")
def test_boxes_of_all_scopes(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Boxes work in tests on the host and isolated, and last as long as their scope.

    An isolated test can look into a box that was made outside it, but not enter it.
    """
    pytester.makepyfile(_SUITE)

    result = run_both_ways(
        # Keep the order: one test leaves in a shared box what the next looks for.
        *("-p", "no:randomly", "-ra"),
        *("-W", "error::ResourceWarning", "-W", "error:This:DeprecationWarning"),
    )

    result.assert_outcomes(passed=9, failed=1, skipped=1)
    text = str(result.stdout)
    assert re.search(r"SKIPPED \[1\] test_\w+\.py:\d+: from inside", text)
    assert re.search(
        r"E +pytest_nsisolate\.BoxError: cannot run int in box db: it was made "
        r"outside this PID namespace\n"
        r"E +why: this process is in pid:\[\d+\] and the box was made from "
        r"pid:\[\d+\]; setns\(\) can join descendants only\n"
        r"E +fix: make it in the test with the fixture sandbox_factory, or run the "
        r"test on the host\n",
        text,
    )


def test_a_function_uses_pytest(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    In isolated tests too, live logs of a function show and fixtures do their work.
    """
    pytester.makepyfile(
        """
        import logging
        import os

        import pytest

        def say():
            logging.getLogger().warning("said by process %d", os.getpid())

        @pytest.mark.isolated
        def test_it(sandbox_factory, tmp_path_factory):
            box = sandbox_factory()
            for _ in range(2):
                box.run(say)
            assert box.run(tmp_path_factory.mktemp, "made").is_dir()
        """
    )

    result = run_both_ways("--log-cli-level=WARNING")

    result.assert_outcomes(passed=1)
    assert str(result.stdout).count("said by process ") == 2


def test_leaks_of_a_box(pytester: pytest.Pytester) -> None:
    """
    What is left is a warning where the box was made, or an error of the teardown.
    """
    pytester.makepyfile(
        """
        from pathlib import Path

        def leave(box):
            box.run(Path("/dev/shm/left").touch)

        def test_warns(sandbox_factory):
            leave(sandbox_factory(hostname="db"))

        def test_fails(sandbox_factory):
            leave(sandbox_factory(leaks="fail"))
            leave(sandbox_factory(leaks="fail"))

        def test_ignores(sandbox_factory):
            leave(sandbox_factory(leaks="ignore"))

        def test_closes(sandbox_factory):
            with sandbox_factory(leaks="fail") as box:
                leave(box)
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=3, failed=1, errors=1, warnings=1)
    uid = os.getuid()
    result.stdout.fnmatch_lines(
        [
            "* ERROR at teardown of test_fails *",
            "*box 1 of test_fails was left with 1 file in /dev/shm (left, 0 bytes)",
            f"*why: found in it when it was closed: left, 0 bytes: of uid {uid}",
            (
                "*fix: end or remove it before the box is closed, or accept it with "
                'sandbox_factory(leaks="ignore")'
            ),
            "* test_closes *",
            "box 1 of test_closes was left with 1 file in /dev/shm (left, 0 bytes)",
            (
                "*test_leaks_of_a_box.py:7: LeakWarning: box db of test_warns was left "
                "with 1 file in /dev/shm (left, 0 bytes)"
            ),
        ]
    )


def test_a_bad_argument(pytester: pytest.Pytester) -> None:
    """
    An invalid value is reported in three lines, without a traceback.
    """
    pytester.makepyfile(
        """
        def test_long(sandbox_factory):
            sandbox_factory(hostname="x" * 65)
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(failed=1)
    name = "x" * 65
    result.stdout.fnmatch_lines(
        [
            f"cannot make box {name} for test_long: bad argument of sandbox_factory()",
            "why: hostname has 65 bytes, but the kernel allows 64",
            'fix: write hostname="t1", or leave hostname= out',
        ]
    )
    assert "def test_long" not in str(result.stdout)


def _sleeping(token: str) -> int:
    """
    Return how many processes of the session *token* are a sleep(1).
    """
    commands = map(machine.command_of, machine.marked(token))
    return sum(one[:1] == ["sleep"] for one in commands)


@pytest.mark.parametrize(
    ("mark", "ends"),
    [
        ("", "time.sleep(60)"),
        ("@pytest.mark.isolated", "time.sleep(60)"),
        ("@pytest.mark.isolated", "os.abort()"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.faults
def test_nothing_is_left_of_a_crash(
    pytester: pytest.Pytester, mark: str, ends: str, way: str
) -> None:
    """
    When the test crashes or pytest is killed, everything that runs in a box ends.
    """
    pytester.makepyfile(
        f"""
        import os
        import time
        from pathlib import Path

        import pytest

        {mark}
        def test_box(sandbox_factory):
            box = sandbox_factory()
            box.popen(["sleep", "3333"])
            start = lambda: os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "3334")
            box.run(start)
            assert len(box.pids()) == 2
            Path("is-up").touch()
            box.run(lambda: {ends}) if "sleep" in {ends!r} else {ends}
        """
    )
    command = [*WAYS[way], sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    quiet, token = subprocess.DEVNULL, secrets.token_hex(8)
    environment = {**os.environ, machine.MARK: token}
    with subprocess.Popen(
        command, stdout=quiet, stderr=quiet, env=environment
    ) as process:
        machine.wait_until(Path("is-up").exists, "the box")
        if "sleep" in ends:
            # They run Python until they have executed it.
            machine.wait_until(lambda: _sleeping(token) == 2, "both programs")
            process.send_signal(signal.SIGKILL)
        process.wait(30)

    machine.wait_until(lambda: not machine.marked(token), "the end of all")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.faults
def test_nothing_is_left_of_a_stopped_launcher(
    pytester: pytest.Pytester, way: str
) -> None:
    """
    When pytest is killed while its launcher is stopped, the boxes end all the same.
    """
    pytester.makepyfile(
        """
        import time
        from pathlib import Path

        def test_box(sandbox_factory):
            sandbox_factory().popen(["sleep", "3333"])
            Path("is-up").touch()
            time.sleep(60)
        """
    )
    command = [*WAYS[way], sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    quiet, token = subprocess.DEVNULL, secrets.token_hex(8)
    environment = {**os.environ, machine.MARK: token}
    with subprocess.Popen(
        command, stdout=quiet, stderr=quiet, env=environment
    ) as process:
        machine.wait_until(Path("is-up").exists, "the box")
        launchers = [
            one
            for one in machine.marked(token)
            if "launcher.main" in str(machine.command_of(one))
        ]
        assert launchers
        kill(launchers, signal.SIGSTOP)
        machine.wait_until(
            lambda: all(map(machine.stands_still, launchers)), "a standstill"
        )
        process.send_signal(signal.SIGKILL)
        process.wait(30)

    machine.wait_until(lambda: not machine.marked(token), "the end of all")


def test_a_box_of_all_keywords(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Each keyword applies to functions and processes, and two boxes share no port.
    """
    pytester.makepyfile(
        """
        import os
        import socket
        import subprocess

        def listen():
            server = socket.create_server(("127.0.0.1", 5432))
            return server.getsockname()[1]

        def test_it(sandbox_factory, monkeypatch):
            monkeypatch.setenv("FROM_OUTSIDE", "1")
            with socket.socket() as here:
                boxes = [
                    sandbox_factory(
                        hostname=f"h{number}", domainname="lab", user="root",
                        timeout=30, leaks="fail", net=True, tmpfs=["/mnt"],
                        env={"INSIDE": "yes"}, clear_env=True,
                    )
                    for number in range(2)
                ]
                assert [box.run(listen) for box in boxes] == [5432, 5432]
            box = boxes[0]
            assert "net" in box.namespaces
            assert box.run(os.listdir, "/mnt") == []
            seen = box.run(lambda: dict(os.environ))
            assert "FROM_OUTSIDE" not in seen
            assert seen["INSIDE"] == "yes"
            pipe = subprocess.PIPE
            command = ["/usr/bin/env"]
            with box.popen(command, stdout=pipe, text=True) as process:
                assert process.communicate()[0] == "INSIDE=yes\\n"
            with box.popen(command, stdout=pipe, env={}) as process:
                assert process.communicate()[0] == b""
            assert os.environ["FROM_OUTSIDE"] == "1"
        """
    )

    result = run_both_ways("-W", "error::pytest_nsisolate.model.errors.LeakWarning")

    result.assert_outcomes(passed=1)


def test_a_directory_that_is_needed(pytester: pytest.Pytester) -> None:
    """
    A tmpfs that would hide the test file from the functions is refused.
    """
    pytester.makepyfile(
        f"""
        def test_hidden(sandbox_factory):
            sandbox_factory(tmpfs=[{str(pytester.path)!r}])
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f'cannot make box 1 *: a fresh directory at "{pytester.path}" would hide *']
    )


def test_made_in_a_thread(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A box outlives the thread that made it, and several threads can make boxes at once.
    """
    pytester.makepyfile(
        """
        import socket
        import threading
        from pathlib import Path

        import pytest

        def made_in_threads(factory, number):
            boxes = []
            make = lambda: boxes.append(factory(net=bool(len(boxes) % 2)))
            threads = [threading.Thread(target=make) for _ in range(number)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return boxes

        @pytest.mark.parametrize("number", [1, 8])
        @pytest.mark.parametrize(
            "_", [pytest.param(0, marks=pytest.mark.isolated), 1]
        )
        def test_it(sandbox_factory, number, _):
            boxes = made_in_threads(sandbox_factory, number)
            assert len({box.name for box in boxes}) == number
            for _ in range(2):
                for box in boxes:
                    path = Path("/dev/shm", box.name)
                    box.run(path.touch)
                    assert box.ipc().files == (box.name,)
                    box.run(path.unlink)

        def test_inside(sandbox_factory):
            inside = lambda: sandbox_factory(hostname="b").run(socket.gethostname)
            box = sandbox_factory()
            # Another thread that makes a box holds the lock while this one forks.
            with sandbox_factory._lock:
                assert box.run(inside) == "b"
        """
    )

    result = run_both_ways("-W", "error")

    result.assert_outcomes(passed=5)


def test_kept_beyond_its_scope(pytester: pytest.Pytester) -> None:
    """
    A factory whose fixture has ended makes neither boxes nor links, and says so.
    """
    pytester.makepyfile(
        """
        kept = []

        def test_keeps(sandbox_factory, module_sandbox_factory):
            kept.append(sandbox_factory)

        def test_uses(sandbox_factory):
            kept[0](hostname="db")

        def test_links(sandbox_factory):
            kept[0].link(sandbox_factory(net=True), sandbox_factory(net=True))
        """
    )

    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-p", "no:randomly"
    )

    result.assert_outcomes(passed=1, failed=2)
    for action in ("make box db for test_keeps", "make a link"):
        result.stdout.fnmatch_lines(
            [
                f"E * cannot {action}: its sandbox_factory is closed",
                "E * why: the fixture of test_keeps, for which it made boxes, has *",
                (
                    "E * fix: request sandbox_factory in the test that uses it, or use "
                    "module_sandbox_factory or session_sandbox_factory"
                ),
            ]
        )


def test_in_another_process(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    A factory makes boxes only in the process in which its fixture was set up.

    The error ends at the call of the factory.
    """
    pytester.makepyfile(
        """
        import multiprocessing
        import socket

        import pytest

        @pytest.mark.isolated
        def test_isolated(module_sandbox_factory):
            module_sandbox_factory(hostname="db")

        def test_nested(sandbox_factory, module_sandbox_factory):
            sandbox_factory().run(lambda: module_sandbox_factory(hostname="db"))

        def test_forked(module_sandbox_factory):
            context = multiprocessing.get_context("fork")
            process = context.Process(target=module_sandbox_factory)
            process.start()
            process.join()
            assert process.exitcode == 1

        def test_after(module_sandbox_factory):
            box = module_sandbox_factory(hostname="db")
            assert box.run(socket.gethostname) == "db"
        """
    )

    result = run_both_ways("-p", "no:randomly", "-W", "ignore::DeprecationWarning")

    result.assert_outcomes(passed=2, failed=2)
    text = str(result.stdout)
    found = re.findall(
        r"cannot make box (?:db|1) for test_\w+\.py: its sandbox_factory belongs to "
        r"another process\n"
        r"(?:E +)?why: this is process \d+ in pid:\[\d+\], and the fixture was set up "
        r"in process \d+ in pid:\[\d+\]\n"
        r"(?:E +)?fix: make it there, or here with a sandbox_factory of the test "
        r"itself\n",
        text,
    )
    # That of a function in a box shows inside and outside.
    assert len(found) == 1 + 2
    assert "pytest_nsisolate/" not in text
