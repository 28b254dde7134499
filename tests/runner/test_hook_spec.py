"""
The hook `pytest_nsisolate_spec`, which changes what a test asks for.
"""

from __future__ import annotations

import pytest
from ways import RunPytest

ALTERS = """
import dataclasses
from pytest_nsisolate.model.spec import Spec

def pytest_nsisolate_spec(item, spec):
    with open("story", "a") as stream:
        print(item.name, spec and spec.hostname, file=stream)
    if "is_isolated" in item.name:
        return Spec(hostname="of-hook")
    if spec is not None and spec.hostname is None:
        return dataclasses.replace(spec, hostname="of-hook")
"""

SEES = """
import socket
import pytest

@pytest.mark.isolated
def test_is_altered(): assert socket.gethostname() == "of-hook"

@pytest.mark.isolated(hostname="own")
def test_has_its_own(): assert socket.gethostname() == "own"

def test_is_isolated(): assert socket.gethostname() == "of-hook"

def test_on_host(): assert socket.gethostname() not in {"of-hook", "own"}
"""


def test_altered(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A test gets the spec that the hook returns, and an unmarked test is isolated by it.
    """
    pytester.makeconftest(ALTERS)
    pytester.makepyfile(test_sees=SEES)

    run_both_ways("test_sees.py").assert_outcomes(passed=4)

    assert (pytester.path / "story").read_text().splitlines() == [
        "test_is_altered None",
        "test_has_its_own own",
        "test_is_isolated None",
        "test_on_host None",
    ]


SEVERAL = {
    "adds_network": "dataclasses.replace(spec, net=True, hostname='of-first')",
    "adds_directory": "dataclasses.replace(spec, tmpfs=['/run'], hostname='of-last')",
    "adds_nothing": "spec",
}


def test_of_several_plugins(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Changes by several plugins are combined, and in a conflict the first called wins.
    """
    for name, value in SEVERAL.items():
        source = f"def pytest_nsisolate_spec(spec):\n    return {value}\n"
        pytester.makepyfile(**{name: f"import dataclasses\n{source}"})
    pytester.syspathinsert()
    pytester.makepyfile(
        test_several="""
        import os
        import socket
        import pytest

        @pytest.mark.isolated(env={"INSIDE": "yes"})
        def test_all(isolation):
            assert "net" in isolation.namespaces
            assert os.listdir("/run") == []
            assert os.environ["INSIDE"] == "yes"
            assert socket.gethostname() == "of-last"
        """
    )
    plugins = [part for name in SEVERAL for part in ("-p", name)]

    run_both_ways(*plugins, "test_several.py").assert_outcomes(passed=1)


def test_one_of_several_raises(pytester: pytest.Pytester) -> None:
    """
    A plugin that raises causes an error, whatever another plugin returned.
    """
    returns = "import dataclasses\ndef pytest_nsisolate_spec(spec):\n    return spec\n"
    raises = "def pytest_nsisolate_spec(spec):\n    raise KeyError('so')\n"
    pytester.makepyfile(returns=returns, raises=raises)
    pytester.syspathinsert()
    pytester.makepyfile("import pytest\n@pytest.mark.isolated\ndef test_one(): pass")

    result = pytester.runpytest_subprocess("-p", "raises", "-p", "returns", timeout=60)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["why: it raised KeyError: 'so' in *raises.py:2"])


def test_not_asked_without_isolation(pytester: pytest.Pytester) -> None:
    """
    With ``--no-nsisolate`` no test is isolated and the hook is not called.
    """
    pytester.makeconftest("def pytest_nsisolate_spec(): raise KeyError")
    pytester.makepyfile("def test_one(): pass")

    result = pytester.runpytest_subprocess("--no-nsisolate", timeout=60)

    result.assert_outcomes(passed=1)


def test_conftest_of_a_directory(pytester: pytest.Pytester) -> None:
    """
    Hooks in a conftest file apply only to tests in its directory.
    """
    inner = pytester.mkdir("inner")
    (inner / "conftest.py").write_text(
        "import socket\n"
        "from pytest_nsisolate.model.spec import Spec\n"
        "def pytest_nsisolate_spec(item):\n    return Spec(hostname=item.name[5:])\n"
        "def pytest_nsisolate_enter(item, spec):\n"
        "    item.seen = [spec.hostname, socket.gethostname()]\n"
        "def pytest_nsisolate_ended(item):\n    print('told of', item.name)\n"
    )
    (inner / "test_inner.py").write_text(
        "def test_inner(request):\n    assert request.node.seen == ['inner'] * 2\n"
    )
    pytester.makepyfile(
        test_outer="""
        import pytest

        @pytest.mark.isolated
        def test_outer(request): assert not hasattr(request.node, "seen")
        def test_on_host(isolation=None): assert isolation is None
        """
    )
    result = pytester.runpytest_subprocess("-s", timeout=60)

    result.assert_outcomes(passed=3)
    assert str(result.stdout).count("told of") == 1
    result.stdout.fnmatch_lines(["*told of test_inner*"])


WRONG = [
    (
        "return 42",
        "it returned 42, which is neither a Spec nor None",
        'return dataclasses.replace(spec, hostname="t1"), or None',
    ),
    (
        'return dataclasses.replace(spec, hostname="")',
        "hostname is empty",
        'write hostname="t1", or leave hostname= out',
    ),
    (
        'raise KeyError("so")',
        "it raised KeyError: 'so' in *conftest.py:4",
        "correct *conftest.py:4",
    ),
    (
        'pytest.skip("so")',
        "it raised Skipped: so in *",
        "correct *",
    ),
]


@pytest.mark.parametrize(("line", "why", "fix"), WRONG)
def test_wrong(pytester: pytest.Pytester, line: str, why: str, fix: str) -> None:
    """
    A wrong answer is an error of that test, in three lines, even if marked xfail.
    """
    pytester.makeconftest(
        "import dataclasses, pytest\n"
        "def pytest_nsisolate_spec(item, spec):\n"
        "    if spec is not None:\n"
        f"        {line}\n"
    )
    pytester.makepyfile(
        test_wrong="""
        import pytest

        def test_on_host(): pass
        @pytest.mark.xfail
        @pytest.mark.isolated
        def test_isolated(): pass
        def test_after(): pass
        """
    )
    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "test_wrong.py:4: cannot isolate test_isolated: *_nsisolate_spec()",
            f"why: {why}",
            f"fix: {fix}",
        ]
    )


def test_time_limit_of_hook(pytester: pytest.Pytester) -> None:
    """
    The text about a test that timed out says that a hook set the limit.
    """
    pytester.makeconftest(
        """
        from pytest_nsisolate.model.spec import Spec

        def pytest_nsisolate_spec(): return Spec(timeout=0.3)
        """
    )
    pytester.makepyfile("def test_one():\n    import time; time.sleep(1000)")

    result = pytester.runpytest_subprocess(timeout=60)

    result.stdout.fnmatch_lines(
        ["*why: pytest_nsisolate_spec() of a plugin says timeout=0.3"]
    )
