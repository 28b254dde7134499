"""
Directories copied on write, which ``overlay=`` gives a test, and read-only ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import changed
from ways import KEEP, PLAIN

RunPytest = Callable[..., pytest.RunResult]


@pytest.fixture
def place(pytester: pytest.Pytester) -> Path:
    """
    Provide a directory of the host with files of all kinds.
    """
    base = pytester.path / "place:of,the\\host"
    (base / "sub" / "below").mkdir(parents=True)
    (base / "sub" / "file").write_text("old")
    (base / "file").write_text("old")
    (base / "link").symlink_to("file")
    (base / "other").mkdir(mode=0o2755)
    return base


def seen(base: Path) -> dict[str, tuple[int, str]]:
    """
    Return what is in *base*: the mode of each path, and its text or target.
    """
    found = {}
    for path in [base, *base.rglob("*")]:
        text = os.readlink(path) if path.is_symlink() else ""
        if path.is_file() and not path.is_symlink():
            text = path.read_text()
        found[str(path)] = (path.lstat().st_mode, text)
    return found


COPIED = """
import os
import shutil
from pathlib import Path

import pytest

BASE = Path({base!r})
isolated = pytest.mark.isolated(overlay=[BASE], leaks="fail")

@pytest.fixture(scope="module")
def borrowed():
    (BASE / "made").write_text("by a fixture outside")
    yield
    assert (BASE / "made").read_text() == "by a fixture outside"
    (BASE / "made").unlink()

@pytest.fixture
def owned(borrowed):
    (BASE / "owned").write_text("by a fixture inside")

def is_as_ever():
    assert sorted(os.listdir(BASE)) == ["file", "link", "made", "other", "sub"]
    assert (BASE / "file").read_text() == (BASE / "link").read_text() == "old"
    assert sorted(os.listdir(BASE / "sub")) == ["below", "file"]

@isolated
@pytest.mark.parametrize("again", range(2))
def test_changes(borrowed, again):
    is_as_ever()
    (BASE / "new").write_text("new")
    (BASE / "made").write_text("inside")
    (BASE / "file").write_text("changed")
    assert (BASE / "link").read_text() == "changed"
    (BASE / "file").chmod(0o600)
    os.rename(BASE / "file", BASE / "renamed")
    (BASE / "link").unlink()
    shutil.rmtree(BASE / "sub")
    (BASE / "sub").mkdir()
    assert os.listdir(BASE / "sub") == []
    shutil.move(BASE / "other", BASE / "moved")
    assert sorted(os.listdir(BASE)) == ["made", "moved", "new", "renamed", "sub"]

@isolated
def test_of_a_fixture(owned):
    assert (BASE / "owned").exists()

@isolated
class TestWithin:
    @pytest.mark.isolated(overlay=[BASE / "sub"])
    def test_closest_wins(self, borrowed):
        (BASE / "sub" / "file").write_text("changed")
        assert not os.path.ismount(BASE)

    @pytest.mark.isolated(overlay=[])
    def test_none(self, borrowed):
        assert not os.path.ismount(BASE)

@isolated
def test_working_directory(borrowed, monkeypatch):
    monkeypatch.chdir(BASE)
    Path("here").touch()
    assert sorted(os.listdir()) == ["file", "here", "link", "made", "other", "sub"]

def test_host(borrowed):
    is_as_ever()
    assert not os.path.ismount(BASE)
"""


def test_copied(
    pytester: pytest.Pytester, place: Path, run_both_ways: RunPytest
) -> None:
    """
    What a test creates, changes, renames and removes is gone with its sandbox.
    """
    before = seen(place)
    pytester.makepyfile(test_it=COPIED.format(base=str(place)))
    result = run_both_ways("-Werror", "test_it.py")
    result.assert_outcomes(passed=7)
    assert seen(place) == before


SIDE_BY_SIDE = """
import os
from pathlib import Path

import pytest

BASE = Path({base!r})
pytestmark = pytest.mark.isolated(overlay=[BASE, "."], timeout=60)

@pytest.mark.parametrize("me", ["one", "other"])
def test_same_files(me, pipes):
    for path in (BASE / "pid", BASE / "file", Path("here")):
        path.write_text(me)
    # Opening one waits until the other test has written, too.
    for pipe, mode in zip(pipes, "wr" if me == "one" else "rw"):
        with open(pipe, mode):
            pass
    for path in (BASE / "pid", BASE / "file", Path("here")):
        assert path.read_text() == me
"""


def test_side_by_side(
    pytester: pytest.Pytester, place: Path, run_both_ways: RunPytest, tmp_path: Path
) -> None:
    """
    Two tests that write the same files at the same time each see their own.
    """
    pipes = [str(tmp_path / name) for name in ("there", "back")]
    for pipe in pipes:
        os.mkfifo(pipe)
    pytester.makeconftest(
        f"""
        import pytest

        @pytest.fixture
        def pipes():
            return {pipes!r}
        """
    )
    pytester.makepyfile(test_it=SIDE_BY_SIDE.format(base=str(place)))
    before = seen(place)
    result = run_both_ways("--nsisolate-jobs=2", f"--basetemp={tmp_path / 'base'}")
    result.assert_outcomes(passed=2)
    assert seen(place) == before
    assert not {path.name for path in pytester.path.rglob("*")} & {"pid", "here"}


OPTIONS = """
import os
from pathlib import Path

import pytest

BASE = Path({base!r})

@pytest.mark.isolated
def test_option(tmp_path, cache):
    Path("made").touch()
    with pytest.raises(OSError, match="Read-only"):
        (BASE / "new").touch()
    (tmp_path / "kept").write_text("kept")
    cache.set("of/tests", "kept")

@pytest.mark.isolated(tmpfs=[Path("kept/base").absolute()])
def test_fresh():
    assert os.listdir("kept/base") == []

@pytest.mark.isolated(overlay=[], readonly=[])
def test_overridden():
    assert not Path("made").exists()
    assert not os.path.ismount(".") and not os.path.ismount(BASE)
"""


def test_options(
    pytester: pytest.Pytester, place: Path, run_both_ways: RunPytest
) -> None:
    """
    The options name directories from the rootdir; pytest's own outlast the sandbox.
    """
    pytester.makepyfile(test_it=OPTIONS.format(base=str(place)))
    pytester.makeini("[pytest]\nnsisolate_overlay = .\ncache_dir = kept/cache")
    (pytester.path / "kept" / "cache").mkdir(parents=True)
    read_only = f"--nsisolate-readonly={place.name}".replace(",", "?")
    (pytester.path / place.name.replace(",", "?")).symlink_to(place.name)
    result = run_both_ways(
        *("-p", "cacheprovider", "--basetemp=kept/base", read_only, "test_it.py")
    )
    result.assert_outcomes(passed=3)
    kept = pytester.path / "kept"
    assert (kept / "base" / "test_option0" / "kept").read_text() == "kept"
    assert (kept / "cache" / "v" / "of" / "tests").read_text() == '"kept"'


NESTED = """
import errno
import os
from pathlib import Path

import pytest

BASE = Path({base!r})
SUB = BASE / "sub"

def may_write(directory):
    try:
        (directory / "new").touch()
    except OSError as error:
        assert error.errno == errno.EROFS
        return False
    return True

def cases():
    names = ["overlay", "readonly", "tmpfs"]
    return [(outer, inner) for outer in names for inner in names if outer != inner]

def marked(outer, inner):
    mark = pytest.mark.isolated(**{{outer: [BASE], inner: [SUB]}}, leaks="fail")
    return pytest.param(outer, inner, marks=mark)

@pytest.mark.parametrize(("outer", "inner"), [marked(*one) for one in cases()])
def test_nested(outer, inner):
    # Each shows what is there outside, whatever is around it.
    here = {{"tmpfs": ["sub"]}}.get(outer, ["file", "link", "other", "sub"])
    assert sorted(os.listdir(BASE)) == here
    assert sorted(os.listdir(SUB)) == ([] if inner == "tmpfs" else ["below", "file"])
    assert may_write(BASE) is (outer != "readonly")
    assert may_write(SUB) is (inner != "readonly")

@pytest.mark.isolated(overlay=[SUB, BASE, BASE])
def test_within_itself():
    assert may_write(BASE) and may_write(SUB)
    os.rename(SUB / "file", BASE / "moved")
    assert not os.path.ismount(SUB)

@pytest.mark.isolated(overlay=[BASE], readonly=[BASE])
def test_both():
    assert may_write(BASE) and (BASE / "file").exists()

@pytest.mark.isolated(overlay=[BASE], readonly=[BASE], tmpfs=[BASE])
def test_all():
    assert may_write(BASE) and os.listdir(BASE) == ["new"]

def test_host():
    assert sorted(os.listdir(BASE)) == ["file", "link", "other", "sub"]
    assert sorted(os.listdir(SUB)) == ["below", "file"]
"""


def test_nested(
    pytester: pytest.Pytester, place: Path, run_both_ways: RunPytest
) -> None:
    """
    Any two can be in each other; of one directory, the most that is asked for counts.
    """
    pytester.makepyfile(test_it=NESTED.format(base=str(place)))
    run_both_ways("-Werror", "test_it.py").assert_outcomes(passed=10)


EVERYWHERE = """
import errno
import os
import pty
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent

@pytest.mark.isolated(overlay=True, leaks="fail")
def test_overlay(tmp_path):
    Path("new").touch()
    for directory in ("/usr/bin", "/etc", HERE):
        assert os.listdir(directory)
    Path("/dev/null").write_text("x")
    assert os.path.exists("/proc/self") and os.path.exists("/sys/kernel")
    (tmp_path / "kept").touch()
    subprocess.run(["sh", "-c", "echo > again"], check=True)

@pytest.mark.isolated(readonly=["/"], leaks="fail")
def test_readonly(tmp_path):
    for path in (HERE / "new", Path("again"), Path("/new")):
        with pytest.raises(OSError) as caught:
            path.touch()
        assert caught.value.errno in (errno.EROFS, errno.EACCES)
    assert caught.value.errno == errno.EROFS or os.geteuid()
    Path("/dev/null").write_text("x")
    Path("/dev/shm/new").touch()
    Path("/dev/shm/new").unlink()
    (tmp_path / "kept").touch()
    for fd in pty.openpty():
        os.close(fd)

@pytest.mark.isolated(readonly=["/"], overlay=["."])
def test_both(tmp_path):
    Path("new").touch()
    with pytest.raises(OSError):
        Path("/tmp/new").touch()

def test_host():
    assert not Path("new").exists() and not Path("again").exists()
"""


def test_everywhere(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    All of the machine can be copied on write or read-only, but what pytest writes.
    """
    pytester.makepyfile(test_it=EVERYWHERE)
    run_both_ways("-Werror", "--basetemp=base", "test_it.py").assert_outcomes(passed=4)
    for name in ("overlay", "readonly"):
        assert (pytester.path / "base" / f"test_{name}0" / "kept").exists()


def test_size(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A write for which there is no room fails with ENOSPC, in the test.
    """
    pytester.makepyfile(
        test_it="""
        import errno
        import os
        import pytest

        @pytest.mark.isolated(overlay=["."], overlay_size="1M")
        @pytest.mark.parametrize("size", [1 << 19, 1 << 21])
        def test_it(size):
            try:
                with open("file", "wb") as file:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC and size > 1 << 20
            else:
                assert size < 1 << 20
        """
    )
    run_both_ways("test_it.py").assert_outcomes(passed=2)


def test_shared(
    pytester: pytest.Pytester, place: Path, run_both_ways: RunPytest
) -> None:
    """
    Tests that share a sandbox share its directories, and a box has its own.
    """
    pytester.makepyfile(
        test_it=f"""
        from pathlib import Path
        import pytest

        FILE = Path({str(place / "file")!r})

        @pytest.mark.isolated(scope="class", overlay=[FILE.parent])
        class TestShared:
            def test_write(self):
                FILE.write_text("shared")

            def test_read(self):
                assert FILE.read_text() == "shared"

        def test_box(sandbox_factory):
            box = sandbox_factory(overlay=[FILE.parent], overlay_size="1M")
            box.run(FILE.write_text, "of the box")
            assert box.run(FILE.read_text) == "of the box"
            assert FILE.read_text() == "old"
            box = sandbox_factory(readonly=[FILE.parent.name])
            with pytest.raises(OSError, match="Read-only"):
                box.run(FILE.write_text, "of the box")

        @pytest.mark.isolated(overlay=[FILE.parent])
        def test_box_inside(sandbox_factory, tmp_path):
            FILE.write_text("of the test")
            box = sandbox_factory(overlay=[FILE.parent, tmp_path.parent.parent])
            box.run(FILE.write_text, "of the box")
            box.run((tmp_path / "kept").write_text, "of the box")
            assert FILE.read_text() == "of the test"
            assert (tmp_path / "kept").read_text() == "of the box"

        def test_host():
            assert FILE.read_text() == "old"
        """
    )
    run_both_ways("test_it.py").assert_outcomes(passed=5)


WITH_BOXES = """
import os
from pathlib import Path

import pytest

BASE = Path({base!r})
FRESH, FIXED = BASE / "sub", BASE / "other"
SHELL = 'echo shell > "$0/of-shell"; rm "$0/link"; ! echo > "$0/other/new"'

@pytest.mark.isolated(overlay=[BASE], tmpfs=[FRESH], readonly=[FIXED], leaks="fail")
@pytest.mark.parametrize("user", [None, "root"])
def test_same(sandbox_factory, user):
    box = sandbox_factory(user=user)
    (BASE / "file").write_text("of the test")
    (FRESH / "new").write_text("of the test")
    assert box.run((BASE / "file").read_text) == "of the test"
    assert box.run(os.listdir, FRESH) == ["new"]
    box.run((BASE / "file").write_text, "of the box")
    box.run((FRESH / "newer").touch)
    assert box.popen(["sh", "-c", SHELL, str(BASE)], stderr=-3).wait() == 0
    assert (BASE / "file").read_text() == "of the box"
    assert sorted(os.listdir(FRESH)) == ["new", "newer"]
    assert (BASE / "of-shell").read_text() == "shell\\n"
    assert not (BASE / "link").is_symlink()
    with pytest.raises(OSError, match="Read-only"):
        box.run((FIXED / "new").touch)
    again = sandbox_factory(readonly=[FRESH], tmpfs=[FIXED])
    assert again.run((BASE / "file").read_text) == "of the box"
    again.run((FIXED / "new").touch)
    with pytest.raises(OSError, match="Read-only"):
        again.run((FRESH / "new").touch)

@pytest.mark.isolated(overlay=True)
def test_everything(sandbox_factory):
    box = sandbox_factory()
    box.run(Path("of-box").touch)
    Path("of-box").rename("of-test")
    assert box.run(os.path.exists, "of-test")

@pytest.fixture(scope="module")
def outside(module_sandbox_factory):
    return module_sandbox_factory(overlay=[BASE])

def test_on_the_host(sandbox_factory, outside):
    assert sandbox_factory().run((BASE / "file").read_text) == "old"
    outside.run((BASE / "file").write_text, "of the module")
    assert outside.run((BASE / "file").read_text) == "of the module"
    assert (BASE / "file").read_text() == "old"
    assert not Path("of-test").exists()
"""


def test_with_boxes(
    pytester: pytest.Pytester, place: Path, run_both_ways: RunPytest
) -> None:
    """
    A box in an isolated test shares the directories of the test, but not its own ones.
    """
    pytester.makepyfile(test_it=WITH_BOXES.format(base=str(place)))
    before = seen(place)
    run_both_ways("-Werror", "test_it.py").assert_outcomes(passed=4)
    assert seen(place) == before


#: The name of a mount point, of what Python takes for spaces and ends of lines.
ODD = "a b\u3000c\rd\ve\u2028f"

#: Mounts a tmpfs in the directory of the host, and a file on a file in it, which is
#: seen below as it was before.
MOUNTED = """
mkdir "$PLACE/$ODD"
mount -t tmpfs none "$PLACE/$ODD"
echo odd > "$PLACE/$ODD/file"
mount -t tmpfs -o nosuid none "$PLACE/sub"
mkdir "$PLACE/sub/inner"
echo inner > "$PLACE/sub/inner/file"
echo mounted > source
mount --bind source "$PLACE/file"
mount -t proc none "$PLACE/other"
"""

BELOW = """
import errno
import os
from pathlib import Path

import pytest

BASE = Path({base!r})

@pytest.mark.isolated(overlay=[BASE], leaks="fail")
def test_mounts():
    assert (BASE / "file").read_text() == "mounted\\n"
    assert (BASE / "sub/inner/file").read_text() == "inner\\n"
    assert (BASE / "other/self").exists() or (BASE / "other/1").exists()
    for path in (BASE / "file", BASE / "sub/inner/file"):
        path.write_text("changed")
        assert path.read_text() == "changed"
    assert (BASE / {odd!r} / "file").read_text() == "odd\\n"
    (BASE / {odd!r} / "file").write_text("changed")
    (BASE / "sub/new").touch()
    assert os.statvfs(BASE / "sub").f_flag & os.ST_NOSUID

@pytest.mark.isolated(overlay=[BASE], readonly=[BASE / "sub"])
def test_mount_within():
    with pytest.raises(OSError, match="Read-only"):
        (BASE / "sub/new").touch()

@pytest.mark.isolated(overlay=[BASE], tmpfs=[BASE / "sub"])
def test_mount_hidden():
    assert os.listdir(BASE / "sub") == []

@pytest.mark.isolated(overlay=True, leaks="fail")
def test_everything():
    (BASE / "sub/inner/file").write_text("changed")
    (BASE / "sub/new").touch()
    try:
        (BASE / "file").write_text("changed")
    except OSError as error:
        # In a user namespace.
        assert error.errno == errno.EROFS

@pytest.mark.isolated(readonly=[BASE])
def test_read_only():
    for path in (BASE / "file", BASE / "sub/inner/file"):
        with pytest.raises(OSError, match="Read-only"):
            path.write_text("changed")

def test_host():
    assert (BASE / "file").read_text() == "mounted\\n"
    assert sorted(os.listdir(BASE / "sub")) == ["inner"]
    assert (BASE / "sub/inner/file").read_text() == "inner\\n"
    assert (BASE / {odd!r} / "file").read_text() == "odd\\n"
"""


@pytest.mark.parametrize("way", [PLAIN, KEEP])
def test_mounts_below(
    pytester: pytest.Pytester, place: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """
    What is mounted below an overlay is copied on write, too, or the test is refused.

    In a user namespace no overlay may hide it. All directories can be had there, too:
    what cannot be copied is read-only.
    """
    monkeypatch.setenv("PLACE", str(place))
    monkeypatch.setenv("ODD", ODD)
    pytester.makepyfile(test_it=BELOW.format(base=str(place), odd=ODD))
    result = pytester.run(*changed(way, MOUNTED, "test_it.py"), timeout=60)
    if way == PLAIN:
        result.assert_outcomes(passed=6)
        return
    result.assert_outcomes(passed=3, errors=3)
    result.stdout.fnmatch_lines(
        [
            f"cannot isolate test_mounts: open_tree({place}) failed: EINVAL",
            (
                "why: *in a user namespace no overlay may hide mounts from outside, "
                f"and below {place} there is one at {place}/*"
            ),
            (
                "fix: run as root, or write overlay=True, where such a directory is "
                "read-only"
            ),
        ]
    )


REFUSED = """
from pathlib import Path

import pytest

BASE = Path({base!r})
isolated = pytest.mark.isolated

@isolated(overlay=[BASE / "missing"])
def test_missing(): pass

@isolated(overlay=[BASE / "file"])
def test_file(): pass

@isolated(readonly=[BASE / "file" / "x"])
def test_below_file(): pass

@isolated(readonly=[BASE / "file"])
def test_read_only_file(): pass

@isolated(overlay=["shm"])
def test_shm(): pass

@isolated(overlay=["a/../b"])
def test_dots(): pass

@isolated(overlay_size="64")
def test_size(): pass

@isolated
def test_good(): pass
"""


def test_refused(
    pytester: pytest.Pytester, place: Path, run_both_ways: RunPytest
) -> None:
    """
    A directory that cannot be had is an error of its test, with its path.
    """
    (pytester.path / "shm").symlink_to("/dev/shm")
    pytester.makepyfile(test_it=REFUSED.format(base=str(place)))
    needs = "and overlay= or readonly= needs an existing directory"
    shm = f"{pytester.path}/shm"

    result = run_both_ways("test_it.py")

    result.assert_outcomes(passed=1, errors=7)
    result.stdout.fnmatch_lines(
        [
            f"cannot isolate test_missing: open_tree({place}/missing) failed: ENOENT",
            f"why: {place}/missing does not exist (stat() says ENOENT), {needs}",
            (
                f"fix: mkdir -p {place}/missing, or leave {place}/missing out of "
                "overlay= or readonly="
            ),
            f"cannot isolate test_file: open_tree({place}/file) failed: ENOTDIR",
            f"why: {place}/file is not a directory, {needs}",
            f"cannot isolate test_below_file: open_tree({place}/file/x) failed: *",
            f"cannot isolate test_read_only_file: open_tree({place}/file) failed: *",
            f'cannot isolate test_shm: no overlay can be mounted at "{shm}"',
            "why: it resolves to /dev/shm, and each sandbox has its own /dev/shm",
            "fix: leave it out of overlay=, or name a directory further down",
            "*: cannot isolate test_dots: bad marker @pytest.mark.isolated",
            "why: 'a/../b' in overlay= contains \"..\"",
            "*: cannot isolate test_size: bad marker @pytest.mark.isolated",
            "why: overlay_size='64' is not a number followed by K, M or G",
            'fix: write overlay_size="64M" (or K, G), or leave overlay_size= out',
        ]
    )


def test_not_on_the_host(pytester: pytest.Pytester, place: Path) -> None:
    """
    Without isolation the directories are those of the host.
    """
    pytester.makepyfile(
        test_it=f"""
        import pytest
        from pathlib import Path

        @pytest.mark.isolated(overlay=[{str(place)!r}], readonly=["."])
        def test_it():
            Path({str(place)!r}, "new").touch()
        """
    )
    pytester.runpytest_subprocess("--no-nsisolate", "test_it.py").assert_outcomes(
        passed=1
    )
    assert (place / "new").exists()


def test_other_owner(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    In the top directory, files can be made and replaced, whoever owns them.
    """
    pytester.makepyfile(
        test_it="""
        import os
        import pytest
        from pathlib import Path

        @pytest.mark.isolated(overlay=["/usr/share"], user="root")
        def test_it():
            Path("/usr/share/new").write_text("new")
            os.replace("/usr/share/new", "/usr/share/newer")
            assert Path("/usr/share/newer").read_text() == "new"
        """
    )
    run_both_ways("test_it.py").assert_outcomes(passed=1)
    assert not Path("/usr/share/newer").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("foreign", ["other", "other/own"])
def test_in_directories_of_others(
    pytester: pytest.Pytester, place: Path, everything: bool, foreign: str
) -> None:
    """
    A directory open to the user can be written to, whoever owns it or those above it.
    """
    own = place / "other" / "own"
    own.mkdir()
    own.chmod(0o777)
    os.chown(place / foreign, 1000, 1000)
    test = own / "test_it.py"
    named = True if everything else [str(place), str(own)]
    test.write_text(
        f"""
import pytest
from pathlib import Path

@pytest.mark.isolated(overlay={named!r})
def test_it():
    Path(__file__).with_name("new").touch()
"""
    )
    (own / "pytest.ini").touch()
    # A user namespace in which no other user exists.
    caps = "-sys_admin,-setuid,-setgid"
    lose = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"]
    command = [*lose, sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    pytester.run(*command, str(test), timeout=60).assert_outcomes(passed=1)
    assert not (own / "new").exists()
