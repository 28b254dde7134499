"""
Files that tests change: shown, warned about or an error, and always gone.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import changed
from twins import run_once
from ways import PLAIN

RunPytest = Callable[..., pytest.RunResult]

CHANGES = """
import os
import shutil
from pathlib import Path

import pytest

BASE = Path(__file__).parent / "place"

@pytest.fixture(scope="module")
def borrowed():
    (BASE / "outside").write_text("of a fixture outside")

@pytest.fixture
def owned():
    yield
    (BASE / "late").touch()

def test_changes(borrowed, tmp_path):
    (BASE / "new").touch()
    (BASE / "directory" / "below").mkdir(parents=True)
    (BASE / "file").write_text("changed")
    (BASE / "outside").chmod(0o600)
    (BASE / "link").unlink()
    (tmp_path / "mine").touch()
    Path("/dev/shm/mine").touch()
    Path("/dev/shm/mine").unlink()

def test_in_place():
    shutil.rmtree(BASE / "sub")
    (BASE / "sub").mkdir()
    (BASE / "sub" / "new").touch()

def test_moves(owned):
    shutil.move(BASE / "file", BASE / "moved")

def test_nothing():
    with open(BASE / "file", "r+"):
        pass
    (BASE / "gone").touch()
    (BASE / "gone").unlink()
    assert sorted(os.listdir(BASE)) == ["file", "link", "outside", "sub"]
"""

FOUND = {
    "test_changes": [
        "created {}/directory",
        "changed {}/file",
        "removed {}/link",
        "created {}/new",
        "changed {}/outside",
    ],
    "test_in_place": ["removed {}/sub/old", "created {}/sub/new"],
    "test_moves": ["removed {}/file", "created {}/late", "created {}/moved"],
}


@pytest.fixture
def place(pytester: pytest.Pytester) -> Path:
    """
    Provide a directory of the host, and the tests that change it.
    """
    base = pytester.path / "place"
    (base / "sub").mkdir(parents=True)
    (base / "sub" / "old").touch()
    (base / "file").write_text("old")
    (base / "link").symlink_to("file")
    pytester.makepyfile(test_it=CHANGES)
    return base


def shown(place: Path) -> list[str]:
    """
    Return the lines of the table.
    """
    lines = []
    for name, found in FOUND.items():
        lines += [f"test_it.py::{name}", *(f"    {one}".format(place) for one in found)]
    return [*lines, "3 tests changed files"]


def test_report(
    pytester: pytest.Pytester, place: Path, run_both_ways: RunPytest
) -> None:
    """
    The table has each file outside of `tmp_path`, test by test, and JUnit's report too.
    """
    result = run_both_ways(
        *("--nsisolate", "--nsisolate-files=report", "--basetemp=base"),
        *("--junitxml=junit.xml", "-Werror", "test_it.py"),
    )
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        ["*= files changed by isolated tests =*", *shown(place)], consecutive=True
    )
    report = ET.parse(pytester.path / "junit.xml")
    for case in report.iter("testcase"):
        found = [one.get("value") for one in case.iter("property")]
        expected = FOUND.get(case.get("name") or "", [])
        assert found == [one.format(place) for one in expected]
    assert sorted(one.name for one in place.iterdir()) == [
        "file",
        "link",
        "outside",
        "sub",
    ]


def test_report_of_jobs(pytester: pytest.Pytester, place: Path) -> None:
    """
    The table is the same with several jobs.
    """
    options = ["--nsisolate", "--nsisolate-files=report", "--nsisolate-jobs=4"]
    result = pytester.runpytest_subprocess(*options, "test_it.py")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(shown(place), consecutive=True)


#: Mounts files on files, which are copied on write in their own way.
MOUNTED = """
for name in file new sub/old; do
    touch -d 2001-01-01 source-$name
    mount --bind source-$name place/$name
done
"""

BY_FILE = """
import os
from pathlib import Path

import pytest

BASE = Path(__file__).parent / "place"

@pytest.mark.isolated(overlay=[BASE])
def test_mounts():
    for name in ("file", "sub/old"):
        assert (BASE / name).stat().st_mtime == Path(f"source-{name}").stat().st_mtime
    (BASE / "file").write_text("changed")
    (BASE / "new").chmod(0o600)
    with open(BASE / "sub" / "old", "r+"):
        pass

@pytest.mark.isolated(overlay=[BASE])
def test_nothing():
    assert (BASE / "file").read_text() == ""
"""


def test_mounted_files(pytester: pytest.Pytester, place: Path) -> None:
    """
    A file that is a mount point is in the table if the test has changed it.
    """
    (place / "new").touch()
    (pytester.path / "source-sub").mkdir()
    pytester.makepyfile(test_it=BY_FILE)
    options = ["-p", "no:cacheprovider", "--nsisolate-files=report", "test_it.py"]
    result = pytester.run(*changed(PLAIN, MOUNTED, *options), timeout=60)
    result.assert_outcomes(passed=2)
    lines = [f"    changed {place}/{name}" for name in ("file", "new")]
    result.stdout.fnmatch_lines(
        ["test_it.py::test_mounts", *lines, "1 test changed files"], consecutive=True
    )


POLICIES = """
import pytest
from pathlib import Path

@pytest.mark.isolated(files="fail", overlay=["."])
def test_fail():
    Path("new").touch()

@pytest.mark.isolated(files="warn", leaks="ignore")
def test_warn():
    for number in range(5):
        Path(f"new{number}").touch()

@pytest.mark.isolated(files="fail")
def test_good():
    pass

@pytest.mark.isolated(files="fail", overlay=[])
def test_no_overlay():
    Path("real").touch()

@pytest.mark.isolated(files="fail", scope="class")
class TestShared:
    def test_one(self):
        Path("one").touch()

    def test_other(self):
        assert Path("one").exists()

@pytest.mark.isolated
def test_ignored():
    Path("ignored").touch()
"""


def test_policies(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A change is an error of its test, or a warning; where tests share, of the last one.
    """
    pytester.makepyfile(test_it=POLICIES)
    place = pytester.path
    result = run_both_ways("-v", "test_it.py")
    result.assert_outcomes(passed=7, errors=2, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_fail*",
            f"test_fail changed 1 file outside of tmp_path (created {place}/new)",
            (
                "why: found in the overlays of its sandbox; without them it would "
                "have stayed"
            ),
            (
                "fix: write below tmp_path, or accept it with "
                '@pytest.mark.isolated(files="ignore")'
            ),
            "test_other, the last of *TestShared, changed 1 file outside of tmp_path *",
            (
                f"*LeakWarning: test_warn changed 5 files outside of tmp_path (created "
                f"{place}/new0; created {place}/new1; created {place}/new2; 2 more)"
            ),
        ]
    )
    assert {"real", "ignored"} <= {one.name for one in place.iterdir()}
    assert not (place / "new").exists()


@pytest.mark.python
def test_nothing_to_show(pytester: pytest.Pytester) -> None:
    """
    If no test changed a file, one line says so.
    """
    pytester.makepyfile(test_it="def test_it(): pass")
    run = run_once(pytester, ["--nsisolate", "--nsisolate-files=report"])
    run.result.assert_outcomes(passed=1)
    assert "nsisolate: no isolated test changed a file" in run.stdout
