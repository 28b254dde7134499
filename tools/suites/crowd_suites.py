"""
Suites that run twice at the same time, and their expected differences when isolated.
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
    A difference between a plain and an isolated run that is correct.
    """

    about: str
    """A pattern for the tests."""
    scope: str
    """The scope of isolation with which it shows, every time."""
    cause: str
    """Why it is correct."""

    def covers(self, test: str, scope: str | None) -> bool:
        """
        Say whether *test* may differ in a run with this *scope*.
        """
        return scope == self.scope and re.fullmatch(self.about, test) is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """
    A package and how to run its own test suite.
    """

    name: str
    version: str
    requirements: tuple[str, ...] = ()
    """What the tests need in addition, for pip."""
    arguments: tuple[str, ...] = ("tests",)
    """Arguments for pytest."""
    plugins: tuple[str, ...] = ()
    """Modules of the directory ``plugins``, for the isolated runs."""
    net: bool = False
    """Whether its tests use ports and so need ``own_network`` too."""
    forgets: tuple[str, ...] = ()
    """Files that it leaves on the host when it runs plain."""
    terminal: bool = False
    """Whether it needs -s and a terminal on descriptor 0."""
    expected: tuple[Expected, ...] = ()
    """Its expected differences."""


@dataclasses.dataclass(frozen=True)
class Ready:
    """
    A suite that is installed.
    """

    suite: Suite
    python: Path
    """The interpreter of the environment with the package, pytest and the plugin."""
    source: Path
    """The top directory of the source distribution."""


#: Two are bindings for SysV and POSIX IPC and use fixed keys and names. Others start
#: servers on ports that are fixed or were free a moment ago. One makes PID files with
#: fixed names.
SUITES = (
    Suite(name="sysv_ipc", version="1.2.0"),
    Suite(
        name="posix_ipc",
        version="1.3.2",
        # Its test_memory.py calls sys.stdin.fileno() while it is imported, and skips a
        # test unless that is 0. pytest's capture has no such method. Any open
        # descriptor would do; it is a terminal because the plugin treats one specially.
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
        # Its options need coverage and make the warning of pkg_resources an error.
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
        # Its options need plugins, and none of them is for JUnit XML.
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
        suite: The suite to install.
        python: The interpreter for the environment.
        work: The directory to work in.

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
