"""
ddtrace, which reports each test to a backend, with isolated tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TESTS = """
    import pytest

    @pytest.fixture
    def bad_setup(): raise KeyError("no key")

    @pytest.fixture
    def bad_teardown():
        yield
        raise OSError("gone")

    @pytest.fixture(scope="module")
    def wide(): yield

    def test_passes(wide): pass
    def test_fails(): assert 1 == 2
    def test_setup(bad_setup): pass
    def test_teardown(bad_teardown): pass
    def test_skips(): pytest.skip("so")
    @pytest.mark.xfail
    def test_expected(): assert 0
    def test_again(wide): pass
"""


def _events(directory: Path) -> list[tuple[Any, ...]]:
    """
    Return what the files in *directory* say of each test, of the module and session.
    """
    told = []
    for path in sorted(directory.rglob("*.json")):
        for event in json.loads(path.read_text()).get("events", ()):
            content = event["content"]
            meta: dict[str, str] = content.get("meta", {})
            names = ("test.status", "error.type", "error.message", "test.skip_reason")
            told.append((event["type"], content["resource"], *map(meta.get, names)))
    return sorted(told, key=str)


# ddtrace leaves a file in the temporary directory, isolated or not.
@pytest.mark.usefixtures("temporary")
@pytest.mark.about("ddtrace")
def test_outcomes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The outcome that the backend gets of each test is that of a plain run, and one.
    """
    pytester.makepyfile(TESTS)
    manifest = pytester.mkdir(".testoptimization") / "manifest.txt"
    manifest.write_text("1\n")
    monkeypatch.setenv("DD_TEST_OPTIMIZATION_MANIFEST_FILE", str(manifest))
    monkeypatch.setenv("DD_TEST_OPTIMIZATION_PAYLOADS_IN_FILES", "1")
    monkeypatch.setenv("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "0")
    told = []
    for switch in ("--no-nsisolate", "--nsisolate"):
        directory = pytester.mkdir(f"events{switch}")
        monkeypatch.setenv("TEST_UNDECLARED_OUTPUTS_DIR", str(directory))
        plugins = [
            "-p",
            "nsisolate",
            "-p",
            "ddtrace.testing.internal.pytest.entry_point",
        ]
        result = pytester.runpytest_subprocess(*plugins, "--ddtrace", switch)
        result.assert_outcomes(passed=3, failed=1, errors=2, skipped=1, xfailed=1)
        told.append(_events(directory))
    plain, isolated = told
    assert isolated == plain
    states = [one[2] for one in plain if one[0] == "test"]
    assert sorted(states) == [*["fail"] * 3, *["pass"] * 2, *["skip"] * 2]
