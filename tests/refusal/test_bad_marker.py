"""
Bad markers: an error of their own test, with file and line, while other tests run.
"""

from __future__ import annotations

import pytest
from twins import run_once

pytestmark = pytest.mark.python

WORDS = (
    "its keywords are hostname, domainname, user, proc, timeout, leaks, memory, cpu, "
    "nofile, nproc, tmpfs, overlay, overlay_size, readonly, files, env, "
    "clear_env, net, cgroup, time, scope, fork, alone, group"
)
NET = "write net=True, or leave net= out"
LEAVE = 'write hostname="t1", or leave hostname= out'
BAD = [
    (
        "hostnme='t1'",
        f"isolated does not take hostnme; {WORDS}",
        "write hostname= instead of hostnme=",
    ),
    ("zzz=1", f"isolated does not take zzz; {WORDS}", "leave zzz= out"),
    (
        "'t1'",
        f"isolated takes no positional arguments, but got 't1'; {WORDS}",
        "write @pytest.mark.isolated(hostname='t1')",
    ),
    (
        "'t1', 'lab'",
        f"isolated takes no positional arguments, but got 't1', 'lab'; {WORDS}",
        'write keywords, as in @pytest.mark.isolated(hostname="t1")',
    ),
    (
        "True",
        f"isolated takes no positional arguments, but got True; {WORDS}",
        'write keywords, as in @pytest.mark.isolated(hostname="t1")',
    ),
    (
        "'t1', hostname='t2'",
        f"isolated takes no positional arguments, but got 't1'; {WORDS}",
        "write @pytest.mark.isolated(hostname='t1')",
    ),
    ("hostname=''", "hostname is empty", LEAVE),
    ("hostname='x' * 65", "hostname has 65 bytes, but the kernel allows 64", LEAVE),
    ("hostname='a\\0b'", r"hostname='a\x00b' contains a NUL byte", LEAVE),
    ("hostname=b't1'", "hostname=b't1' is of type bytes, not str", LEAVE),
    ("hostname=5", "hostname=5 is of type int, not str", LEAVE),
    (
        "hostname='\\ud800'",
        r"hostname='\ud800' cannot be written in the file system's encoding",
        LEAVE,
    ),
    (
        "domainname=''",
        "domainname is empty",
        'write domainname="t1", or leave domainname= out',
    ),
    (
        "memory='lots'",
        "memory='lots' is not a number followed by K, M or G",
        'write memory="512M" (or K, G), or leave memory= out',
    ),
    ("nproc=0", "nproc=0 is not greater than 0", "write nproc=20, or leave nproc= out"),
    ("net=1", "net=1 is not True, False or None", NET),
    (
        "time={'monotonic': '1d'}",
        "monotonic='1d' in time= is of type str, not int or float",
        'write time={"monotonic": 86400}, or leave time= out',
    ),
    (
        "time={'realtime': 5}",
        'the key \'realtime\' in time= is neither "monotonic" nor "boottime"',
        'write time={"monotonic": 86400}, or leave time= out',
    ),
    (
        "cgroup='/'",
        "cgroup='/' is not True, False or None",
        "write cgroup=True, or leave cgroup= out",
    ),
    ("net='lo'", "net='lo' is not True, False or None", NET),
    (
        "user='bob'",
        "user='bob' is neither \"root\" nor None",
        'write user="root", or leave user= out',
    ),
    (
        "user=['root']",
        "user=['root'] is neither \"root\" nor None",
        'write user="root", or leave user= out',
    ),
]


@pytest.mark.parametrize(("arguments", "why", "fix"), BAD, ids=[bad[0] for bad in BAD])
def test_three_lines(
    pytester: pytest.Pytester, arguments: str, why: str, fix: str
) -> None:
    """
    The error says what, why and fix; the other tests pass; the session fails.
    """
    pytester.makepyfile(
        test_it=f"""
        import pytest

        def test_before(): pass

        @pytest.mark.isolated({arguments})
        def test_bad(): pass

        @pytest.mark.isolated
        def test_after(): pass
        """
    )
    run = run_once(pytester, [])
    run.result.assert_outcomes(passed=2, errors=1)
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    assert run.reports[3]["longrepr"] == (
        "test_it.py:5: cannot isolate test_bad: bad marker @pytest.mark.isolated\n"
        f"why: {why}\n"
        f"fix: {fix}"
    )
    assert "INTERNALERROR" not in run.stdout + run.result.stderr.str()


@pytest.mark.parametrize("switch", ["--nsisolate", "--no-nsisolate"])
def test_bad_whatever_the_options(pytester: pytest.Pytester, switch: str) -> None:
    """
    A bad marker is an error even where nothing is isolated.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated(host="t1")
        def test_bad(): pass
        """
    )
    run_once(pytester, [switch]).result.assert_outcomes(errors=1)


def test_bad_behind_a_good_one(pytester: pytest.Pytester) -> None:
    """
    A bad value on a class is an error of all its tests, whatever overrides it.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated(hostname="")
        class TestIn:
            @pytest.mark.isolated(hostname="good")
            def test_overridden(self): pass

            def test_other(self): pass
        """
    )
    run_once(pytester, []).result.assert_outcomes(errors=2)


def test_synonym_is_named(pytester: pytest.Pytester) -> None:
    """
    The text uses the name of the marker that was typed.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.nsisolated("t1")
        def test_bad(): pass
        """
    )
    run = run_once(pytester, [])
    assert "nsisolated takes no positional arguments" in run.stdout
    assert "fix: write @pytest.mark.nsisolated(hostname='t1')" in run.stdout


def test_xfail_does_not_cover_it(pytester: pytest.Pytester) -> None:
    """
    A test that may not run is not an expected failure.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.xfail
        @pytest.mark.isolated(host="t1")
        def test_bad(): pass
        """
    )
    run_once(pytester, []).result.assert_outcomes(errors=1)


def test_skip_goes_first(pytester: pytest.Pytester) -> None:
    """
    A skipped test is skipped, as with any other error in its setup.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.skip
        @pytest.mark.isolated(host="t1")
        def test_bad(): pass
        """
    )
    run_once(pytester, []).result.assert_outcomes(skipped=1)


def test_broken_repr(pytester: pytest.Pytester) -> None:
    """
    A value whose repr() fails is refused too.
    """
    pytester.makepyfile(
        """
        import pytest

        class Broken:
            def __repr__(self): raise RuntimeError

        @pytest.mark.isolated(hostname=Broken())
        def test_keyword(): pass

        @pytest.mark.isolated(Broken())
        def test_position(): pass

        def test_other(): pass
        """
    )
    run_once(pytester, []).result.assert_outcomes(errors=2, passed=1)


NEAR = [
    ("isolate", "isolated"),
    ("isolatd", "isolated"),
    ("isoalted", "isolated"),
    ("izolated", "isolated"),
    ("iisolated", "isolated"),
    ("Isolated", "isolated"),
    ("isolation", "isolated"),
    ("isolated_", "isolated"),
    ("nsisolate", "nsisolated"),
    ("ns_isolated", "nsisolated"),
]


@pytest.mark.parametrize(("name", "meant"), NEAR, ids=[name for name, _ in NEAR])
def test_near_marker(pytester: pytest.Pytester, name: str, meant: str) -> None:
    """
    A marker that nobody registered, with a name close to ours, is an error of its test.
    """
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.{name}
        def test_bad(): pass

        def test_other(): pass
        """
    )
    run = run_once(pytester, [])
    run.result.assert_outcomes(errors=1, passed=1, warnings=1)
    assert run.reports[0]["longrepr"] == (
        f"test_it.py:3: cannot isolate test_bad: unknown marker @pytest.mark.{name}\n"
        f"why: no plugin and no ini option registers the marker {name}, and its "
        f"name is close to {meant}, which isolates a test\n"
        f"fix: write @pytest.mark.{meant}, or add the line {name} to the ini option "
        "markers"
    )


def test_near_marker_anywhere(pytester: pytest.Pytester) -> None:
    """
    It is one on a class, a module, a parameter or an item too, beside ours or not.
    """
    pytester.makeconftest(
        """
        def pytest_collection_modifyitems(items):
            for item in items:
                if "added" in item.name:
                    item.add_marker("isolatd")
        """
    )
    pytester.makepyfile(
        test_class="""
        import pytest

        @pytest.mark.isolate(hostname="t1")
        class TestIn:
            @pytest.mark.isolated
            def test_beside(self): pass

            def test_method(self): pass
        """,
        test_module="""
        import unittest
        import pytest

        pytestmark = [pytest.mark.isolatd]

        class TestCase(unittest.TestCase):
            def test_of_unittest(self): pass
        """,
        test_rest="""
        import pytest

        @pytest.mark.parametrize(
            "number", [1, pytest.param(2, marks=pytest.mark.isolate)]
        )
        def test_parameter(number): pass

        def test_added(): pass
        """,
    )
    run_once(pytester, []).result.assert_outcomes(errors=5, passed=1, warnings=4)


@pytest.mark.parametrize("switch", ["--nsisolate", "--no-nsisolate"])
def test_near_marker_whatever_the_options(
    pytester: pytest.Pytester, switch: str
) -> None:
    """
    It is an error too where all tests are isolated, or none: its keywords are lost.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolatd(hostname="t1")
        def test_bad(): pass
        """
    )
    run_once(pytester, [switch]).result.assert_outcomes(errors=1, warnings=1)


def test_others_marker_that_is_near(pytester: pytest.Pytester) -> None:
    """
    A marker that is registered in the ini file or by a plugin belongs to another.
    """
    pytester.makeini(
        """
        [pytest]
        markers =
            isolate: of the ini file
            isolated_by(name): of the ini file
        """
    )
    pytester.makeconftest(
        """
        def pytest_configure(config):
            config.addinivalue_line("markers", "isolation(level): of a plugin")
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolate
        def test_ini(): pass

        @pytest.mark.isolation("high")
        @pytest.mark.isolated_by("tenant")
        def test_plugin(): pass
        """
    )
    run_once(pytester, ["--strict-markers"]).result.assert_outcomes(passed=2)


def test_fix_of_near_marker(pytester: pytest.Pytester) -> None:
    """
    The second fix, typed as it says, makes the marker another's.
    """
    pytester.makeini("[pytest]\nmarkers =\n    slow: takes long\n    isolatd\n")
    pytester.makepyfile("import pytest\n@pytest.mark.isolatd\ndef test_it(): pass\n")
    run_once(pytester, []).result.assert_outcomes(passed=1)


def test_marker_that_is_not_near(pytester: pytest.Pytester) -> None:
    """
    An unknown marker with a word of its own is pytest's business alone.
    """
    names = ["violated", "insulated", "related", "is_isolated", "isolated_db", "slow"]
    pytester.makepyfile(
        "import pytest\n"
        + "".join(f"@pytest.mark.{name}\ndef test_{name}(): pass\n" for name in names)
    )
    run_once(pytester, []).result.assert_outcomes(passed=len(names))


SHARED = 'write scope="module", or leave fork= out'


def test_fork_without_scope(pytester: pytest.Pytester) -> None:
    """
    ``fork=True`` says how tests share a sandbox: where none is shared, it is an error.
    """
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.isolated(fork=True)
        def test_alone(): pass

        @pytest.mark.isolated(fork=True, scope="function")
        def test_own(): pass

        @pytest.mark.nsisolated(fork=True)
        class TestIn:
            @pytest.mark.isolated(hostname="t1")
            def test_method(self): pass

            @pytest.mark.isolated(fork=None)
            def test_unset(self): pass

        @pytest.mark.isolated(fork=False)
        def test_other(): pass
        """
    )
    run = run_once(pytester, [])
    run.result.assert_outcomes(errors=3, passed=2)
    why = (
        "fork=True is for tests that share a sandbox, and this test has its own: "
        'scope is "function"'
    )
    assert [one["longrepr"] for one in run.reports if one["outcome"] == "failed"] == [
        f"test_it.py:{line}: cannot isolate {name}: bad marker @pytest.mark.{marker}\n"
        f"why: {why}\n"
        f"fix: {SHARED}"
        for line, name, marker in [
            (3, "test_alone", "isolated"),
            (6, "test_own", "isolated"),
            (11, "test_method", "nsisolated"),
        ]
    ]


@pytest.mark.parametrize(
    "options",
    [
        ["--nsisolate-scope=module"],
        ["-o", "nsisolate_scope=module"],
        # Here the command line keeps tests from sharing for this once.
        ["-o", "nsisolate_scope=module", "--nsisolate-scope=function"],
    ],
    ids=" ".join,
)
def test_fork_with_scope_of_an_option(
    pytester: pytest.Pytester, options: list[str]
) -> None:
    """
    The scope that ``fork=True`` needs may come from an option.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated(fork=True)
        def test_it(): pass

        @pytest.mark.isolated(scope="function")
        def test_own(): pass
        """
    )
    run_once(pytester, options).result.assert_outcomes(passed=2)


def test_fork_with_scope_of_another_marker(pytester: pytest.Pytester) -> None:
    """
    It may come from another marker, and a closer one may take the test out of it.
    """
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.isolated(scope="module")

        @pytest.mark.isolated(fork=True)
        def test_farther(): pass

        @pytest.mark.isolated(fork=True)
        class TestIn:
            @pytest.mark.isolated(scope="class")
            def test_closer(self): pass

            @pytest.mark.isolated(scope="function")
            def test_taken_out(self): pass
        """
    )
    run_once(pytester, []).result.assert_outcomes(passed=3)


def test_fork_and_scope_of_a_hook(pytester: pytest.Pytester) -> None:
    """
    A hook may give the scope, and is named if it gives ``fork=True`` alone.
    """
    pytester.makeconftest(
        """
        import dataclasses

        def pytest_nsisolate_spec(item, spec):
            if item.name == "test_scoped":
                return dataclasses.replace(spec, scope="module")
            if item.name == "test_forked":
                return dataclasses.replace(spec, fork=True)
            return None
        """
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.isolated(fork=True)
        def test_scoped(): pass

        @pytest.mark.isolated
        def test_forked(): pass
        """
    )
    run = run_once(pytester, [])
    run.result.assert_outcomes(passed=1, errors=1)
    assert "cannot isolate test_forked: bad pytest_nsisolate_spec()\n" in run.stdout
    assert f"fix: {SHARED}" in run.stdout


SIZED = 'write overlay=["/etc"], or leave overlay_size= out'
NO_OVERLAY = "overlay_size= is for the directories of overlay=, and this {} has none"

WITHOUT_OVERLAY = """
import pytest

sized = pytest.mark.isolated(overlay_size="1M")
copied = pytest.mark.isolated(overlay=["."])

@sized
def test_alone(): pass

@copied
@pytest.mark.isolated(overlay_size="1M", overlay=[])
def test_beside(): pass

@pytest.mark.nsisolated(overlay_size="1M")
class TestIn:
    @pytest.mark.isolated(hostname="t1")
    def test_method(self): pass

    @pytest.mark.isolated(overlay_size=None)
    def test_unset(self): pass

    @copied
    def test_closer(self): pass

    @pytest.mark.isolated(files="report")
    def test_watched(self): pass

@copied
class TestCopied:
    @sized
    def test_farther(self): pass

    @pytest.mark.isolated(overlay_size="1M", overlay=False)
    def test_none_of_these(self): pass

@pytest.mark.isolated(overlay=["."], overlay_size="1M")
class TestTakenOut:
    @pytest.mark.isolated(overlay=[])
    def test_own(self): pass
"""


def test_size_without_overlay(pytester: pytest.Pytester) -> None:
    """
    ``overlay_size=`` with nothing to be copied is an error, not ignored.
    """
    pytester.makepyfile(test_it=WITHOUT_OVERLAY)
    run = run_once(pytester, [])
    run.result.assert_outcomes(errors=4, passed=5)
    assert [one["longrepr"] for one in run.reports if one["outcome"] == "failed"] == [
        f"test_it.py:{line}: cannot isolate {name}: bad marker @pytest.mark.{marker}\n"
        f"why: {NO_OVERLAY.format('test')}\n"
        f"fix: {SIZED}"
        for line, name, marker in [
            (6, "test_alone", "isolated"),
            (9, "test_beside", "isolated"),
            (15, "test_method", "nsisolated"),
            (32, "test_none_of_these", "isolated"),
        ]
    ]


@pytest.mark.parametrize(
    "options",
    [
        ["--nsisolate-overlay=."],
        ["-o", "nsisolate_overlay=."],
        ["--nsisolate-files=report"],
        # Here the command line takes it away for this once.
        ["-o", "nsisolate_overlay=.", "--nsisolate-overlay=false"],
        ["-o", "nsisolate_files=report", "--nsisolate-files=ignore"],
    ],
    ids=" ".join,
)
def test_size_with_overlay_of_an_option(
    pytester: pytest.Pytester, options: list[str]
) -> None:
    """
    The overlay that ``overlay_size=`` needs may come from an option.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated(overlay_size="1M")
        def test_it(): pass
        """
    )
    run_once(pytester, options).result.assert_outcomes(passed=1)


def test_size_of_a_hook_or_a_box(pytester: pytest.Pytester) -> None:
    """
    A hook and a call of the factory that give ``overlay_size=`` alone are named.
    """
    pytester.makeconftest(
        """
        import dataclasses

        def pytest_nsisolate_spec(item, spec):
            if item.name == "test_sized":
                return dataclasses.replace(spec, overlay_size="1M")
            if item.name == "test_copied":
                return dataclasses.replace(spec, overlay=["."])
            return None
        """
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.isolated(overlay_size="1M")
        def test_copied(): pass

        @pytest.mark.isolated
        def test_sized(): pass

        def test_box(sandbox_factory):
            sandbox_factory(overlay_size="1M", overlay=[])
        """
    )
    run = run_once(pytester, [])
    run.result.assert_outcomes(passed=1, errors=1, failed=1)
    for what, who in [
        ("cannot isolate test_sized: bad pytest_nsisolate_spec()", "test"),
        ("cannot make box 1 for test_box: bad argument of sandbox_factory()", "box"),
    ]:
        assert f"{what}\nwhy: {NO_OVERLAY.format(who)}\nfix: {SIZED}" in run.stdout
