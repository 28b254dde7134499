"""
Shared sandboxes of a class, module, package or session.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from stories import STORY, tell_twice
from twins import Twins, TwinSessions
from ways import RunPytest

#: Records test names in memory, which shows the tests that ran in the same guest.
MEMORY = """
    import os
    import pytest

    seen = []

    def note(name):
        seen.append(name)
        with open(os.environ["STORY"], "a") as stream:
            print(*seen, file=stream)
"""


def groups_in(story: Path) -> list[list[str]]:
    """
    Return the tests that each guest ran, in order, and clear *story*.

    The guests are sorted: which starts first depends on the number of jobs.
    """
    groups: list[list[str]] = []
    for line in story.read_text().splitlines():
        names = line.split()
        if len(names) > 1:
            groups = [one for one in groups if one != names[:-1]]
        groups.append(names)
    story.write_text("")
    return sorted(groups)


def make_tree(pytester: pytest.Pytester) -> None:
    """
    Make a module outside any package, and a package of two modules, each with a class.
    """
    pytester.makeconftest(MEMORY)
    source = """
    from conftest import note
    def test_{0}1(): note("{0}1")
    def test_{0}2(): note("{0}2")
    class Test{0}:
        def test_{0}3(self): note("{0}3")
        def test_{0}4(self): note("{0}4")
    """
    package = pytester.mkpydir("package")
    for name, directory in (("a", pytester.path), ("b", package), ("c", package)):
        lines = [line[4:] for line in source.format(name).splitlines()]
        (directory / f"test_{name}.py").write_text("\n".join(lines))


GROUPS = {
    "function": "a1 | a2 | a3 | a4 | b1 | b2 | b3 | b4 | c1 | c2 | c3 | c4",
    "class": "a1 | a2 | a3 a4 | b1 | b2 | b3 b4 | c1 | c2 | c3 c4",
    "module": "a1 a2 a3 a4 | b1 b2 b3 b4 | c1 c2 c3 c4",
    "package": "a1 a2 a3 a4 | b1 b2 b3 b4 c1 c2 c3 c4",
    "session": "a1 a2 a3 a4 b1 b2 b3 b4 c1 c2 c3 c4",
}


@pytest.mark.parametrize("scope", GROUPS)
def test_who_shares(pytester: pytest.Pytester, story: Path, scope: str) -> None:
    """
    The tests of a scope run in one guest, in order, but functions share no class.
    """
    make_tree(pytester)
    pytester.makeini(f"[pytest]\nnsisolate_scope = {scope}")
    # As in pytest, a module outside any package belongs to the session.
    paths = ("test_a.py", "package")

    result = pytester.runpytest("--nsisolate", *paths)

    result.assert_outcomes(passed=12)
    expected = [names.split() for names in GROUPS[scope].split("|")]
    assert groups_in(story) == expected


def test_precedence(pytester: pytest.Pytester, story: Path) -> None:
    """
    The marker takes precedence over the command line, and that over the ini file.
    """
    pytester.makeconftest(MEMORY)
    pytester.makeini("[pytest]\nnsisolate_scope = session")
    pytester.makepyfile(
        """
        import pytest
        from conftest import note
        @pytest.mark.isolated(scope="function")
        def test_1(): note(1)
        class TestClass:
            @pytest.mark.isolated
            def test_2(self): note(2)
            @pytest.mark.isolated
            def test_3(self): note(3)
        @pytest.mark.isolated
        def test_4(): note(4)
        """
    )

    pytester.runpytest("--nsisolate-scope=class").assert_outcomes(passed=4)
    assert groups_in(story) == [["1"], ["2", "3"], ["4"]]
    pytester.runpytest().assert_outcomes(passed=4)
    assert groups_in(story) == [["1"], ["2", "3", "4"]]


@pytest.mark.parametrize(
    ("keyword", "why", "fix"),
    [
        (
            'scope="modul"',
            (
                "scope='modul' is not one of "
                '"function", "class", "module", "package", "session"'
            ),
            'write scope="module", or leave scope= out',
        ),
        (
            "fork=1",
            "fork=1 is not True, False or None",
            "write fork=True, or leave fork= out",
        ),
    ],
)
def test_bad_values(
    pytester: pytest.Pytester, keyword: str, why: str, fix: str
) -> None:
    """
    An invalid value is an error of that test.
    """
    pytester.makepyfile(
        f"""
        import pytest
        @pytest.mark.isolated({keyword})
        def test_it(): ...
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"why: {why}", f"fix: {fix}"])


def test_bad_option(pytester: pytest.Pytester) -> None:
    """
    An unknown scope is a usage error.
    """
    result = pytester.runpytest("--nsisolate-scope=modul")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: cannot use --nsisolate-scope=modul",
            (
                "why: the option --nsisolate-scope takes function, class, module, "
                "package or session"
            ),
            "fix: write --nsisolate-scope=function on the command line",
        ]
    )


ALL = ("session", "package", "module", "class", "function")


@pytest.mark.parametrize("scope", ALL)
def test_fixture_rule(pytester: pytest.Pytester, story: Path, scope: str) -> None:
    """
    A fixture no wider than the sandbox lives inside, and a wider one outside.
    """
    made = "\n".join(f"    {one}_ = fixture({one!r}, autouse=True)" for one in ALL)
    pytester.makeconftest(STORY + made)
    source = """
    from conftest import tell
    def setup_module(): tell("setup")
    def teardown_module(): tell("teardown")
    class TestClass:
        def test_1(self): tell("test")
        def test_2(self): tell("test")
    class TestOther:
        def test_3(self): tell("test")
    """
    pytester.makepyfile(test_a=source, test_b=source)

    events = tell_twice(pytester, story, f"--nsisolate-scope={scope}")

    where = dict(line.split() for line in events)
    # A module outside any package hangs on the session, and so does its sandbox.
    wider = ALL[: ALL.index(scope)] if scope != "package" else ()
    assert where == {
        "test": "inside",
        "setup": where["+module"],
        "teardown": where["+module"],
        **{
            f"{sign}{one}": "outside" if one in wider else "inside"
            for one in ALL
            for sign in "+-"
        },
    }


def test_package_is_set_up_inside(pytester: pytest.Pytester, story: Path) -> None:
    """
    A package's own setup and teardown run inside if its tests share a sandbox.
    """
    pytester.makeconftest(STORY)
    package = pytester.mkpydir("package")
    (package / "__init__.py").write_text(
        "from conftest import tell\n"
        "def setup_module(): tell('setup')\n"
        "def teardown_module(): tell('teardown')\n"
    )
    (package / "test_it.py").write_text(
        "from conftest import tell\n"
        "def test_1(): tell('test')\n"
        "def test_2(): tell('test')\n"
    )

    events = tell_twice(pytester, story, "--nsisolate-scope=package")

    assert {line.split()[1] for line in events} == {"inside"}
    assert "setup inside" in events


@pytest.mark.parametrize("seed", range(4))
def test_any_order(pytester: pytest.Pytester, story: Path, seed: int) -> None:
    """
    Each scope gives any set of tests the events and reports of the plain run.
    """
    chance = random.Random(seed)  # noqa: S311 - any order will do
    made = [f"    {scope}_ = fixture({scope!r})" for scope in ALL[2:]]
    wide = "    session_ = fixture('session', autouse=True)"
    pytester.makeconftest("\n".join([STORY, wide, *made]))
    for module in "ab":
        lines = ["import pytest", "from conftest import tell", ""]
        for number in range(4):
            name = chance.choice(["TestA", ""])
            if name:
                lines.append(f"class {name}{number}:")
            indent = "    " if name else ""
            for part in range(2):
                wanted = chance.sample(ALL[2:], 2)
                end = chance.choice(["pass", "pass", "pass", "assert 0"])
                kind = chance.choice(["usual", "usual", "skip"])
                lines += [
                    f"{indent}@pytest.mark.usefixtures(*{wanted})",
                    f"{indent}@pytest.mark.{kind}",
                    f"{indent}def test_{number}{part}(*self):",
                    f"{indent}    tell('test-{module}{number}{part}')",
                    f"{indent}    {end}",
                ]
        pytester.makepyfile(**{f"test_{module}": "\n".join(lines)})
    scope = ("class", "module", "package", "session")[seed]
    arguments = [[], ["-x"], ["--maxfail=2"], []][seed]

    events = tell_twice(
        pytester,
        story,
        f"--nsisolate-scope={scope}",
        "-Wignore::pytest.PytestUnknownMarkWarning",
        *arguments,
    )

    assert len(events) > 5


def test_reads_like_any_other(twins: Twins, pytester: pytest.Pytester) -> None:
    """
    Reports, output, warnings and logs of shared sandboxes are those of a plain run.
    """
    pytester.makepyfile(
        """
        import logging, warnings
        import pytest
        @pytest.fixture(scope="session")
        def wide():
            print("wide up")
            yield
            print("wide down")
        @pytest.fixture(scope="module", params=[1, 2])
        def module(request, wide):
            print("module up")
            yield request.param
            logging.warning("module down")
        @pytest.mark.filterwarnings("error")
        def test_1(module, record_property):
            record_property("module", module)
        def test_2(module, tmp_path):
            warnings.warn("two")
            print(tmp_path.name)
        @pytest.mark.xfail
        def test_3(): assert 0
        def test_4(subtests=None): pytest.skip("four")
        @pytest.mark.skip
        def test_5(module): ...
        """
    )

    run = twins("--nsisolate-scope=module", "-rA")

    assert len(run.reports) == 8 * 3 - 2


@pytest.mark.parametrize("arguments", [["-x"], ["--lf"], ["--ff", "--maxfail=2"]])
def test_chosen_by_the_cache(
    twin_sessions: TwinSessions, pytester: pytest.Pytester, arguments: list[str]
) -> None:
    """
    A session that stops early, and a second one with the cache, match the plain run.
    """
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture(scope="module")
        def module():
            yield
            # Until then pytest raises it from the end of the session.
            assert pytest.version_tuple < (8, 2), "torn down"
        def test_1(module): ...
        def test_2(module): assert 0
        def test_3(module): ...
        def test_4(module): assert 0
        """
    )

    runs = twin_sessions(
        ["--nsisolate-scope=module", *arguments],
        ["--nsisolate-scope=module", *arguments],
    )

    assert all("assert 0" in run.stdout for run in runs)


def test_unmarked_in_between(pytester: pytest.Pytester, story: Path) -> None:
    """
    An unmarked test runs on the host, with its own fixtures, while the guest waits.
    """
    pytester.makeconftest(
        STORY + "    module_ = fixture('module')\n    session_ = fixture('session')\n"
    )
    pytester.makepyfile(
        """
        import pytest
        from conftest import tell
        names = []
        isolated = pytest.mark.isolated(scope="module")
        def test_0(module, session): tell("host")
        @isolated
        def test_1(module, session): names.append(1)
        def test_2(module, session): tell("host")
        @isolated
        def test_3(module, session): assert names == [1]
        def test_4(module, session): tell("host")
        """
    )

    pytester.runpytest().assert_outcomes(passed=5)

    assert story.read_text().splitlines() == [
        "+session outside",
        "+module outside",
        "host outside",
        "+module inside",
        "host outside",
        "-module inside",
        "host outside",
        "-module outside",
        "-session outside",
    ]


def test_failure_in_between_ends_the_session(
    pytester: pytest.Pytester, story: Path
) -> None:
    """
    With ``-x`` an unmarked test that fails ends a waiting guest and its fixtures.
    """
    pytester.makeconftest(STORY + "    module_ = fixture('module')\n")
    pytester.makepyfile(
        """
        import pytest
        isolated = pytest.mark.isolated(scope="module")
        @isolated
        def test_1(module): ...
        def test_2(): assert 0
        @isolated
        def test_3(module): ...
        """
    )

    pytester.runpytest("-x").assert_outcomes(passed=1, failed=1)

    assert story.read_text().splitlines() == ["+module inside", "-module inside"]


def test_ended_early_with_an_error(pytester: pytest.Pytester) -> None:
    """
    A failure while a waiting guest is ended is an error of its last test.
    """
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture(scope="module")
        def module():
            yield
            raise ValueError("torn down")
        isolated = pytest.mark.isolated(scope="module")
        @isolated
        def test_1(module): ...
        def test_2(): assert 0
        @isolated
        def test_3(module): ...
        """
    )

    result = pytester.runpytest("-x")

    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_1*",
            "cannot tear down what the tests of module *.py share",
            "why: test_1 was the last test there; after it an error came, see below",
            "fix: python -m pytest --no-nsisolate *.py::test_1",
            "*ValueError: torn down",
        ]
    )


DEATHS = {
    "crash": ("os.kill(os.getpid(), 9)", "did not finish: killed by SIGKILL"),
    "exit": ("os._exit(0)", "did not finish: exited with code 0"),
    "timeout": ("time.sleep(60)", "did not finish: timed out after 2 s"),
}


@pytest.mark.parametrize("death", DEATHS)
def test_death_of_one(
    run_both_ways: RunPytest, pytester: pytest.Pytester, story: Path, death: str
) -> None:
    """
    A crash or timeout fails that test, and the next has a fresh sandbox and fixtures.
    """
    code, text = DEATHS[death]
    pytester.makeconftest(STORY + "    module_ = fixture('module')\n")
    pytester.makepyfile(
        f"""
        import os, time
        import pytest
        from pathlib import Path
        pytestmark = pytest.mark.isolated(scope="module")
        names = []
        left = Path("/dev/shm/left")
        def test_1(module): names.append(1); left.touch()
        @pytest.mark.isolated(timeout={2 if death == "timeout" else None})
        def test_2(module): assert left.exists(); {code}
        def test_3(module): assert not names and not left.exists(); names.append(3)
        def test_4(module): assert names == [3]
        """
    )

    result = run_both_ways("--nsisolate-leaks=ignore")

    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines([f"test_2 {text}*"])
    assert story.read_text().splitlines() == [
        "+module inside",
        "+module inside",
        "-module inside",
    ]


def test_guest_killed_between(pytester: pytest.Pytester) -> None:
    """
    If a guest dies while it waits, the next test does not fail.
    """
    pytester.makepyfile(
        """
        import os, signal
        import pytest
        isolated = pytest.mark.isolated(scope="module")
        @isolated
        def test_1(isolation, record_property):
            record_property("pid", isolation.pid_on_host)
        def test_2(request):
            properties = request.session.items[0].user_properties
            pidfd = os.pidfd_open(dict(properties)["pid"])
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            import select
            select.select([pidfd], [], [])
        @isolated
        def test_3(): ...
        """
    )

    pytester.runpytest().assert_outcomes(passed=3)


def test_fork(run_both_ways: RunPytest, pytester: pytest.Pytester, story: Path) -> None:
    """
    With ``fork=True`` namespaces and processes persist between tests, but not memory.
    """
    pytester.makeconftest(STORY + "    module_ = fixture('module')\n")
    pytester.makepyfile(
        """
        import os, subprocess
        import pytest
        from pathlib import Path
        pytestmark = pytest.mark.isolated(scope="module", fork=True, leaks="fail")
        names = []
        def test_1(module):
            names.append(1)
            subprocess.run(["ipcmk", "-Q"], check=True)
            subprocess.Popen(["sleep", "1000"])
        def test_2(module):
            assert not names
            told = Path("/proc/sysvipc/msg").read_text().splitlines()[1].split()
            subprocess.run(["ipcrm", "-q", told[1]], check=True)
        def test_3(module):
            assert len(Path("/proc/sysvipc/msg").read_text().splitlines()) == 1
            subprocess.run(["pkill", "sleep"], check=True)
            while subprocess.run(["pgrep", "sleep"], stdout=-3).returncode == 0: ...
        """
    )

    result = run_both_ways()

    result.assert_outcomes(passed=3)
    # The fixture is borrowed, so it is set up once and not in each guest.
    events = [line.split()[0] for line in story.read_text().splitlines()]
    assert events == ["+module", "-module"]


def test_fork_after_a_crash(pytester: pytest.Pytester) -> None:
    """
    With ``fork=True`` too, the test after a crash has a fresh sandbox.
    """
    pytester.makepyfile(
        """
        import os
        import pytest
        from pathlib import Path
        pytestmark = pytest.mark.isolated(scope="module", fork=True, leaks="ignore")
        left = Path("/dev/shm/left")
        def test_1(): left.touch()
        def test_2(): assert left.exists(); os.abort()
        def test_3(): assert not left.exists(); left.touch()
        def test_4(): assert left.exists()
        """
    )

    pytester.runpytest().assert_outcomes(passed=3, failed=1)


def test_fork_after_a_time_out(
    run_both_ways: RunPytest, pytester: pytest.Pytester
) -> None:
    """
    A sandbox ends as soon as a guest that is too late is gone: it waits for that one.
    """
    pytester.makeconftest(
        """
        from pytest_nsisolate.sandbox import sandbox
        # Usually it gives up.
        sandbox.ANSWER_TIMEOUT = 3600.0
        """
    )
    pytester.makepyfile(
        """
        import time
        import pytest
        pytestmark = pytest.mark.isolated(scope="module", fork=True, leaks="ignore")
        @pytest.mark.isolated(timeout=2)
        def test_1(): time.sleep(60)
        def test_2(): ...
        """
    )

    run_both_ways().assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize("fork", [False, True])
def test_leaks(pytester: pytest.Pytester, fork: bool) -> None:
    """
    Leaks at the end of the scope are reported on its last test, with the scope.
    """
    pytester.makepyfile(
        f"""
        import pytest
        from pathlib import Path
        pytestmark = pytest.mark.isolated(scope="module", fork={fork}, leaks="fail")
        def test_1(): Path("/dev/shm/one").touch()
        def test_2(): Path("/dev/shm/two").touch()
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_2*",
            "test_2, the last of module *.py, left 2 files in /dev/shm (*",
            "why: found in their shared sandbox when the last of them was over: *",
        ]
    )


def test_specs_that_differ(pytester: pytest.Pytester, story: Path) -> None:
    """
    Tests with other specs get other sandboxes, but a time limit makes no difference.
    """
    pytester.makeconftest(MEMORY)
    pytester.makepyfile(
        """
        import socket
        import pytest
        from conftest import note
        pytestmark = pytest.mark.isolated(scope="module", hostname="a")
        def test_1(): note(1)
        @pytest.mark.isolated(hostname="b")
        def test_2(): note(2); assert socket.gethostname() == "b"
        @pytest.mark.isolated(timeout=50, leaks="ignore")
        def test_3(): note(3); assert socket.gethostname() == "a"
        @pytest.mark.isolated(hostname="b")
        def test_4(): note(4); assert socket.gethostname() == "b"
        @pytest.mark.isolated(scope="function")
        def test_5(): note(5)
        """
    )

    pytester.runpytest().assert_outcomes(passed=5)

    assert groups_in(story) == [["1", "3"], ["2", "4"], ["5"]]


def test_parameters_of_what_is_borrowed(pytester: pytest.Pytester, story: Path) -> None:
    """
    Each value of a wider parametrised fixture gets a sandbox of its own.
    """
    pytester.makeconftest(MEMORY)
    pytester.makepyfile(
        """
        import pytest
        from conftest import note
        pytestmark = pytest.mark.isolated(scope="module")
        @pytest.fixture(scope="session", params="ab")
        def wide(request): return request.param
        @pytest.fixture(scope="module", params="xy")
        def own(request): return request.param
        def test_1(wide, own): note(wide + own)
        def test_2(wide, own): note(wide + own)
        """
    )

    pytester.runpytest().assert_outcomes(passed=8)

    first, second = groups_in(story)
    assert {name[0] for name in first} == {"a"}
    assert {name[0] for name in second} == {"b"}
    assert len(first) == len(second) == 4


def test_borrowed_by_a_later_one(pytester: pytest.Pytester, story: Path) -> None:
    """
    Fixtures that a later test borrows are set up first, and only that test can fail.
    """
    pytester.makeconftest(STORY + "    session_ = fixture('session')\n")
    pytester.makepyfile(
        """
        import pytest
        from conftest import tell
        pytestmark = pytest.mark.isolated(scope="module")
        @pytest.fixture(scope="session")
        def broken(): tell("broken"); assert 0
        @pytest.fixture(scope="session")
        def unused(): tell("unused")
        def test_1(): tell("test")
        def test_2(broken): tell("test")
        @pytest.mark.skip
        def test_3(unused): tell("test")
        def test_4(session): tell("test")
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(passed=2, errors=1, skipped=1)
    assert story.read_text().splitlines() == [
        "broken outside",
        "+session outside",
        "test inside",
        "test inside",
        "-session outside",
    ]


def test_not_consecutive(pytester: pytest.Pytester, story: Path) -> None:
    """
    If a plugin puts other tests in between, a scope ends when pytest leaves it.
    """
    make_tree(pytester)
    pytester.makeconftest(
        MEMORY
        + """
    def pytest_collection_modifyitems(items):
        items.sort(key=lambda item: item.name[-1])
    """
    )
    pytester.makeini("[pytest]\nnsisolate_scope = module")

    pytester.runpytest("--nsisolate").assert_outcomes(passed=12)

    assert len(groups_in(story)) == 12


def test_isolation_is_shared(pytester: pytest.Pytester) -> None:
    """
    The fixture `isolation` is the same object for all tests of a shared sandbox.
    """
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.isolated(scope="module", hostname="t1")
        seen = []
        @pytest.mark.parametrize("number", range(3))
        def test_it(isolation, number):
            seen.append(isolation)
            assert seen == [isolation] * (number + 1)
            assert isolation.hostname == "t1"
        """
    )

    pytester.runpytest().assert_outcomes(passed=3)


def test_nothing_left(pytester: pytest.Pytester, nothing_left: None) -> None:
    """
    After the session nothing is left of waiting guests and shared sandboxes.
    """
    pytester.makepyfile(
        """
        import os, subprocess
        import pytest
        def mark(**more): return pytest.mark.isolated(leaks="ignore", **more)
        @mark(scope="module")
        def test_1(): subprocess.run(["ipcmk", "-Q"], check=True)
        @mark(scope="session", fork=True)
        def test_2(): subprocess.Popen(["sleep", "1000"])
        def test_3(): assert 0
        @mark(scope="session", fork=True)
        def test_4(): ...
        @mark(scope="module")
        def test_5(): ...
        """
    )

    pytester.runpytest_subprocess("-x").assert_outcomes(passed=2, failed=1)


#: A plugin that changes nothing that a test notices, by its name, and that takes its
#: time to log that a setup has passed.
SLOW = """
import os, time

__name__ = "_pytest.slow"

def pytest_runtest_logreport(report):
    for _ in range(3000):
        if report.when != "setup" or os.path.exists(os.environ["PASSED"]):
            return
        time.sleep(0.01)
    raise AssertionError("the test waits for this")
"""

TWO = """
    import os
    import pytest

    pytestmark = pytest.mark.isolated(scope="module")

    def test_one(): open(os.environ["PASSED"], "w").close()
    def test_other(): pass
"""


def test_no_wait_for_a_report(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A test in a shared guest goes on while its report is logged, if nobody watches.
    """
    monkeypatch.setenv("PASSED", str(pytester.path / "passed"))
    pytester.makepyfile(slow=SLOW, test_it=TWO)
    pytester.syspathinsert()
    result = pytester.runpytest_subprocess("-p", "slow")
    result.assert_outcomes(passed=2)


def test_wait_for_a_watcher(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In a shared guest those tests wait for their reports which a conftest file watches.
    """
    monkeypatch.setenv("LOGGED", str(pytester.path / "logged"))
    pytester.makepyfile(test_1="def test_unwatched(): pass")
    pytester.mkpydir("watched")
    (pytester.path / "watched" / "conftest.py").write_text(
        "import os, time\n"
        "def pytest_runtest_logreport(report):\n"
        "    time.sleep(0.2)\n"
        "    if report.when == 'setup': open(os.environ['LOGGED'], 'w').close()\n"
    )
    (pytester.path / "watched" / "test_2.py").write_text(
        "import os\ndef test_watched(): assert os.path.exists(os.environ['LOGGED'])\n"
    )
    arguments = ("--nsisolate", "--nsisolate-scope=session", "-v")
    result = pytester.runpytest_subprocess(*arguments, "test_1.py", "watched")
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("scope", ["function", "module"])
def test_place_worked_out_once(pytester: pytest.Pytester, scope: str) -> None:
    """
    No guest works out again where its tests are: the supervisor has done so.
    """
    pytester.makeconftest(
        """
        import os
        import pytest

        session = os.getpid()
        reportinfo = pytest.Function.reportinfo

        def noted(self):
            with open("places", "a") as stream:
                print(self.name, os.getpid() == session, file=stream)
            return reportinfo(self)

        pytest.Function.reportinfo = noted
        """
    )
    names = [f"test_{number}" for number in range(4)]
    pytester.makepyfile("\n".join(f"def {name}(): pass" for name in names))
    result = pytester.runpytest_subprocess("--nsisolate", f"--nsisolate-scope={scope}")
    result.assert_outcomes(passed=4)
    places = (pytester.path / "places").read_text().splitlines()
    assert places == [f"{name} True" for name in names]
