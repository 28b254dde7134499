"""
Snapshots that syrupy and inline-snapshot write at the end of a session.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from twins import Run, compare, differing, run_once

#: Takes the plugin, the source of the tests, and steps: the arguments of a session, or
#: a function that changes the source. Returns the isolated runs and their files.
Sessions = Callable[..., "tuple[list[Run], dict[str, str]]"]

Step = Sequence[str] | Callable[[str], str]


@pytest.fixture(
    params=[["--nsisolate-jobs=1"], ["--nsisolate-jobs=4"], ["--nsisolate-overlay=."]],
    ids=["one", "jobs", "overlay"],
)
def sessions(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Sessions:
    """
    Run sessions one after the other, plain and isolated, and compare what they leave.

    Also several tests at a time, and with an overlay of the rootdir, where snapshots
    are.
    """

    def sessions(
        plugin: str, source: str, *steps: Step
    ) -> tuple[list[Run], dict[str, str]]:
        """
        Do so, and return the isolated runs and their files.
        """
        plain, isolated = (
            _run(pytester, [*switches, "-p", "nsisolate", "-p", plugin], source, steps)
            for switches in (["--no-nsisolate"], ["--nsisolate", *request.param])
        )
        for one, other in zip(isolated[0], plain[0], strict=True):
            compare(one, other)
        assert list(isolated[1]) == list(plain[1])
        for name, text in plain[1].items():
            lines = isolated[1][name].splitlines(), text.splitlines()
            assert not differing(name, *lines)
        return isolated

    return sessions


def _run(
    pytester: pytest.Pytester, common: list[str], source: str, steps: Sequence[Step]
) -> tuple[list[Run], dict[str, str]]:
    """
    Run the sessions from the beginning; return them and the resulting files.
    """
    shutil.rmtree(pytester.path / "__snapshots__", ignore_errors=True)
    test = pytester.makepyfile(test_it=source)
    runs = []
    for step in steps:
        if callable(step):
            test.write_text(step(test.read_text()))
            # Its time stamp may equal that of the cached version.
            shutil.rmtree(pytester.path / "__pycache__", ignore_errors=True)
        else:
            runs.append(run_once(pytester, [*common, *step], apart=True))
    found = [test, *(pytester.path / "__snapshots__").rglob("*")]
    return runs, {
        str(path.relative_to(pytester.path)): path.read_bytes().decode()
        for path in sorted(found)
        if path.is_file()
    }


SYRUPY = """
    import pytest
    from syrupy.extensions.json import JSONSnapshotExtension
    from syrupy.extensions.single_file import SingleFileSnapshotExtension

    @pytest.fixture
    def json_snapshot(snapshot):
        return snapshot.use_extension(JSONSnapshotExtension)

    def test_dict(snapshot):
        assert snapshot == {"a": 1}

    def test_text(snapshot):
        assert snapshot == "x"
        assert snapshot(name="named") == "y"

    @pytest.mark.parametrize("n", [1, 2])
    def test_parametrized(snapshot, n):
        assert snapshot == n

    def test_json(json_snapshot):
        assert json_snapshot == {"x": [1]}

    def test_bytes(snapshot):
        assert snapshot(extension_class=SingleFileSnapshotExtension) == b"abc"

    @pytest.mark.xfail
    def test_expected(snapshot):
        assert snapshot == "known"

    class TestClass:
        def test_method(self, snapshot):
            assert snapshot == 5
"""


@pytest.mark.about("syrupy")
def test_syrupy_update(sessions: Sessions) -> None:
    """
    An update writes snapshots, later runs compare them, and none counts as unused.
    """
    runs, files = sessions("syrupy", SYRUPY, (), ("--snapshot-update",), ("-v",))
    assert [run.result.ret for run in runs] == [1, 0, 0]
    assert "9 snapshots passed" in runs[2].stdout
    assert "unused" not in runs[2].stdout
    assert "# name: test_text[named]" in files["__snapshots__/test_it.ambr"]
    assert "__snapshots__/test_it/test_bytes.raw" in files


@pytest.mark.about("syrupy")
def test_syrupy_unused(sessions: Sessions) -> None:
    """
    A snapshot that no test uses is reported, fails the run, and an update deletes it.
    """

    def change(source: str) -> str:
        """
        Change a snapshot, and use two fewer.
        """
        source = source.replace('== "x"', '== "z"')
        source = source.replace('assert json_snapshot == {"x": [1]}', "pass")
        return source.replace('assert snapshot(name="named") == "y"', "pass")

    runs, files = sessions(
        "syrupy",
        SYRUPY,
        ("--snapshot-update",),
        change,
        ("-rf",),
        ("--snapshot-warn-unused", "--snapshot-details"),
        ("-k", "test_dict"),
        ("--snapshot-update",),
        (),
    )
    assert [run.result.ret for run in runs] == [0, 1, 1, 0, 0, 0]
    assert "2 snapshots unused" in runs[1].stdout
    assert "named" not in files["__snapshots__/test_it.ambr"]
    assert "# name: test_dict" in files["__snapshots__/test_it.ambr"]
    assert "__snapshots__/test_it/test_json.json" not in files


INLINE = """
    import pytest
    from dataclasses import dataclass
    from datetime import date
    from inline_snapshot import snapshot

    @dataclass
    class Data:
        a: int
        b: list

    def test_create():
        assert [1, 2] == snapshot()
        for _ in range(2):
            assert "text\\nwith lines" == snapshot()

    def test_fix():
        assert [1, 5, {"k": (1, "x")}] == snapshot([1, 4, {"k": (2,)}])
        assert Data(1, [2]) == snapshot(Data(a=2, b=[]))

    def test_insert():
        assert {"a": 1, "b": 2} == snapshot({"a": 1})
        assert [1, 2, 3] == snapshot([1])
        assert [1] == snapshot([1, 2])

    def test_trim():
        assert 3 <= snapshot(8)
        assert {"a": 1}["a"] == snapshot({"a": 1, "b": 2})["a"]

    def test_in():
        for n in (1, 2):
            assert n in snapshot()

    def test_import():
        assert date(2020, 1, 1) == snapshot()

    def test_update():
        assert "a" == snapshot('''a''')

    SHARED = snapshot()

    def test_shared():
        assert SHARED == 4

    def test_fine():
        assert 1 == snapshot(1)

    @pytest.mark.parametrize("n", [1, 2])
    def test_all_are_needed(n):
        assert n in snapshot([1, 2])

    @pytest.mark.parametrize("n", [1, 1])
    def test_same(n):
        assert n == snapshot()
"""


@pytest.mark.about("inline-snapshot")
def test_inline_report(sessions: Sessions) -> None:
    """
    Possible changes are reported, briefly and at length, and are not made.
    """
    short, long = "--inline-snapshot=short-report", "--inline-snapshot=report"
    runs, files = sessions("inline_snapshot", INLINE, (short,), (long,))
    assert "snapshots are missing values" in runs[0].stdout
    assert "Create snapshots" in runs[1].stdout
    assert "assert 3 <= snapshot(8)" in files["test_it.py"]


@pytest.mark.about("inline-snapshot")
def test_inline_changes(sessions: Sessions) -> None:
    """
    The source is changed as it is without isolation, and then every test passes.
    """
    flags = "--inline-snapshot=create,fix,trim,update"
    runs, files = sessions("inline_snapshot", INLINE, (flags,), ())
    assert [run.result.ret for run in runs] == [1, 0]
    for line in (
        "assert date(2020, 1, 1) == snapshot(date(2020, 1, 1))",
        "== snapshot({\"a\": 1, 'b': 2})",
        "assert 3 <= snapshot(3)",
        "assert \"a\" == snapshot('a')",
        "assert n in snapshot([1, 2])",
    ):
        assert line in files["test_it.py"]


@pytest.mark.about("inline-snapshot")
@pytest.mark.xfail(
    strict=True,
    reason="values that several tests add to one `snapshot()` do not come together",
)
def test_inline_one_snapshot_of_several_tests(sessions: Sessions) -> None:
    """
    A snapshot collects the values of each parametrised test.
    """
    sessions(
        "inline_snapshot",
        """
        import pytest
        from inline_snapshot import snapshot

        @pytest.mark.parametrize("n", [1, 2])
        def test_collect(n):
            assert n in snapshot()
        """,
        ("--inline-snapshot=create",),
    )


@pytest.mark.about("inline-snapshot")
@pytest.mark.xfail(
    strict=True, reason="what `external()` and `outsource()` would write is not written"
)
def test_inline_external(sessions: Sessions) -> None:
    """
    An external snapshot is written to its own file.
    """

    def note(source: str) -> str:
        """
        Note whether the file exists, and remove it.
        """
        kept = Path("kept.txt")
        told = f"# {kept.name}: {kept.exists()}"
        kept.unlink(missing_ok=True)
        return f"{source}\n{told}\n"

    sessions(
        "inline_snapshot",
        """
        from inline_snapshot import external_file

        def test_file():
            assert "text" == external_file("kept.txt")
        """,
        ("--inline-snapshot=create",),
        note,
    )
