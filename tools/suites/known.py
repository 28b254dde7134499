"""
Suites to try, and their expected differences when isolated.
"""

from __future__ import annotations

import dataclasses
import re

from results import Difference


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expected:
    """
    A difference that isolation is meant to make, or cannot avoid.
    """

    kind: str
    """One of `results.KINDS`."""
    about: str
    """A pattern for the test or file."""
    cause: str
    """Why it is correct."""

    def covers(self, difference: Difference) -> bool:
        """
        Say whether *difference* is this one.
        """
        same_kind = self.kind == difference.kind
        return same_kind and re.fullmatch(self.about, difference.about) is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """
    A package and how to run its own test suite.
    """

    name: str
    version: str
    modules: tuple[str, ...] = ()
    """The modules to measure; if empty, that of the package's name."""
    extras: tuple[str, ...] = ()
    """Extras of the package that its tests need."""
    groups: tuple[str, ...] = ()
    """Groups of its ``[dependency-groups]`` that its tests need."""
    requirements: tuple[str, ...] = ()
    """What its tests need although its metadata does not say so."""
    remove: tuple[str, ...] = ()
    """Files and directories to remove because they disturb the tests."""
    arguments: tuple[str, ...] = ()
    """Arguments for pytest."""
    expected: tuple[Expected, ...] = ()
    """Its expected differences."""


#: Differences of all suites.
EXPECTED: tuple[Expected, ...] = ()

SUITES = (
    Suite(name="pluggy", version="1.7.0", groups=("testing",)),
    Suite(name="click", version="8.5.1", groups=("tests",)),
    # Newer versions are built with python-sbom, which not every index has.
    Suite(
        name="filelock",
        version="3.25.2",
        groups=("test",),
        # Its own limit of 20 s is too short for some tests on a slow machine.
        arguments=("-o", "timeout=120"),
    ),
    Suite(
        name="attrs",
        version="26.1.0",
        modules=("attr", "attrs"),
        groups=("tests",),
    ),
    Suite(
        name="structlog",
        version="26.1.0",
        groups=("tests",),
        # With pytest-randomly, all runs must have the same order and numbers.
        arguments=("-p", "randomly", "--randomly-seed=1"),
        expected=(
            Expected(
                kind="outcomes",
                about="tests/test_tracebacks.py::test_recursive",
                cause="it allows 50 frames below a test; a guest's are seven more, and "
                "those of coverage run leave fewer",
            ),
        ),
    ),
    # Its requirements/tests.txt pins versions that newer packages do not work with.
    Suite(name="itsdangerous", version="2.2.0", requirements=("freezegun",)),
    Suite(
        name="werkzeug",
        version="3.1.9",
        groups=("tests",),
        # Run plain, the reloader's test may wait for ever for a file to change.
        arguments=("-k", "not reloader"),
    ),
    Suite(name="tenacity", version="9.2.1", groups=("dev",)),
    Suite(name="cachetools", version="8.0.1"),
    Suite(name="anyio", version="4.16.0", extras=("trio",), groups=("test",)),
    Suite(
        name="trio",
        version="0.35.0",
        requirements=(
            "astor",
            "async_generator",
            "cryptography",
            "jedi",
            "pyOpenSSL",
            "trustme",
        ),
        # Its tests are in the package. Tests that need a missing module are skipped.
        arguments=("--pyargs", "trio", "--skip-optional-imports"),
    ),
    Suite(
        name="portalocker",
        version="4.4.2",
        extras=("tests",),
        # Its addopts demand 100 % coverage from pytest-cov and a limit of 20 s.
        arguments=("-o", "addopts=--doctest-modules --timeout=60"),
    ),
)
