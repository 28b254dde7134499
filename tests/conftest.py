"""
Fixtures for all tests.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import machine
import pytest
from environment import CHANGING
from ways import WAYS, RunPytest, cannot

from pytest_nsisolate.diagnosis import machine as facts
from pytest_nsisolate.diagnosis.probe import ProbedPool
from pytest_nsisolate.model.spec import Spec

#: Modules of tests/support that have fixtures, or asserts that pytest is to explain.
pytest_plugins = [
    *("pytester", "twins", "stories", "boxes", "terminals", "examination"),
    "users",
]


#: Folders of tests that depend on the kernel.
_OF_THE_KERNEL = {"refusal", "robustness", "sandbox"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """
    Mark the tests of these folders, so that the lanes of other versions leave them out.
    """
    if item.path.parent.name in _OF_THE_KERNEL:
        item.add_marker(pytest.mark.kernel)


def pytest_sessionstart() -> None:
    """
    Keep what other programs do on this machine out of the tests' sight, if possible.
    """
    machine.is_alone()


@pytest.fixture(scope="session", autouse=True)
def _environment_changes_nothing() -> Iterator[None]:
    """
    Remove the variables that would change what inner pytest runs print.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGING:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _sandboxes_can_be_had() -> None:
    """
    Check that sandboxes work, so that a lack of them is reported only once.
    """
    pool = ProbedPool()
    refused = pool.probe(Spec())
    pool.stop()
    if refused is not None:
        cannot(str(refused))


@pytest.fixture(autouse=True)
def _names_are_free(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Let a test's own test files have the same names as those here.
    """
    if "pytester" in request.fixturenames:
        for name in [name for name in sys.modules if name.startswith("test_")]:
            monkeypatch.delitem(sys.modules, name)


@pytest.fixture(autouse=True)
def _one_job_if_marked(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Run no tests side by side where what they do to the host depends on their order.
    """
    if request.node.get_closest_marker("one_job"):
        monkeypatch.delenv("NSISOLATE_JOBS", raising=False)


@pytest.fixture(autouse=True)
def _hypothesis_is_not_loaded(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Stop inner pytest runs from importing Hypothesis, which takes longer than the run.
    """
    if "pytester" in request.fixturenames:
        # pytester removes the variable when it is set up.
        request.getfixturevalue("pytester")
        monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.emulated] if command else [])
        for name, command in WAYS.items()
    ]
)
def run_both_ways(
    request: pytest.FixtureRequest, pytester: pytest.Pytester
) -> RunPytest:
    """
    Run pytest in a process of its own, once with CAP_SYS_ADMIN and once without.

    So both ways into a sandbox are tried, whether or not root runs these tests.
    """
    command = [
        *WAYS[request.param],
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
    ]

    def run(*args: str, timeout: float = 60) -> pytest.RunResult:
        """
        Run pytest for at most *timeout* seconds.
        """
        return pytester.run(*command, *args, timeout=timeout)

    return run


_VIEW = '''
import ast
import subprocess
import sys

import pytest

LOOP = "import sys\\nfor line in sys.stdin: print(repr(eval(line)), flush=True)"

@pytest.fixture(scope="session")
def on_host():
    """Evaluate an expression in a process that stays on the host."""
    command = [sys.executable, "-c", LOOP]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        def ask(expression):
            process.stdin.write(expression + "\\n")
            process.stdin.flush()
            return ast.literal_eval(process.stdout.readline())
        yield ask
'''


@pytest.fixture
def view_of_host(pytester: pytest.Pytester) -> None:
    """
    Give the tests that `pytester` runs a fixture ``on_host`` that looks at the host.
    """
    pytester.makeconftest(_VIEW)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """
    Give the processes that a test starts their own temporary directory.

    Its path is short enough for the name of a socket in it.
    """
    with tempfile.TemporaryDirectory(prefix="nsi") as path:
        monkeypatch.setenv("TMPDIR", path)
        yield Path(path)


@pytest.fixture
def nothing_left(temporary: Path) -> Iterator[None]:
    """
    Expect that a test leaves nothing on this machine.
    """
    before = machine.snapshot("none", temporary)
    yield
    # pytest keeps the directories of its last three sessions, by design.
    for one in temporary.glob("pytest-of-*"):
        shutil.rmtree(one)
    machine.nothing_left(before, "none", temporary)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """
    Return the files that exist, none yet: no machine has them all at once.
    """
    there: dict[str, str] = {}
    monkeypatch.setattr(facts, "read", there.get)
    monkeypatch.setattr(facts, "is_there", there.__contains__)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return there
