"""
PostgreSQL and Redis, several at once, each on its own default port.

They run in their own environment (``tox -e servers``), with pytest-xdist. The servers
are those of the distribution: ``apt-get install postgresql redis-server``.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ways import cannot

#: How long it may take until all servers run at the same time, in seconds.
PATIENCE = 120.0

EXAMPLE = Path(__file__).parents[2] / "docs/examples/databases"

TESTS = """
import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

SPACE = Path(os.environ["SERVERS_SPACE"])
BIN = os.environ["SERVERS_BIN"]
# PostgreSQL refuses to run as root.
USER = {"user": "nobody", "group": "nogroup", "extra_groups": []}
AS = USER if os.geteuid() == 0 else {}

@contextlib.contextmanager
def started(command, ready, stop):
    pipe, both = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(command, stdout=pipe, stderr=both, text=True, cwd=SPACE,
                          **AS) as server:
        said = []
        for line in server.stdout:
            said.append(line)
            if ready in line:
                break
        else:
            pytest.fail("".join(said))
        try:
            yield
        finally:
            server.send_signal(stop)
            server.stdout.read()
    assert server.returncode == 0

def ask(*command):
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=20
    ).stdout.strip()

@pytest.fixture
def postgresql(tmp_path, number):
    data = SPACE / f"data-{number}"
    subprocess.run(["cp", "-a", SPACE / "template", data], check=True)
    command = [BIN + "/postgres", "-D", data, "-k", "", "-c", "fsync=off",
               "-c", "shared_memory_type=sysv", "-c", "listen_addresses=localhost"]
    with started(command, "ready to accept connections", signal.SIGINT):
        yield lambda sql: ask(BIN + "/psql", "-XAtq", "-h", "127.0.0.1", "-p", "5432",
                              "-U", "tester", "-c", sql, "postgres")
    shutil.rmtree(data)

@pytest.fixture
def redis():
    command = ["redis-server", "--port", "6379", "--bind", "127.0.0.1", "--save", ""]
    with started(command, "eady to accept connections", signal.SIGTERM):
        yield lambda *words: ask("redis-cli", "-h", "127.0.0.1", "-p", "6379", *words)

@pytest.mark.isolated(net=True, leaks="fail")
@pytest.mark.parametrize("number", range(3))
def test_both(number, postgresql, redis):
    postgresql("create table one (number int)")
    postgresql(f"insert into one values ({number})")
    redis("set", "number", str(number))
    with socket.socket(socket.AF_UNIX) as others:
        others.connect(str(SPACE / "meet"))
        assert others.recv(1) == b"!"
    assert postgresql("select number from one") == str(number)
    assert redis("get", "number") == str(number)
    assert redis("dbsize") == "1"
    # One segment, and the line that heads the table. Source: proc_sysvipc(5).
    assert len(Path("/proc/sysvipc/shm").read_text().splitlines()) == 2
"""


@pytest.fixture(scope="session")
def servers() -> str:
    """
    Return the directory of PostgreSQL's programs.
    """
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    if not found or shutil.which("redis-server") is None:
        cannot("PostgreSQL and Redis are not installed")
    return os.path.dirname(found[-1])


@pytest.fixture(scope="session")
def space(servers: str) -> Iterator[Path]:
    """
    Return a directory for the servers, with an empty database in it.
    """
    with tempfile.TemporaryDirectory(prefix="nsi") as path:
        who = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        if os.geteuid() == 0:
            shutil.chown(path, "nobody", "nogroup")
        subprocess.run(
            [
                f"{servers}/initdb",
                *("--no-sync", "--username=tester", "--auth=trust", "--locale=C"),
                f"--pgdata={path}/template",
            ],
            stdout=subprocess.DEVNULL,
            check=True,
            cwd="/",
            timeout=180,
            **(who if os.geteuid() == 0 else {}),  # type: ignore[call-overload]
        )
        yield Path(path)


def _meet(server: socket.socket, number: int, over: threading.Event) -> None:
    """
    Let clients go once *number* of them are there, and later ones at once.

    End when *over* is set, or when the wait is too long, and then without an answer.
    """
    waiting: list[socket.socket] = []
    have_met = False
    # The socket may time out.
    with contextlib.suppress(TimeoutError):
        while not over.is_set():
            waiting.append(server.accept()[0])
            have_met = have_met or len(waiting) == number
            while have_met and waiting:
                with waiting.pop() as one:
                    one.send(b"!")
    while waiting:
        waiting.pop().close()


@pytest.fixture
def meet(space: Path) -> Iterator[Callable[[int], None]]:
    """
    Open a socket at which a given number of tests wait for each other.
    """
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(space / "meet"))
        server.listen()
        server.settimeout(PATIENCE)
        threads: list[threading.Thread] = []
        over = threading.Event()

        def begin(number: int) -> None:
            """
            Start to wait for *number* tests.
            """
            threads.append(threading.Thread(target=_meet, args=(server, number, over)))
            threads[0].start()

        yield begin
        over.set()
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(space / "meet"))
            threads[0].join()
    (space / "meet").unlink()


@pytest.mark.parametrize("processes", [2, 3])
def test_at_once(  # noqa: PLR0917 - fixtures
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    servers: str,
    space: Path,
    meet: Callable[[int], None],
    processes: int,
) -> None:
    """
    Each process of pytest-xdist runs servers at the same time, with data of its own.

    Each test stops its own, and nothing is left.
    """
    monkeypatch.setenv("SERVERS_BIN", servers)
    monkeypatch.setenv("SERVERS_SPACE", str(space))
    pytester.makepyfile(test_inner=TESTS)
    meet(processes)

    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    result = pytester.run(*command, f"-n{processes}", timeout=2 * PATIENCE)

    result.assert_outcomes(passed=3)


def test_example(pytester: pytest.Pytester, servers: str) -> None:
    """
    The example of the documentation passes where both servers are installed.
    """
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    result = pytester.run(*command, EXAMPLE, "--nsisolate-jobs=3", timeout=PATIENCE)

    result.assert_outcomes(passed=3)
