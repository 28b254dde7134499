"""
Tests that ask for a sandbox, and that something else begins to run on the host.
"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

TESTS = """
import pytest
from pathlib import Path

@pytest.mark.isolated
def test_marked(): Path("ran").touch()

@pytest.mark.isolated
@pytest.mark.xfail
def test_expected(): Path("ran").touch()

def test_host(): pass
"""

UNMARKED = """
import pytest
from pathlib import Path

def test_marked(): Path("ran").touch()

@pytest.mark.xfail
def test_expected(): Path("ran").touch()

def test_host(): pass
"""

RUNS_ITSELF = """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    runtestprotocol(item, nextitem=nextitem)
    return True
"""

IN_A_LOOP = """
from _pytest.runner import runtestprotocol

def pytest_runtestloop(session):
    for item in session.items:
        runtestprotocol(item, nextitem=None)
    return True
"""

MARKS_LATE = """
import pytest

@pytest.fixture(autouse=True)
def mark(request):
    if request.node.name != "test_host":
        request.node.add_marker(pytest.mark.isolated)
"""


@pytest.mark.parametrize(
    ("files", "tests", "text"),
    [
        pytest.param(
            {"conftest": RUNS_ITSELF},
            TESTS,
            """
            cannot isolate 2 tests: it runs on the host
            why: pytest_runtest_protocol() of conftest runs it, and comes before *
            fix: let it return None for isolated tests, or * --no-nsisolate
            """,
            id="conftest",
        ),
        pytest.param(
            {"taker": RUNS_ITSELF, "conftest": 'pytest_plugins = ["taker"]'},
            TESTS,
            """
            cannot isolate 2 tests: it runs on the host
            why: pytest_runtest_protocol() of taker runs it, and comes before *
            fix: pytest -p no:taker, or run all tests on the host: pytest --no-nsisolate
            """,
            id="plugin",
        ),
        pytest.param(
            {"conftest": IN_A_LOOP},
            TESTS,
            """
            cannot isolate 2 tests: it runs on the host
            why: something calls it without pytest_runtest_protocol() of *-nsisolate
            fix: run all tests on the host: pytest --no-nsisolate
            """,
            id="loop",
        ),
        pytest.param(
            {"conftest": MARKS_LATE},
            UNMARKED,
            """
            cannot isolate 2 tests: it got the marker isolated too late
            why: the marker was added when it had been decided that * runs on the host
            fix: add it in pytest_collection_modifyitems(), or write @pytest.* the test
            """,
            id="marker",
        ),
    ],
)
def test_never_green(
    pytester: pytest.Pytester, files: dict[str, str], tests: str, text: str
) -> None:
    """
    It fails before it is called, even if a failure is expected, and says who began.
    """
    for name, content in files.items():
        pytester.path.joinpath(f"{name}.py").write_text(content)
    pytester.makepyfile(tests)

    # The time line has such a hook, too.
    options = ["--nsisolate-unavailable=skip", "--nsisolate-timeline=line.html"]
    result = pytester.runpytest_subprocess(*options)

    result.assert_outcomes(failed=2, passed=1)
    lines = textwrap.dedent(text).strip().splitlines()
    result.stdout.fnmatch_lines(lines, consecutive=True)
    assert not Path(pytester.path, "ran").exists()
    result.stdout.no_fnmatch_line("*entries are hidden*")


@pytest.mark.parametrize("arguments", [["--no-nsisolate"], ["-p", "no:taker"]])
def test_fixes(pytester: pytest.Pytester, arguments: list[str]) -> None:
    """
    With the fix that the error names, the tests run.
    """
    pytester.path.joinpath("taker.py").write_text(RUNS_ITSELF)
    pytester.makeconftest('pytest_plugins = ["taker"]')
    pytester.makepyfile(TESTS)

    result = pytester.runpytest_subprocess(*arguments)

    result.assert_outcomes(passed=2, xpassed=1)


COOPERATIVE = """
import os
import pytest
from pathlib import Path

@pytest.mark.isolated
@pytest.mark.asyncio_cooperative
def test_marked(): Path("ran").touch()
"""


def test_called_early(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With a plugin that calls tests itself there is a usage error, whose fixes work.
    """
    # A stand-in: the plugin itself refuses to start beside pytest-asyncio.
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)
    plugin = "def pytest_configure(config):\n    config.addinivalue_line"
    plugin += '("markers", "asyncio_cooperative: called")'
    pytester.path.joinpath("pytest_asyncio_cooperative.py").write_text(plugin)
    pytester.makepyfile(COOPERATIVE)
    options = ["-p", "pytest_asyncio_cooperative"]

    refused = pytester.runpytest_subprocess(*options)

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(
        [
            "ERROR: cannot start: pytest-asyncio-cooperative would run * on the host",
            "why: it calls each test with the marker asyncio_cooperative itself, *",
            "fix: pytest --no-nsisolate, or leave one of the two markers out",
        ]
    )
    assert not pytester.path.joinpath("ran").exists()
    off = pytester.runpytest_subprocess(*options, "--no-nsisolate")
    off.assert_outcomes(passed=1)
    without = COOPERATIVE.replace("@pytest.mark.isolated", "")
    pytester.makepyfile(without)
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=1)
