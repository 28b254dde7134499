"""
pytest-isolated, another plugin with a marker of the same name, beside this one.
"""

from __future__ import annotations

import sys

import pytest
from twins import WITHOUT

PYTHON = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=."]


@pytest.fixture
def pytest_isolated(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Install a stand-in for pytest-isolated that has its names and nothing else.
    """
    site = pytester.mkdir("site")
    package = site / "pytest_isolated"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "plugin.py").touch()
    info = site / "pytest_isolated-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pytest-isolated\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[pytest11]\nisolated = pytest_isolated.plugin\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")


@pytest.mark.usefixtures("pytest_isolated")
def test_clash(pytester: pytest.Pytester) -> None:
    """
    With pytest-isolated there is a usage error with two ways out that both work.
    """
    source = """
        import os
        import pytest
        from pathlib import Path

        PYTEST = os.getpid()

        @pytest.mark.{}
        def test_it():
            Path("ran").write_text("")
            assert os.getpid() != PYTEST
        """
    pytester.makepyfile(test_clash=source.format("isolated(hostname='t1')"))
    refused = pytester.run(*PYTHON, timeout=60)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(
        [
            (
                "ERROR: cannot start: pytest-isolated and pytest-nsisolate both own "
                "the marker isolated, which test_clash.py::test_it has"
            ),
            (
                "why: pytest-isolated runs such a test without namespaces and "
                "ignores hostname="
            ),
            "fix: pytest -p no:isolated, or mark with @pytest.mark.nsisolated",
        ]
    )
    assert not (pytester.path / "ran").exists()
    pytester.run(*PYTHON, "-p", "no:isolated", timeout=60).assert_outcomes(passed=1)
    pytester.makepyfile(test_clash=source.format("nsisolated(hostname='t1')"))
    pytester.run(*PYTHON, timeout=60).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mark", "refused"), [("isolated", True), ("nsisolated", False)]
)
def test_each_marker(pytester: pytest.Pytester, mark: str, refused: bool) -> None:
    """
    Where pytest-isolated is loaded too, its marker is refused in three lines.
    """
    # The plugin is recognised by the name of its module.
    pytester.makepyfile(pytest_isolated="")
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.{mark}
        def test_one(): pass
        """
    )
    pytester.syspathinsert()
    result = pytester.runpytest_inprocess(*WITHOUT, "-p", "pytest_isolated")
    if not refused:
        result.assert_outcomes(passed=1)
        return
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            (
                "ERROR: cannot start: pytest-isolated and pytest-nsisolate both own "
                "the marker isolated, which test_it.py::test_one has"
            ),
            (
                "why: pytest-isolated runs such a test without namespaces and ignores "
                "hostname="
            ),
            "fix: pytest -p no:isolated, or mark with @pytest.mark.nsisolated",
        ],
        consecutive=True,
    )
