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
    binary: bool = False
    """Whether to install a wheel, as building one takes more than a compiler."""
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
    Suite(name="jinja2", version="3.1.6", requirements=("trio",)),
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
    Suite(
        name="tenacity",
        version="9.2.1",
        groups=("dev",),
        expected=(
            Expected(
                kind="outcomes",
                about="tests/test_asyncio.py::TestContextManager::test_sleeps",
                cause="it compares milliseconds with a limit meant in seconds, 1.1: "
                "run plain too it fails now and then while the machine is busy",
            ),
        ),
    ),
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
    Suite(name="fasteners", version="0.20", groups=("test",)),
    Suite(
        name="watchdog",
        version="7.1.0",
        extras=("watchmedo",),
        requirements=("flaky", "pytest-timeout"),
        arguments=(
            # What is measured is the installed package.
            "--override-ini=pythonpath=",
            # They rest on a thread that a fixture of the session starts. It is not in a
            # guest: these tests take scope="session".
            "--ignore=tests/test_emitter.py",
            "--ignore=tests/test_inotify_c.py",
            "--ignore=tests/test_inotify_watch_group.py",
        ),
    ),
    Suite(
        name="tornado",
        version="6.6.1",
        arguments=(
            # Its own runner silences this logger. Tests check that nothing is logged.
            "--log-disable=tornado.access",
            # Its tests are in the package, under names that pytest does not look for.
            "--override-ini=python_files=*_test.py",
            "--pyargs",
            "tornado.test",
        ),
        expected=(
            Expected(
                kind="outcomes",
                about=".*::SimpleHTTPSClientTestCase::test_request_timeout",
                cause="run plain and alone it fails too: the first handshake in a "
                "process takes longer than its limit of 0.1 s",
            ),
        ),
    ),
    Suite(
        name="loky",
        version="3.7.0",
        extras=("tests",),
        arguments=(
            "--skip-high-memory",
            # Without the tests of its executors, which take a quarter of an hour.
            "tests/test_cloudpickle_wrapper.py",
            "tests/test_futures.py",
            "tests/test_loky_backend.py",
            "tests/test_loky_module.py",
            "tests/test_resource_tracker.py",
            "tests/test_synchronize.py",
        ),
    ),
    Suite(
        name="joblib",
        version="1.6.0",
        requirements=("numpy", "pytest-asyncio", "pytest-timeout", "threadpoolctl"),
        arguments=(
            "--pyargs",
            # What concerns processes, shared memory and files.
            "joblib.test.test_disk",
            "joblib.test.test_memmapping",
            "joblib.test.test_memory",
            "joblib.test.test_missing_multiprocessing",
            "joblib.test.test_module",
            "joblib.test.test_store_backends",
        ),
    ),
    Suite(
        name="billiard",
        version="4.3.2",
        requirements=("psutil",),
        expected=(
            Expected(
                kind="outcomes",
                about=".*::test_set_get_pdeathsig",
                cause="it expects that no signal is set, but a guest has SIGKILL "
                "there, to end with the process that forked it",
            ),
        ),
    ),
    Suite(
        name="pyzmq",
        version="27.3.0",
        modules=("zmq",),
        requirements=("pytest-asyncio", "pytest-rerunfailures", "tornado"),
        binary=True,
        # Some tests need gigabytes.
        arguments=("-m", "not large"),
        expected=(
            Expected(
                kind="warnings",
                about="tests/test_ioloop.py::.*",
                cause="the module warns when it is imported, which in a plain run an "
                "earlier test has done",
            ),
        ),
    ),
    Suite(
        name="dask",
        version="2026.8.0",
        requirements=("numpy", "pandas", "pytest-timeout"),
        arguments=(
            # Its own name an option of pytest-cov.
            "--override-ini=addopts=",
            # What concerns processes and threads.
            "dask/tests/test_local.py",
            "dask/tests/test_multiprocessing.py",
            "dask/tests/test_system.py",
            "dask/tests/test_threaded.py",
        ),
    ),
)
