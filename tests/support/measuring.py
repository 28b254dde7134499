"""
Measurements by coverage.py of the same tests, plain and isolated.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import coverage
import pytest

#: Arguments for pytest-cov.
COV = ["-p", "pytest_cov", "--cov"]

_LIBRARY = """
    import threading

    def branches(number):
        if number > 0:
            result = 1
        else:
            result = 2
        for one in range(number):
            result += one
        return result

    def in_thread():
        thread = threading.Thread(target=branches, args=(3,))
        thread.start()
        thread.join()

    def in_fixture():
        return 1

    def in_borrowed():
        return 2

    def in_teardown():
        return 3

    def before_the_end():
        return 4

    def in_fork():
        return 5

    def never():
        return 6

    def in_process():
        return 7

    if __name__ == "__main__":
        in_process()
"""

_CONFTEST = """
    import lib
    import pytest

    @pytest.fixture(scope="session")
    def borrowed():
        yield lib.in_borrowed()
        lib.in_teardown()

    @pytest.fixture
    def owned():
        yield lib.in_fixture()
        lib.branches(0)
"""


def make_library(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Make something to measure, and stop anything from measuring it yet.
    """
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START", "COVERAGE_CORE"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(lib=_LIBRARY)
    pytester.makeconftest(_CONFTEST)
    configure(pytester)


def configure(pytester: pytest.Pytester, *lines: str) -> None:
    """
    Write a configuration with *lines* in its section for measuring.
    """
    (pytester.path / ".coveragerc").write_text(
        "\n".join(["[run]", "source = .", *lines])
    )


def measured(pytester: pytest.Pytester) -> dict[str, Any]:
    """
    Return their number, and lines or arcs by file and context; remove all data files.
    """
    paths = sorted(pytester.path.glob(".coverage*"))
    paths = [path for path in paths if path.name != ".coveragerc"]
    found: dict[str, Any] = {"files": len(paths)}
    for path in paths:
        data = coverage.CoverageData(str(path))
        data.read()
        for name in data.measured_files():
            for context in data.measured_contexts():
                data.set_query_context(context)
                for kind, seen in (("arcs", data.arcs), ("lines", data.lines)):
                    place = f"{name.rpartition('/')[2]} {context} {kind}"
                    if seen(name):
                        found.setdefault(place, set()).update(seen(name) or ())
        data.close()
        path.unlink()
    return found


def measure(pytester: pytest.Pytester, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Run pytest, in coverage.py if that comes first, and return what was measured.
    """
    around: list[str] = []
    if arguments[0] == "coverage":
        around, arguments = ["coverage", "run", "-m"], arguments[1:]
    command = [sys.executable, "-m", *around, "pytest", "-p", "nsisolate"]
    pytester.run(*command, "-p", "no:cacheprovider", *arguments, timeout=60)
    return measured(pytester)


def same(pytester: pytest.Pytester, *arguments: str) -> dict[str, Any]:
    """
    Measure an isolated and a plain run, expect them to be equal, and return one.
    """
    isolated = measure(pytester, [*arguments, "--nsisolate"])
    plain = measure(pytester, [*arguments, "--no-nsisolate"])
    assert isolated == plain
    assert any("lib.py" in place for place in isolated)
    return isolated
