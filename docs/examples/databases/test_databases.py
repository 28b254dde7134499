"""
PostgreSQL and Redis, started for each test, on their default ports.

Each test finds both empty, also if the machine has servers of its own.
"""

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.isolated(net=True)

# Where Debian has the programs of PostgreSQL.
PATH = os.pathsep.join(
    [os.environ["PATH"], *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
)
PROGRAMS = {name: shutil.which(name, path=PATH) for name in ("initdb", "postgres")}

# PostgreSQL refuses to run as root.
USER = "nobody" if os.geteuid() == 0 else None

Ask = Callable[..., str]


@contextlib.contextmanager
def started(command: list[str], end: signal.Signals) -> Iterator[None]:
    """
    Run a server from when it says that it is ready until the block ends.
    """
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        user=USER,
    ) as server:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if "eady to accept connections" in line:
                break
        else:
            pytest.fail("".join(said))
        try:
            yield
        finally:
            server.send_signal(end)
            server.stdout.read()


def ask(*command: str) -> str:
    """
    Return what a client prints.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def empty_database() -> Iterator[Path]:
    """
    Return the files of an empty database, made once, which takes a second.
    """
    if None in PROGRAMS.values() or shutil.which("psql") is None:
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(prefix="postgres-") as directory:
        if USER is not None:
            shutil.chown(directory, USER)
        files = Path(directory, "empty")
        subprocess.run(
            [
                str(PROGRAMS["initdb"]),
                *("--no-sync", "--auth=trust", "--username=shop", "--locale=C"),
                f"--pgdata={files}",
            ],
            stdout=subprocess.DEVNULL,
            check=True,
            cwd="/",
            user=USER,
        )
        yield files


@pytest.fixture
def postgres(empty_database: Path) -> Iterator[Ask]:
    """
    Return a function that runs a statement.
    """
    with tempfile.TemporaryDirectory(prefix="postgres-") as directory:
        subprocess.run(["cp", "-a", f"{empty_database}/.", directory], check=True)
        command = [
            str(PROGRAMS["postgres"]),
            *("-D", directory, "-k", "", "-c", "listen_addresses=127.0.0.1"),
        ]
        with started(command, signal.SIGINT):
            yield lambda sql: ask(
                *("psql", "-XAtq", "-h", "127.0.0.1", "-U", "shop", "postgres"),
                *("-c", sql),
            )


@pytest.fixture
def redis() -> Iterator[Ask]:
    """
    Return a function that runs a command.
    """
    if shutil.which("redis-server") is None:
        pytest.skip("Redis is not installed")
    command = ["redis-server", "--bind", "127.0.0.1", "--save", ""]
    with started(command, signal.SIGTERM):
        yield lambda *words: ask("redis-cli", "-h", "127.0.0.1", *words)


def test_order_is_stored(postgres: Ask) -> None:
    """
    The table does not exist yet.
    """
    postgres("CREATE TABLE orders (item text)")
    postgres("INSERT INTO orders VALUES ('book')")

    assert postgres("SELECT item FROM orders") == "book"


def test_order_is_counted(postgres: Ask, redis: Ask) -> None:
    """
    The table does not exist here either, and the counter begins with 1.
    """
    postgres("CREATE TABLE orders (item text)")
    postgres("INSERT INTO orders VALUES ('pen')")

    assert redis("INCR", postgres("SELECT item FROM orders")) == "1"


def test_counter_begins_with_one(redis: Ask) -> None:
    """
    The counter of the other test is not here.
    """
    assert redis("INCR", "pen") == "1"
