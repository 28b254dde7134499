"""
Markers, fixture and options that isolate a test, and the header.
"""

from __future__ import annotations

import os

import pytest
from twins import WITHOUT, run_once

#: A helper for the inner tests, by which they assert where they run.
HERE = """
    import os, socket
    import pytest

    def inside():
        return os.readlink("/proc/self/ns/ipc") != os.environ["HOST_IPC"]
"""


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Pass the IPC namespace of the host to the inner tests.
    """
    monkeypatch.setenv("HOST_IPC", os.readlink("/proc/self/ns/ipc"))


def test_places(pytester: pytest.Pytester) -> None:
    """
    A marker on a function, class or parameter isolates that and nothing else.
    """
    pytester.makepyfile(
        HERE
        + """
    @pytest.mark.isolated
    def test_bare(): assert inside()

    @pytest.mark.isolated()
    def test_called(): assert inside()

    @pytest.mark.nsisolated(hostname="synonym")
    def test_synonym(): assert inside() and socket.gethostname() == "synonym"

    def test_unmarked(): assert not inside()

    @pytest.mark.isolated(hostname="class", domainname="lab")
    class TestMarked:
        def test_class(self): assert inside() and socket.gethostname() == "class"

        @pytest.mark.isolated(hostname="closer")
        def test_closer(self, isolation):
            assert isolation.hostname == "closer"
            assert isolation.domainname == "lab"

        @pytest.mark.isolated(hostname=None)
        def test_taken_back(self, isolation):
            assert isolation.hostname != "class"

    @pytest.mark.parametrize("name", [
        pytest.param("one", marks=pytest.mark.isolated(hostname="one")),
        pytest.param("two", marks=pytest.mark.isolated(hostname="two")),
    ])
    @pytest.mark.isolated(hostname="all", domainname="function")
    def test_parameter(name, isolation):
        assert isolation.hostname == name
        assert isolation.domainname == "function"

    @pytest.mark.parametrize("name", [
        pytest.param("one", marks=pytest.mark.isolated), "two",
    ])
    def test_one_parameter(name):
        assert inside() == (name == "one")
"""
    )
    run_once(pytester, ["--strict-markers"]).result.assert_outcomes(passed=11)


def test_module(pytester: pytest.Pytester) -> None:
    """
    A module's mark applies to all its tests, and the closest wins for each keyword.
    """
    pytester.makepyfile(
        HERE
        + """
    pytestmark = [pytest.mark.isolated(hostname="module", domainname="m")]

    def test_one(isolation):
        assert (isolation.hostname, isolation.domainname) == ("module", "m")

    @pytest.mark.isolated(domainname="f")
    def test_two(isolation):
        assert (isolation.hostname, isolation.domainname) == ("module", "f")

    @pytest.mark.nsisolated(hostname="both")
    @pytest.mark.isolated(domainname="names")
    def test_both_names(isolation):
        assert (isolation.hostname, isolation.domainname) == ("both", "names")
"""
    )
    run_once(pytester, []).result.assert_outcomes(passed=3)


def test_changed(pytester: pytest.Pytester) -> None:
    """
    What a plugin changes in a marker between two tests holds from there on.
    """
    pytester.makeconftest(
        """
        def pytest_runtest_logfinish(nodeid):
            names["NAME"] = nodeid[-1]

        def pytest_collection_modifyitems(items):
            global names
            (mark,) = {id(one): one for item in items
                       for one in item.iter_markers("isolated")}.values()
            names = mark.kwargs["env"]
        """
    )
    pytester.makepyfile(
        """
        import os
        import pytest

        pytestmark = pytest.mark.isolated(env={"NAME": "0"})

        def test_1(): assert os.environ["NAME"] == "0"
        def test_2(): assert os.environ["NAME"] == "0"
        def test_3(): assert os.environ["NAME"] == "1"
        def test_4(): assert os.environ["NAME"] == "2"
        """
    )
    pytester.runpytest().assert_outcomes(passed=4)


def test_fixture(pytester: pytest.Pytester) -> None:
    """
    The fixture `isolation` isolates the test, even if requested indirectly.
    """
    pytester.makepyfile(
        HERE
        + """
    HOST = os.getpid()

    @pytest.fixture
    def by_fixture(isolation): return isolation

    def test_by_fixture(by_fixture):
        assert inside()
        assert by_fixture.namespaces[:4] == ("ipc", "uts", "pid", "mnt")
        assert by_fixture.hostname == socket.gethostname()
        assert by_fixture.pid_on_host not in {HOST, os.getpid()}

    @pytest.mark.usefixtures("isolation")
    def test_use(): assert inside()
"""
    )
    run_once(pytester, []).result.assert_outcomes(passed=2)


def test_fixture_where_nothing_is_isolated(pytester: pytest.Pytester) -> None:
    """
    On the host the fixture `isolation` has no namespaces and pytest's own pid.
    """
    pytester.makepyfile(
        """
        import os

        def test_one(isolation):
            assert isolation.namespaces == ()
            assert isolation.pid_on_host == os.getpid()
        """
    )
    run_once(pytester, ["--no-nsisolate"]).result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("ini", "arguments", "marked", "unmarked"),
    [
        ("", [], True, False),
        ("", ["--nsisolate"], True, True),
        ("", ["--no-nsisolate"], False, False),
        ("nsisolate = true", [], True, True),
        ("nsisolate = false", [], True, False),
        ("nsisolate = true", ["--no-nsisolate"], False, False),
        ("nsisolate = false", ["--nsisolate"], True, True),
        ("", ["--no-nsisolate", "--nsisolate"], True, True),
        ("", ["--nsisolate", "--no-nsisolate"], False, False),
        ("addopts = --nsisolate", ["--no-nsisolate"], False, False),
    ],
)
def test_precedence(
    pytester: pytest.Pytester,
    ini: str,
    arguments: list[str],
    marked: bool,
    unmarked: bool,
) -> None:
    """
    The command line takes precedence over the ini file, and the last option wins.
    """
    pytester.makeini(f"[pytest]\n{ini}")
    pytester.makepyfile(
        HERE
        + f"""
    @pytest.mark.isolated
    def test_marked(): assert inside() is {marked}

    def test_unmarked(): assert inside() is {unmarked}
"""
    )
    run = run_once(pytester, arguments)
    run.result.assert_outcomes(passed=2)
    header = "nsisolate: ipc uts pid mnt (*user namespace, /proc fresh)"
    if not marked:
        header = "nsisolate: off, isolated tests run on the host (--no-nsisolate)"
    run.result.stdout.fnmatch_lines([header])


def test_unknown_policy_in_ini_file(pytester: pytest.Pytester) -> None:
    """
    An unknown policy in the ini file is a usage error in three lines.
    """
    pytester.makeini("[pytest]\nnsisolate_unavailable = pass")
    result = pytester.runpytest_inprocess(*WITHOUT)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: cannot use nsisolate_unavailable = pass",
            "why: the ini option nsisolate_unavailable takes fail or skip",
            "fix: write nsisolate_unavailable = fail in the ini file",
        ],
        consecutive=True,
    )


def test_unknown_policy_on_command_line(pytester: pytest.Pytester) -> None:
    """
    An unknown policy on the command line is a usage error in three lines.
    """
    result = pytester.runpytest_inprocess(*WITHOUT, "--nsisolate-unavailable=pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: cannot use --nsisolate-unavailable=pass",
            "why: the option --nsisolate-unavailable takes fail or skip",
            "fix: write --nsisolate-unavailable=fail on the command line",
        ],
        consecutive=True,
    )


@pytest.mark.parametrize("name", ["nsisolate", "pytest_nsisolate"])
def test_without_autoload(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """
    With autoload disabled, ``-p`` loads the plugin by its name or that of its module.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        HERE
        + """
    @pytest.mark.isolated(hostname="t1")
    def test_one(): assert inside() and socket.gethostname() == "t1"
"""
    )
    result = pytester.runpytest_subprocess("-p", name, timeout=60)
    result.assert_outcomes(passed=1)


def test_markers_are_listed(pytester: pytest.Pytester) -> None:
    """
    ``--markers`` shows both names with their keywords.
    """
    first = ["hostname", "domainname", "user", "proc", "timeout", "leaks"]
    more = ["memory", "cpu", "nofile", "nproc", "tmpfs", "overlay"]
    more += ["overlay_size", "readonly", "files", "env", "clear_env", "net"]
    keywords = [*first, *more, "cgroup", "time", "scope", "fork", "alone", "group"]
    arguments = ", ".join(f"{name}=None" for name in keywords)
    text = f"({arguments}): run the test in Linux "
    result = pytester.runpytest_inprocess(*WITHOUT, "--markers")
    for name in ("isolated", "nsisolated"):
        assert f"@pytest.mark.{name}{text}namespaces of its own" in result.stdout.str()
