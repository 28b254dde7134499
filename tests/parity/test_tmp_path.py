"""
Temporary directories: made, numbered and kept as without isolation.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from twins import WITHOUT, run_once

TESTS = """
    import pytest

    @pytest.fixture(scope="session")
    def shared(tmp_path_factory):
        path = tmp_path_factory.mktemp("shared")
        (path / "made").touch()
        return path

    @pytest.fixture(scope="module")
    def of_module(tmp_path_factory):
        yield tmp_path_factory.mktemp("of_module", numbered=False)

    def test_pass(tmp_path):
        (tmp_path / "passed").touch()

    def test_fail(tmp_path):
        (tmp_path / "failed").touch()
        assert 0

    # The second looks for what the first has left.
    @pytest.mark.isolated(group="shared")
    @pytest.mark.parametrize("number", [1, 2])
    def test_shared(shared, tmp_path, number):
        assert (shared / "made").exists()
        assert len(list(shared.iterdir())) == number
        (shared / f"seen {number}").touch()

    def test_of_module(of_module, tmp_path):
        assert tmp_path.parent == of_module.parent

    def test_factory(tmp_path_factory):
        first, second = tmp_path_factory.mktemp("many"), tmp_path_factory.mktemp("many")
        assert (first.name, second.name) == ("many0", "many1")
        assert first.parent == tmp_path_factory.getbasetemp()

    def test_same_name_as_in_the_test_before(tmp_path_factory):
        assert tmp_path_factory.mktemp("many").name == "many2"

    @pytest.fixture
    def broken(tmp_path):
        (tmp_path / "broken").touch()
        raise KeyError

    def test_setup(broken):
        pass

    def test_skip(tmp_path):
        (tmp_path / "skipped").touch()
        pytest.skip("so")

    def test_plain():
        pass
"""

FEW = """
    import pytest

    @pytest.mark.parametrize("number", range(3))
    def test_one(request, number):
        path = request.getfixturevalue("tmp_path")
        (path / "file").touch()
        assert len(list(path.parent.glob("test_one_?_0/file"))) == number + 1

    def test_two(tmpdir, tmp_path):
        assert str(tmpdir) == str(tmp_path)
        tmpdir.join("file").write("text")

    def test_three(tmpdir_factory):
        tmpdir_factory.mktemp("made").join("file").write("text")
"""


def _tree(path: Path) -> list[str]:
    """
    Return everything below *path*, with modes and the targets of links.
    """
    return sorted(
        f"{one.relative_to(path)} -> {one.readlink().relative_to(path)}"
        if one.is_symlink()
        else f"{one.relative_to(path)} {one.stat().st_mode:o}"
        for one in path.rglob("*")
        # It is made at the first removal, and its number is random.
        if not one.name.startswith("garbage-")
    )


def _left(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    *arguments: str,
    sessions: int = 1,
) -> list[str]:
    """
    Run sessions plain and isolated, check that they leave the same, and return that.
    """
    trees, outcomes = [], []
    for switch in ("--no-nsisolate", "--nsisolate"):
        temporary = pytester.path / "temporary"
        temporary.mkdir()
        # It is set by pytester and takes precedence over TMPDIR.
        monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(temporary))
        # Apart, since some directories are removed when the process ends.
        command = (sys.executable, "-m", "pytest", switch, *WITHOUT, *arguments)
        results = [pytester.run(*command, timeout=60) for _ in range(sessions)]
        trees.append(_tree(temporary))
        outcomes.append([result.parseoutcomes() for result in results])
        temporary.rename(temporary.with_name(f"of{switch}"))
    plain, isolated = trees
    assert outcomes[1] == outcomes[0]
    assert isolated == plain
    return isolated


@pytest.mark.parametrize("policy", ["failed", "none"])
def test_retention_policies(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """
    Only the directories that the retention policy keeps are kept.
    """
    pytester.makepyfile(test_some=TESTS)
    left = " ".join(
        _left(pytester, monkeypatch, "-o", f"tmp_path_retention_policy={policy}")
    )
    assert "test_pass0/passed" not in left
    assert ("test_fail0/failed" in left) == (policy != "none")


@pytest.mark.one_job
def test_retention_count(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The retention count applies to sessions, not to tests.
    """
    pytester.makepyfile(test_some=FEW)
    left = _left(pytester, monkeypatch, "-o", "tmp_path_retention_count=1", sessions=2)
    assert sum("/test_two0" in one and "/file" in one for one in left) == 1


def test_no_litter(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No base directory is made for tests that do not ask for one.
    """
    pytester.makepyfile(
        test_some="""
        def test_one(): pass
        def test_two(tmp_path_factory): pass
        """
    )
    assert _left(pytester, monkeypatch) == []


@pytest.mark.one_job
def test_asked_for_while_it_runs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Tests that request a directory while they run get it in the same place.
    """
    pytester.makepyfile(test_some=FEW)
    left = _left(pytester, monkeypatch)
    assert sum("/file " in one for one in left) == 5


def test_base_of_the_user(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With ``--basetemp`` everything is in that directory, even what earlier tests left.
    """
    pytester.makepyfile(test_some=TESTS)
    base = pytester.path / "temporary" / "base"
    left = _left(pytester, monkeypatch, f"--basetemp={base}")
    assert any(one.startswith("base/test_pass0/passed") for one in left)


def test_tmp_path_is_kept_for_failures(pytester: pytest.Pytester) -> None:
    """
    With the retention policy ``failed`` the directories of failed tests stay.
    """
    pytester.makeini("[pytest]\ntmp_path_retention_policy = failed")
    pytester.makepyfile(
        """
        def test_pass(tmp_path): (tmp_path / "file").touch()
        def test_fail(tmp_path): (tmp_path / "file").touch(); assert 0
        """
    )
    run_once(pytester, ["--nsisolate"])
    left = sorted(path.name for path in (pytester.path / "base").glob("test_*"))
    run_once(pytester, ["--no-nsisolate"])
    plain = sorted(path.name for path in (pytester.path / "base").glob("test_*"))
    assert left == plain
