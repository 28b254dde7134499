"""
Tracebacks: with the plugin, and in isolated tests, the same as without it.
"""

from __future__ import annotations

import difflib
import re

import pytest
from twins import WITHOUT, normal

PLAIN, ISOLATED = ("-p", "no:nsisolate"), ("--nsisolate",)

#: Arguments of pluggy's functions, which list all plugins.
_PLUGINS = re.compile("(methods|hook_impls) = ")

#: For each scope: fixtures that fail in setup, in teardown, and in one another.
FIXTURES = """
    import logging
    import warnings

    import pytest

    def fail(text):
        raise OSError(text)

    @pytest.fixture(scope="SCOPE")
    def setup():
        fail("setup")

    @pytest.fixture(scope="SCOPE")
    def chained(request):
        try:
            request.getfixturevalue("setup")
        except OSError as error:
            logging.getLogger().exception("caught")
            try:
                fail("the context")
            except OSError:
                raise ValueError("the effect") from error

    @pytest.fixture(scope="SCOPE", params=["p"])
    def ends(request):
        request.addfinalizer(lambda: fail(request.param))
        for level in range(1, 10):
            warnings.warn(f"{level}", stacklevel=level)
        yield
        fail("teardown")

    class TestIn:
        def test_setup(self, setup): pass
        def test_again(self, setup): pass
        def test_chained(self, chained): pass
        def test_in_call(self, request): request.getfixturevalue("chained")
        def test_ends(self, ends): pass
        @pytest.mark.xfail(raises=ValueError)
        def test_xfail(self, setup): pass
"""

CALLS = """
    import sys
    import warnings

    import pytest

    def fail():
        raise OSError("in call")

    def test_assert(): assert [1] == [2]

    def test_chain():
        try:
            fail()
        except OSError as error:
            raise ValueError("the effect") from error

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="new in 3.11")
    def test_group():
        try:
            fail()
        except OSError as error:
            raise ExceptionGroup("of one", [error])

    def test_unprinted(): pytest.fail("said", pytrace=False)

    @pytest.mark.xfail(raises=ValueError)
    def test_other_error(): fail()

    def test_warns():
        for level in range(1, 10):
            warnings.warn(str(level), stacklevel=level)

    def test_hook_setup(): pass
    def test_hook_call(): pass
    def test_hook_teardown(): pass
    def test_wrapped_call(): fail()
    def test_own_fixture_setup(refused): pass
"""

XUNIT = """
    def setup_module():
        raise OSError("setup_module")

    class TestMethods:
        def test_it(self): pass
"""

XUNIT_END = """
    def teardown_module():
        raise OSError("teardown_module")

    def test_it(): pass
"""

CLASSES = """
    import unittest

    class TestEnds:
        @classmethod
        def teardown_class(cls): raise OSError("teardown_class")
        def setup_method(self): raise OSError("setup_method")
        def teardown_method(self): raise OSError("teardown_method")
        def test_it(self): pass

    class CaseClass(unittest.TestCase):
        @classmethod
        def setUpClass(cls): raise OSError("setUpClass")
        def test_it(self): pass

    class CaseEnds(unittest.TestCase):
        @classmethod
        def tearDownClass(cls): raise OSError("tearDownClass")
        def setUp(self): raise OSError("setUp")
        def test_it(self): pass

    class CaseTearDown(unittest.TestCase):
        def tearDown(self): raise OSError("tearDown")
        def test_it(self): self.fail("said")
        def test_cleanup(self): self.addCleanup(lambda: 1 / 0)
"""

DOCTESTS = """
    '''
    >>> 1 + 1
    3
    '''
    def function():
        '''
        >>> raise OSError("in a doctest")
        '''
"""

CONFTEST = """
    import pytest

    def fail(*text):
        raise OSError(*text)

    @pytest.fixture(scope="session")
    def refused(): pass

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(fixturedef, request):
        if fixturedef.argname == "refused":
            fail("own pytest_fixture_setup")

    def pytest_runtest_setup(item):
        if item.name == "test_hook_setup":
            fail("own pytest_runtest_setup")

    def pytest_runtest_call(item):
        if item.name == "test_hook_call":
            fail("own pytest_runtest_call")

    # Last, for otherwise nothing is torn down.
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(item):
        if item.name == "test_hook_teardown":
            fail("own pytest_runtest_teardown")

    class Wrapper:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(self, item):
            try:
                return (yield)
            except OSError:
                if item.name == "test_wrapped_call":
                    fail("a wrapper")
                raise

    def pytest_configure(config):
        config.pluginmanager.register(Wrapper())

    def pytest_collect_file(parent, file_path):
        if file_path.suffix == ".step":
            return Steps.from_parent(parent, path=file_path)

    class Steps(pytest.File):
        def setup(self): fail("setup of a file")
        def collect(self): yield Step.from_parent(self, name="one")

    class Step(pytest.Item):
        def runtest(self): pass
"""

#: Records tracebacks while they are on their way.
SEEN = """
    import traceback
    import pytest

    def seen():
        try:
            return (yield)
        except Exception:
            print(traceback.format_exc())
            raise

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(): return (yield from seen())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(): return (yield from seen())

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(): return (yield from seen())
"""


def _make(pytester: pytest.Pytester, *scopes: str) -> None:
    """
    Write all tests, with fixtures of these *scopes*.
    """
    pytester.makeconftest(CONFTEST)
    fixtures = {f"test_{one}": FIXTURES.replace("SCOPE", one) for one in scopes}
    pytester.makepyfile(
        **fixtures,
        test_calls=CALLS,
        test_xunit=XUNIT,
        test_xunit_end=XUNIT_END,
        test_classes=CLASSES,
        test_doctests=DOCTESTS,
    )
    pytester.makefile(".step", own="")


def _run(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    """
    Return the lines of a run, without a header and what differs from run to run.
    """
    result = pytester.runpytest_subprocess(
        *WITHOUT, "--no-header", "-ra", *arguments, timeout=240
    )
    lines = normal(f"{result.stdout}\n{result.stderr}")
    return [line for line in lines if not _PLUGINS.match(line)]


def _expect_same(lines: list[str], plain: list[str]) -> None:
    """
    Expect that the two runs have printed the same *lines*.
    """
    differences = "\n".join(difflib.unified_diff(plain, lines, "plain", lineterm=""))
    assert not differences, differences


@pytest.mark.parametrize("style", ["auto", "short", "line", "native"])
def test_every_style(pytester: pytest.Pytester, style: str) -> None:
    """
    Whatever fails, installed and isolated runs print what a run without it does.
    """
    # This style shows all there is, the others less: one scope is enough for them.
    more = ("function", "class", "module") if style == "native" else ()
    _make(pytester, "session", *more)
    arguments = ["--doctest-modules", f"--tb={style}"]

    plain = _run(pytester, *PLAIN, *arguments)

    _expect_same(_run(pytester, *arguments), plain)
    _expect_same(_run(pytester, *ISOLATED, *arguments), plain)


def test_full_trace(pytester: pytest.Pytester) -> None:
    """
    With ``--full-trace`` all functions of a traceback are those of a plain run.
    """
    _make(pytester, "session")
    place = re.compile(r"\S+\.py:\d+: ")

    plain, *others = (
        list(filter(place.match, _run(pytester, *arguments, "--full-trace")))
        for arguments in (PLAIN, (), ISOLATED)
    )

    assert any("pluggy" in line for line in plain)
    for one in others:
        _expect_same(one, plain)


def test_on_the_way(pytester: pytest.Pytester) -> None:
    """
    A wrapper around a hook sees the same frames of an error, for none is a wrapper.
    """
    _make(pytester, "function", "session")
    pytester.makepyfile(seen=SEEN)
    pytester.syspathinsert()
    arguments = ["-p", "seen", "--tb=line", "-rE", "--doctest-modules", "-s"]

    plain = _run(pytester, *PLAIN, *arguments)

    assert any("Traceback" in line for line in plain)
    _expect_same(_run(pytester, *arguments), plain)


_TEST = "def test_it(): pass"

#: What ends a session, or keeps it from running a test.
ENDS = {
    "collection": {
        "test_import": "import no_such_module",
        "test_raises": "def fail(): raise OSError('imported')\nfail()",
        "test_syntax": "def (",
        "test_mark": "import pytest\n@pytest.mark.skipif(1 / 0)\ndef test_it(): 0",
    },
    "conftest": {"conftest": "raise OSError('conftest')", "test_it": _TEST},
    "hook of collection": {
        "conftest": "def pytest_pycollect_makeitem(): raise OSError('hook')",
        "test_it": _TEST,
    },
    "interrupted collection": {"test_it": "raise KeyboardInterrupt"},
    "interrupted test": {"test_it": "def test_it():\n    raise KeyboardInterrupt"},
    "interrupted fixture": {
        "test_it": """
            import pytest
            @pytest.fixture(scope="session")
            def wide(): raise KeyboardInterrupt
            def test_it(wide): pass
        """
    },
    "exit": {
        "test_it": """
            import pytest
            @pytest.fixture(scope="session")
            def wide(): pytest.exit("now")
            def test_it(wide): pass
        """
    },
    "hook for reports": {
        "conftest": "def pytest_runtest_logreport(): raise OSError('hook')",
        "test_it": _TEST,
    },
    "hook of the protocol": {
        "conftest": "def pytest_runtest_logstart(): raise OSError('hook')",
        "test_it": _TEST,
    },
    "hook of the end": {
        "conftest": "def pytest_sessionfinish(): raise OSError('hook')",
        "test_it": _TEST,
    },
}


@pytest.mark.parametrize("end", ENDS)
def test_end_of_session(pytester: pytest.Pytester, end: str) -> None:
    """
    What ends a session reads as without the plugin, and shows no frame of it isolated.
    """
    pytester.makepyfile(**ENDS[end])

    plain = _run(pytester, *PLAIN)

    assert any("Error" in line or "!!!!" in line for line in plain)
    _expect_same(_run(pytester), plain)
    lines = _run(pytester, *ISOLATED)
    assert not [line for line in lines if "pytest_nsisolate" in line]
    if not any("INTERNALERROR" in line for line in plain):
        _expect_same(lines, plain)


def test_interrupt_in_full(pytester: pytest.Pytester) -> None:
    """
    The traceback of an interrupt has no frame of the plugin, isolated or not.
    """
    pytester.makepyfile(ENDS["interrupted test"]["test_it"])
    place = re.compile(r"\S+\.py:\d+: ")

    plain, installed, isolated = (
        list(filter(place.match, _run(pytester, *arguments, "--full-trace")))
        for arguments in (PLAIN, (), ISOLATED)
    )

    assert len(plain) > 1
    _expect_same(installed, plain)
    assert isolated[-1] == plain[-1]
    assert not [line for line in isolated if "pytest_nsisolate" in line]
