"""
Bad markers: an error of their own test, with file and line, while other tests run.
"""

from __future__ import annotations

import pytest
from twins import run_once

WORDS = (
    "takes the keywords hostname, domainname, user, proc, timeout, leaks, memory, cpu, "
    "nofile, nproc, tmpfs, env, clear_env, net, cgroup, time, scope, "
    "fork"
)
NET = "write net=True, or leave net= out"
LEAVE = 'write hostname="t1", or leave hostname= out'
BAD = [
    (
        "hostnme='t1'",
        f"isolated {WORDS}, not hostnme",
        "write hostname= instead of hostnme=",
    ),
    ("zzz=1", f"isolated {WORDS}, not zzz", "leave zzz= out"),
    (
        "'t1'",
        f"isolated {WORDS} and no positional arguments, but got 't1'",
        "write @pytest.mark.isolated(hostname='t1')",
    ),
    (
        "'t1', 'lab'",
        f"isolated {WORDS} and no positional arguments, but got 't1', 'lab'",
        "write @pytest.mark.isolated(hostname=…)",
    ),
    (
        "'t1', hostname='t2'",
        f"isolated {WORDS} and no positional arguments, but got 't1'",
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
    assert f"nsisolated {WORDS} and no positional arguments" in run.stdout
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
