"""
Trials: a peer that has been made ready, and the sessions that it runs.
"""

from __future__ import annotations

import abc
import itertools
import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path

import container
import image
from engines import Docker
from peers import OURS, Peer, Way
from processes import CannotRun, run
from sessions import LIMIT, LIMIT_HANG, PASSED, Seen, clean_environment, suite, try_out

_CHECKOUT = Path(__file__).resolve().parents[2]

#: Versions of pytest, newest first.
_CANDIDATES = ("9.2.*", "9.1.*", "9.0.*", "8.4.*", "8.0.*")

#: What is installed beside each peer, to measure coverage.
_COVERAGE = "pytest-cov"

#: Says with what a peer runs, and what its package says of systems.
_DESCRIBE = """
import importlib.metadata as metadata, platform, sys
peer = metadata.metadata(sys.argv[1])
systems = [one.rpartition("Operating System :: ")[2]
           for one in peer.get_all("Classifier") or [] if "Operating System" in one]
print(metadata.version("pytest"), peer["Version"], platform.python_version(),
      ", ".join(one.rpartition(" :: ")[2] for one in systems), sep="\\t")
"""


class Trial(abc.ABC):
    """
    A peer that runs here.

    Args:
        peer: The peer.
        work: The directory for its suites.
    """

    def __init__(self, peer: Peer, work: Path) -> None:
        self.peer = peer
        self._work = work
        self._number = itertools.count()
        # Several questions are answered by the same sessions.
        self._seen: dict[tuple[object, ...], Seen] = {}
        #: The versions of pytest, of the peer and of Python, and the systems that the
        #: peer is for.
        self.pytest, self.version, self.interpreter, self.systems = "", "", "", ""

    @abc.abstractmethod
    def command(self, place: Path, way: Way, arguments: Sequence[str]) -> list[str]:
        """
        Return the command of a session of pytest in *place*.
        """

    def run(
        self,
        probe: str,
        way: Way | None = None,
        *arguments: str,
        times: int = 1,
        user: str | None = None,
    ) -> Seen:
        """
        Run *probe*, if that was not done, and say what came of it.

        Args:
            probe: The name of a module of tests.
            way: The way to use the peer; the usual one, if None.
            arguments: Further arguments for pytest.
            times: How many sessions there are, one after the other.
            user: Who runs pytest, if not who runs this.
        """
        way = way or self.peer.usual
        asked = (probe, way, arguments, times, user)
        if asked not in self._seen:
            self._seen[asked] = self._run(probe, way, arguments, times, user)
        return self._seen[asked]

    def _run(
        self,
        probe: str,
        way: Way,
        arguments: Sequence[str],
        times: int,
        user: str | None,
    ) -> Seen:
        place = self._place()
        tests = suite(place, probe, self.head(way))
        chosen = [f"test_probe.py::{one}" for one in tests] if way.each else [""]
        commands = []
        for number, test in enumerate(chosen * times):
            junit = f"--junitxml=junit-{number}.xml"
            given = [*way.arguments, *arguments, junit, *([test] if test else [])]
            commands.append(self.command(place, way, given))
        limit = LIMIT_HANG if probe == "hang" else LIMIT
        return try_out(place, commands, self.variables(), become(user), limit)

    def trivial(self, way: Way, tests: int) -> tuple[list[str], Path]:
        """
        Return a command that runs so many tests that do nothing, and where to run it.

        If each has a session of its own, the command runs one test.
        """
        place = self._place()
        place.mkdir()
        body = "".join(f"def test_{number}(): pass\n" for number in range(tests))
        (place / "test_probe.py").write_text(self.head(way) + body)
        (place / "pytest.ini").write_text("[pytest]\n")
        chosen = ["test_probe.py::test_0"] if way.each else []
        return self.command(place, way, ["-q", *way.arguments, *chosen]), place

    def variables(self) -> dict[str, str]:
        """
        Return environment variables for pytest.
        """
        return {}

    def head(self, way: Way) -> str:
        """
        Return text for the beginning of each module of tests.
        """
        if not way.keywords:
            return ""
        return f"import pytest\npytestmark = pytest.mark.isolated({way.keywords})\n\n"

    def _place(self) -> Path:
        number = next(self._number)
        return self._work / f"{self.peer.name.replace(' ', '-')}-{number}"


class Installed(Trial):
    """
    A peer in a virtual environment, with the newest pytest that it works with.

    Args:
        peer: The peer.
        work: The directory for all.
        interpreter: The Python to make it with.

    Raises:
        CannotRun: It cannot be installed, or passes no test.
    """

    def __init__(self, peer: Peer, work: Path, interpreter: str) -> None:
        super().__init__(peer, work / "suites")
        if peer.program and shutil.which(peer.program) is None:
            raise CannotRun(f"`{peer.program}` is not installed")
        package = peer.package or peer.name
        self._bin = work / "environments" / peer.name.replace(" ", "-") / "bin"
        run([interpreter, "-m", "venv", self._bin.parent], 120)
        refused = []
        for candidate in _CANDIDATES:
            self._install(package, f"pytest=={candidate}")
            found = [self._bin / "python", "-c", _DESCRIBE, package]
            told = run(found, 60, environment=clean_environment()).rstrip("\n")
            self.pytest, self.version, self.interpreter, self.systems = told.split("\t")
            self._seen.clear()
            seen = self.run("trifle")
            if [one.outcome for one in seen.cases.values()] == [PASSED]:
                return
            refused.append(self.pytest)
        versions = ", ".join(refused)
        raise CannotRun(f"a test that does nothing fails with pytest {versions}")

    def command(
        self,
        place: Path,  # noqa: ARG002 - a container must be told
        way: Way,
        arguments: Sequence[str],
    ) -> list[str]:
        """
        Return the command of a session of pytest in *place*.
        """
        return [*way.prefix, str(self._bin / "pytest"), *arguments]

    def variables(self) -> dict[str, str]:
        """
        Return environment variables, as in an active environment.
        """
        return {"PATH": f"{self._bin}:{os.environ['PATH']}"}

    def _install(self, package: str, pytest: str) -> None:
        wanted = str(_CHECKOUT) if package == OURS else package
        pip = [self._bin / "pip", "--disable-pip-version-check", "--quiet"]
        quiet = {"PIP_ROOT_USER_ACTION": "ignore"}
        packages = [*dict.fromkeys([pytest, *({wanted} - {"pytest"})]), _COVERAGE]
        line = [*pip, "install", *packages]
        try:
            run(line, 600, environment=clean_environment() | quiet)
        except CannotRun as why:
            # The page must not have what only holds on this machine.
            print(why, flush=True)
            raise CannotRun(f"pip cannot install it with {pytest}") from why


class Contained(Trial):
    """
    pytest in a container.

    Args:
        peer: The peer.
        work: The directory for all.
        engine: The engine, which must have been started.
    """

    def __init__(self, peer: Peer, work: Path, engine: Docker) -> None:
        super().__init__(peer, work)
        self._engine = engine
        told = run(
            engine.line([], 0, [image.PYTHON, "-c", _DESCRIBE, "pytest"]), 120
        ).rstrip("\n")
        self.pytest = told.split("\t")[0]
        self.version = run(["docker", "--version"], 60).split()[2].rstrip(",")

    def command(self, place: Path, way: Way, arguments: Sequence[str]) -> list[str]:
        """
        Return the command of a session of pytest in *place*, which the container sees.
        """
        shared = [f"--volume={place}:{place}", f"--workdir={place}"]
        passed = [f"--env={one}" for one in ("PROBE_WITNESS", "PROBE_PORT")]
        passed.append("--env=PROBE_UPTIME")
        options = [*shared, *passed, *way.options]
        program = [image.PYTHON, "-m", "pytest", *arguments]
        return self._engine.line(options, 0, program)


def become(user: str | None) -> list[str]:
    """
    Return a command that runs its further arguments as *user*, without privilege.
    """
    if user is None:
        return []
    entry = pwd.getpwnam(user)
    uid, gid = entry.pw_uid, entry.pw_gid
    become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    if not container.is_root():
        # Outside it is still who runs this, who can be nobody else.
        become = ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}"]
    return [*become, "env", "HOME=/tmp"]
