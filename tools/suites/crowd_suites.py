"""
The suites that are run twice at the same time, and in what they may differ isolated.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from commands import run
from packages import CHECKOUT, environment, fetch, install, unpack, versions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expected:
    """
    A difference between a plain and an isolated run that is right.
    """

    about: str
    """Pattern for the tests."""
    scope: str
    """How wide the isolation is with which it is seen, with each time."""
    cause: str
    """Why it is right."""

    def covers(self, test: str, scope: str | None) -> bool:
        """
        Say whether *test* may differ in a run of this *scope*.
        """
        return scope == self.scope and re.fullmatch(self.about, test) is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """
    A package and how its own test suite is run.
    """

    name: str
    version: str
    requirements: tuple[str, ...] = ()
    """What the tests need besides, for pip."""
    arguments: tuple[str, ...] = ("tests",)
    """For pytest."""
    plugins: tuple[str, ...] = ()
    """Modules of the directory ``plugins``, for the isolated runs."""
    net: bool = False
    """Whether ``own_network`` is one more of them: its tests use ports."""
    forgets: tuple[str, ...] = ()
    """Files that it leaves on the host when it is run plain."""
    terminal: bool = False
    """Whether it wants -s and a terminal on descriptor 0."""
    expected: tuple[Expected, ...] = ()
    """In what it may differ."""


@dataclasses.dataclass(frozen=True)
class Ready:
    """
    A suite, installed.
    """

    suite: Suite
    python: Path
    """Interpreter of the environment that has the package, pytest and the plugin."""
    source: Path
    """Top directory of the source distribution."""


#: Two bind SysV and POSIX IPC, and use fixed keys and names; others start servers on
#: ports that are fixed or were free a moment ago; one makes PID files of fixed names.
SUITES = (
    Suite(name="sysv_ipc", version="1.2.0"),
    Suite(
        name="posix_ipc",
        version="1.3.2",
        # Its test_memory.py calls sys.stdin.fileno() while it is imported, and skips a
        # test unless that is 0. pytest's capture has no such thing. Any open descriptor
        # would do; the plugin treats a terminal specially, so it is one.
        terminal=True,
    ),
    Suite(
        name="portend",
        version="3.2.1",
        arguments=(),
        net=True,
    ),
    Suite(
        name="aiosmtpd",
        version="1.4.6",
        # It uses pkg_resources.
        requirements=("pytest-mock", "setuptools<81"),
        # Its options want coverage, and make an error of the end of pkg_resources.
        arguments=(
            *("-p", "pytest_mock", "-o", "addopts=", "-o", "filterwarnings="),
            "aiosmtpd/tests",
        ),
        net=True,
        expected=(
            Expected(
                about=r"aiosmtpd/tests/test_lmtp\.py::.*",
                scope="function",
                cause="a fixture of module scope has the server; it is made outside, "
                "and listens in the network of the host",
            ),
        ),
    ),
    Suite(
        name="supervisor",
        version="4.3.0",
        requirements=("pexpect",),
        arguments=("supervisor/tests",),
        # It logs to /tmp/fooooooo.
        plugins=("own_directories",),
        net=True,
        forgets=("/tmp/foo",),
    ),
    Suite(
        name="pyftpdlib",
        version="2.2.0",
        requirements=("psutil", "pyOpenSSL", "setuptools"),
        # Its options want plugins, and none for JUnit XML.
        arguments=("-o", "addopts=", "tests"),
        plugins=("own_process",),
        net=True,
    ),
    Suite(
        name="pid",
        version="3.0.4",
        requirements=("mock",),
        plugins=("own_directories",),
    ),
)


def prepare(suite: Suite, python: str, work: Path) -> Ready:
    """
    Fetch the source distribution of *suite*; install it, pytest and this project.

    Args:
        suite: Which one.
        python: Interpreter for the environment.
        work: Directory to do it in.

    Raises:
        CannotRun: A step failed or took too long.
    """
    place = work / suite.name
    interpreter = environment(python, place / "venv")
    wanted = f"{suite.name}=={suite.version}"
    archive = fetch(interpreter, suite.name, wanted, place / "dist")
    install(interpreter, "pytest", CHECKOUT, archive, *suite.requirements)
    names = [suite.name, "pytest", "pytest-nsisolate"]
    known = versions(interpreter, names)
    facts = [f"{n} {v}" for n, v in zip(names, known, strict=True)]
    print(", ".join([*facts, run([interpreter, "-V"], 60).strip()]), flush=True)
    return Ready(suite, interpreter, unpack(archive, place / "source"))
