"""
The working directory of a guest, which is that of pytest.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

RunPytest = Callable[..., pytest.RunResult]

PLACES = """
import os
import pytest

@pytest.mark.isolated
def test_symlink(request):
    # As outside: the kernel knows no symlinks, the shell's PWD does.
    assert os.getcwd() == os.path.realpath(os.environ["THERE"])
    assert os.path.samefile(".", os.environ["THERE"])

@pytest.fixture(scope="module")
def removed_directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("removed")
    inode = path.stat().st_ino
    before = os.getcwd()
    os.chdir(path)
    path.rmdir()
    yield inode
    os.chdir(before)

@pytest.mark.isolated
def test_removed(removed_directory):
    assert os.stat(".").st_ino == removed_directory
    with pytest.raises(FileNotFoundError):
        os.getcwd()

@pytest.mark.isolated
def test_removed_again(removed_directory):
    assert os.stat(".").st_ino == removed_directory
"""


def test_working_directory(
    pytester: pytest.Pytester,
    run_both_ways: RunPytest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The guest is where pytest is, even below a symlink or in a removed directory.
    """
    real = pytester.mkdir("real")
    link = pytester.path / "link"
    link.symlink_to(real)
    (real / "test_places.py").write_text(PLACES)
    monkeypatch.setenv("THERE", str(link))
    monkeypatch.chdir(link)
    run_both_ways("test_places.py").assert_outcomes(passed=3)
