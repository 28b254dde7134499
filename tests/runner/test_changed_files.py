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


IN_BOXES = """
from pathlib import Path

import pytest

HERE = Path(__file__).parent
isolated = pytest.mark.isolated(overlay=["."])

@isolated
def test_of_the_test(sandbox_factory):
    sandbox_factory(hostname="db").run((HERE / "new").touch)

@isolated
def test_of_the_box(sandbox_factory, tmp_path):
    (HERE / "mine").touch()
    with sandbox_factory(hostname="db", overlay=["."]) as box:
        box.run((HERE / "file").write_text, "changed")
        box.run((tmp_path / "kept").touch)
    sandbox_factory(overlay=["."], leaks="ignore").run((HERE / "mine").unlink)

def test_on_the_host(sandbox_factory):
    sandbox_factory(hostname="db", overlay=["."]).run((HERE / "new").touch)
    sandbox_factory(overlay=["."], files="ignore").run((HERE / "new").touch)
    sandbox_factory(overlay=["."]).run(int)

def test_real(sandbox_factory):
    sandbox_factory().run((HERE / "real").touch)
"""


def test_report_of_boxes(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The table has what boxes change, by their names if they have overlays of their own.
    """
    place = pytester.path
    (place / "file").write_text("old")
    pytester.makepyfile(test_it=IN_BOXES)
    result = run_both_ways("--nsisolate-files=report", "-Werror", "test_it.py")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_of_the_test",
            f"    created {place}/new",
            "test_it.py::test_of_the_box",
            f"    box db: changed {place}/file",
            f"    box 2: removed {place}/mine",
            f"    created {place}/mine",
            "test_it.py::test_on_the_host",
            f"    box db: created {place}/new",
            "3 tests changed files",
        ],
        consecutive=True,
    )
    assert (place / "file").read_text() == "old"
    assert (place / "real").exists()
    assert not (place / "new").exists()


POLICIES_OF_BOXES = """
import pytest
from pathlib import Path

NEW = Path(__file__).with_name("new")

def test_fail(sandbox_factory):
    box = sandbox_factory(files="fail", leaks="fail")
    box.run(NEW.touch)
    box.run(Path("/dev/shm/left").touch)

def test_warn(sandbox_factory):
    sandbox_factory(hostname="db", files="warn", overlay=["."]).run(NEW.touch)

@pytest.mark.isolated
def test_inside(sandbox_factory):
    box = sandbox_factory(hostname="db", files="fail", leaks="ignore", overlay=["."])
    box.run(NEW.touch)

def test_good(module_sandbox_factory):
    module_sandbox_factory(hostname="all", files="warn").run(NEW.touch)

def test_report(sandbox_factory):
    sandbox_factory(files="report").run(NEW.touch)
"""


def test_policies_of_boxes(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A change in a box is an error of its test, or a warning, beside what is left there.
    """
    pytester.makepyfile(test_it=POLICIES_OF_BOXES)
    new = pytester.path / "new"
    result = run_both_ways("test_it.py")
    result.assert_outcomes(passed=5, errors=2, warnings=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_fail*",
            "box 1 of test_fail was left with 1 file in /dev/shm (left, 0 bytes)",
            f"box 1 of test_fail changed 1 file outside of tmp_path (created {new})",
            "why: found in its overlays; without them it would have stayed",
            (
                "fix: write below tmp_path, or accept it with "
                'sandbox_factory(files="ignore")'
            ),
            "*ERROR at teardown of test_inside*",
            f"box db of test_inside changed 1 file outside of tmp_path (created {new})",
        ]
    )
    for who in ("db of test_warn", "all of test_it.py"):
        text = f"LeakWarning: box {who} changed 1 file outside of tmp_path (created "
        assert f"{text}{new})" in str(result.stdout)
    assert not new.exists()
