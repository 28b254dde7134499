"""
Suites of tests that do nothing, and the ways to run them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from figures import REFERENCE, ROOT, ROOTLESS

#: What pytest holds in memory, and the conftest that makes it.
PARENTS = {
    "bare": "",
    "90 MB": "ballast = [(i, str(i)) for i in range(680_000)]\n",
}

#: Whether something else runs: a loop on each processor.
MACHINES = ("quiet", "busy")

#: Begin modules of tests: in a process or a sandbox for all, or isolated ones.
GROUPED = "import pytest\npytestmark = pytest.mark.isolated(group='all')\n"
ISOLATED = "import pytest\npytestmark = pytest.mark.isolated\n"
OVERLAID = "import pytest\npytestmark = pytest.mark.isolated(overlay=['.'])\n"
SHARED = "import pytest\npytestmark = pytest.mark.isolated(scope='module')\n"

#: Forks pytest $TIMES times; each fork writes to $PAGES pages.
FORKS = """
import os

def test_forks():
    page, pages = os.sysconf("SC_PAGE_SIZE"), int(os.environ["PAGES"])
    memory = bytearray(b"x") * (page * pages)
    for _ in range(int(os.environ["TIMES"])):
        fork = os.fork()
        if not fork:
            for place in range(0, len(memory), page):
                memory[place] = 0
            os._exit(0)
        os.waitpid(fork, 0)
"""

#: Starts a Python that imports nothing $TIMES times.
STARTS = """
import os, subprocess, sys

def test_starts():
    for _ in range(int(os.environ["TIMES"])):
        subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
"""

#: Sends a word to a fork $TIMES times, which sends four messages for each.
MESSAGES = """
import os, select

def test_messages():
    words, word = os.pipe()
    messages, message = os.pipe()
    fork = os.fork()
    if not fork:
        os.close(word)
        while os.read(words, 1):
            for _ in range(4):
                os.write(message, b"x")
        os._exit(0)
    poll = select.poll()
    poll.register(messages, select.POLLIN)
    for _ in range(int(os.environ["TIMES"])):
        os.write(word, b"x")
        heard = 0
        while heard < 4:
            poll.poll()
            heard += len(os.read(messages, 4))
    os.close(word)
    os.waitpid(fork, 0)
"""

#: Writes down how many pages of memory the supervisor has at the end.
LOOK = """
import gc, os, pathlib

def pytest_sessionfinish():
    gc.collect()
    resident = pathlib.Path("/proc/self/statm").read_text().split()[1]
    pathlib.Path(os.environ["SEEN"]).write_text(resident)
"""

_UNSHARE = ("unshare", "--ipc", "--uts", "--pid", "--fork", "--mount-proc")
_BUBBLEWRAP = (
    *("bwrap", "--dev-bind", "/", "/", "--proc", "/proc", "--tmpfs", "/dev/shm"),
    *("--unshare-ipc", "--unshare-uts", "--unshare-pid"),
)

#: Runs a command for each of $1 tests.
_EACH = """
tests=$1; shift
while [ "$tests" -gt 0 ]; do
    tests=$((tests - 1))
    "$@" "test_nothing.py::test_$tests" || exit
done
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """
    One way to run tests isolated.
    """

    name: str
    """What the table calls it."""
    environment: str
    """The environment, as in `environments`."""
    arguments: tuple[str, ...] = ()
    """The arguments for pytest."""
    rootless: bool = False
    """Whether an ordinary user runs it; otherwise root does, if it takes root."""
    takes_root: bool = False
    """Whether nobody else can run it."""
    prefix: tuple[str, ...] = ()
    """What starts pytest, once for each test."""
    slow: bool = False
    """Whether each test takes a session of its own, so that fewer tests do."""
    head: str = ""
    """How the module of tests begins."""

    def count(self, tests: int) -> int:
        """
        Return how many tests are enough, where *tests* are usual.
        """
        return max(2, tests // 30) if self.slow else tests

    def command(self, interpreter: str, tests: int) -> list[str]:
        """
        Return the command that runs a suite of *tests*.
        """
        pytest = session(interpreter, *self.arguments)
        if not self.prefix:
            return pytest
        return ["sh", "-c", _EACH, "sh", str(tests), *self.prefix, *pytest]


WAYS = (
    Way(name=ROOT, environment="ours", arguments=("--nsisolate",), takes_root=True),
    Way(name=ROOTLESS, environment="ours", arguments=("--nsisolate",), rootless=True),
    Way(name=REFERENCE, environment="pytest-forked", arguments=("--forked",)),
    Way(
        name="pytest-isolate",
        environment="pytest-isolate",
        arguments=("--isolate",),
    ),
    Way(
        name="pytest-isolated, one group",
        environment="pytest-isolated",
        head=GROUPED,
    ),
    Way(
        name="pytest-isolated, a group each",
        environment="pytest-isolated",
        arguments=("--isolated",),
        slow=True,
    ),
    Way(
        name="unshare pytest, as root",
        environment="plain",
        prefix=_UNSHARE,
        slow=True,
        takes_root=True,
    ),
    Way(
        name="unshare pytest, rootless",
        environment="plain",
        prefix=(*_UNSHARE, "--user", "--map-root-user"),
        slow=True,
        rootless=True,
    ),
    Way(
        name="bubblewrap, as root",
        environment="plain",
        prefix=_BUBBLEWRAP,
        slow=True,
        takes_root=True,
    ),
    Way(
        name="bubblewrap, rootless",
        environment="plain",
        prefix=_BUBBLEWRAP,
        slow=True,
        rootless=True,
    ),
)


def session(interpreter: str, *arguments: str) -> list[str]:
    """
    Return the command of a session of pytest.
    """
    return [interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]


class Suites:
    """
    Directories of tests, written when they are first needed.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._made: dict[tuple[int, str, str], Path] = {}

    def trivial(self, tests: int, conftest: str = "", head: str = "") -> Path:
        """
        Return a suite of *tests* that do nothing, in a module that begins with *head*.
        """
        body = "".join(f"def test_{number}(): pass\n" for number in range(tests))
        return self._written("test_nothing.py", head + body, conftest)

    def of(self, module: str, conftest: str = "") -> Path:
        """
        Return the suite that is this *module*, with *conftest*.
        """
        return self._written("test_work.py", module, conftest)

    def _written(self, name: str, module: str, conftest: str) -> Path:
        """
        Return the directory with *module* and *conftest*.
        """
        key = hash((module, conftest)), name, conftest
        if key not in self._made:
            path = self._base / f"suite{len(self._made)}"
            path.mkdir()
            (path / name).write_text(module)
            (path / "conftest.py").write_text(conftest)
            (path / "pytest.ini").write_text("[pytest]\n")
            self._made[key] = path
        return self._made[key]
