"""
The hook `pytest_exception_interact`, with and without isolation.
"""

from __future__ import annotations

import pytest
from twins import Twins, run_once

#: Tells what the hook gets, from the memory of the process that prints the summary.
CONFTEST = """
    import traceback

    told = []

    def pytest_runtest_logreport(report):
        told.append(("report", report.nodeid, report.when, report.outcome, id(report)))

    def pytest_exception_interact(node, call, report):
        last = next(one for one in reversed(told) if one[0] == "report")
        value = call.excinfo.value
        told.append((
            "interact", node.nodeid, report.when, report.outcome, call.when,
            last[4] == id(report), call.excinfo.typename, call.excinfo.exconly(),
            [kind.__qualname__ for kind in call.excinfo.type.__mro__[-3:]],
            str(value), repr(value), value.args, getattr(value, "code", None),
            type(value.__cause__).__name__, getattr(value, "__notes__", None),
            call.start <= call.stop, call.duration >= 0,
            [
                (entry.path.name, entry.lineno, entry.name)
                for entry in call.excinfo.traceback[-2:]
            ],
            [
                one
                for one in traceback.format_exception(
                    call.excinfo.type, value, value.__traceback__
                )
                # The frames between pytest and a borrowed fixture differ.
                if not one.startswith("  File") or "test_each" in one
            ],
        ))

    def pytest_terminal_summary(terminalreporter):
        for one in told:
            rest = one if one[0] == "interact" else one[:-1]
            for part in rest:
                terminalreporter.line(str(part))
"""

TESTS = """
    import os
    import unittest
    import pytest

    class Refused(Exception):
        def __init__(self, code):
            self.code = code

        def __str__(self):
            return f"code {self.code}"

    class Odd(Exception):
        def __init__(self, one, *, two):
            super().__init__(one)
            self.two = two

        def __str__(self):
            return self.args[0] + str(self.two.stat())

    @pytest.fixture
    def bad_setup():
        raise KeyError("no key")

    @pytest.fixture
    def bad_teardown():
        yield
        raise OSError(2, "gone", "file")

    @pytest.fixture(scope="module")
    def wide_bad_setup():
        raise LookupError("wide")

    @pytest.fixture(scope="class")
    def class_bad_teardown():
        yield
        raise LookupError("class")

    def test_passes(): pass
    def test_assert():
        assert [1, 2] == [1, 3]
    def test_code(): raise Refused(7)
    def test_cause():
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise ValueError("later", 2) from error
    def test_context():
        try:
            1 / 0
        finally:
            os.stat("/nowhere")
    def test_local():
        class Local(AssertionError): pass
        raise Local("of the function")
    def test_bare(): raise RuntimeError
    def test_setup(bad_setup): pass
    def test_teardown(bad_teardown): pass
    def test_both(bad_teardown): assert 0
    def test_wide_setup(wide_bad_setup): pass
    def test_wide_again(wide_bad_setup): pass
    class TestWide:
        def test_first(self, class_bad_teardown): pass
        def test_both_teardowns(self, class_bad_teardown, bad_teardown): pass
    def test_fail(): pytest.fail("so")
    def test_skip(): pytest.skip("so")
    @pytest.mark.xfail
    def test_xfail(): assert 0
    @pytest.mark.xfail(strict=True)
    def test_xpass(): pass
    class TestUnit(unittest.TestCase):
        def test_unit(self): self.assertEqual(1, 2)
        def test_unit_skip(self): self.skipTest("so")
"""


#: Counts like the plugin of an editor: the first word on a test is its result.
COUNTING = """
    import pytest

    results = {}

    def tell(nodeid, result):
        results.setdefault(nodeid, []).append(result)

    def pytest_exception_interact(node, call, report):
        kind = "failure" if call.excinfo.typename == "AssertionError" else "error"
        tell(node.nodeid.split("::")[-1], (kind, report.when, call.when))
        assert str(call.excinfo.value) in report.longreprtext
        assert call.excinfo.traceback

    def pytest_terminal_summary(terminalreporter):
        for name, told in results.items():
            terminalreporter.line(f"{name}: {told}")
"""


def test_each_failure(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    The hook is called once for each failure, with what a plain run passes to it.
    """
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    run = twins("--tb=no", "-k", "not both_teardowns")
    assert run.stdout.count("\ninteract\n") == 15


def test_failures_that_no_guest_tells(pytester: pytest.Pytester) -> None:
    """
    A crash, a time-out, a refusal, a leak and a wrong marker are each told once.
    """
    pytester.makeconftest(COUNTING)
    pytester.makepyfile(
        """
        import os
        import signal
        import time
        import pytest

        @pytest.fixture
        def crash_in_setup(): os._exit(0)
        @pytest.fixture
        def crash_in_teardown():
            yield
            os.kill(os.getpid(), signal.SIGKILL)

        def test_crash(): os._exit(3)
        def test_setup(crash_in_setup): pass
        def test_teardown(crash_in_teardown): pass
        def test_both(crash_in_teardown): assert 0
        @pytest.mark.xfail
        def test_expected(): os._exit(3)
        @pytest.mark.isolated(timeout=2)
        def test_hangs(): time.sleep(600)
        @pytest.mark.isolated(nofile=5)
        def test_refused(): pass
        @pytest.mark.isolated(host="a")
        def test_wrong(): pass
        @pytest.mark.isolated(host="a")
        @pytest.mark.xfail
        def test_wrong_too(): pass
        @pytest.mark.isolated(leaks="fail")
        def test_leaks(): open("/dev/shm/left", "x").close()
        def test_next(): pass
        """
    )
    run = run_once(pytester, ["--nsisolate"])
    told = [line for line in run.stdout.splitlines() if line.startswith("test_")]
    assert [line for line in told if "[(" in line] == [
        "test_crash: [('error', 'call', 'call')]",
        "test_setup: [('error', 'setup', 'setup')]",
        "test_teardown: [('error', 'teardown', 'teardown')]",
        "test_both: [('failure', 'call', 'call'), ('error', 'teardown', 'teardown')]",
        "test_hangs: [('error', 'call', 'call')]",
        "test_refused: [('error', 'setup', 'setup')]",
        "test_wrong: [('error', 'setup', 'setup')]",
        "test_wrong_too: [('error', 'setup', 'setup')]",
        "test_leaks: [('error', 'teardown', 'teardown')]",
    ]


@pytest.mark.parametrize("option", ["-v", "--nsisolate-scope=module"])
def test_teardown_in_two_places(pytester: pytest.Pytester, option: str) -> None:
    """
    A teardown that fails inside and outside is told once, as it is reported once.
    """
    pytester.makeconftest(COUNTING)
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def wide():
            yield
            raise ValueError("wide")

        @pytest.fixture
        def narrow():
            yield
            raise ValueError("narrow")

        def test_one(wide, narrow): pass
        """
    )
    run = run_once(pytester, ["--nsisolate", option])
    assert "\ntest_one: [('error', 'teardown', 'teardown')]\n" in run.stdout


def test_setup_in_a_guest_that_lives(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A setup that fails outside, and again in the guest that tests share, is told once.
    """
    pytester.makeconftest(
        COUNTING
        + """
    def pytest_runtest_setup(item):
        if item.name == "test_three":
            raise ValueError("of the hook")
"""
    )
    pytester.makepyfile(
        """
        class TestA:
            def test_one(self): pass
            def test_two(self): assert 0
        class TestB:
            def test_three(self): pass
        """
    )
    run = twins("--nsisolate-scope=module")
    assert "\ntest_three: [('error', 'setup', 'setup')]\n" in run.stdout


def test_subtests(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Each failed subtest is told, with its own report.
    """
    if pytest.version_tuple < (9, 0):
        pytest.skip("pytest has subtests since 9.0")
    pytester.makeconftest(
        COUNTING
        + """
        tell("context", getattr(report, "context", None))
"""
    )
    pytester.makepyfile(
        """
        import unittest

        def test_subtests(subtests):
            for one in range(4):
                with subtests.test(one=one):
                    assert one % 2 == 0

        class TestUnit(unittest.TestCase):
            def test_unit(self):
                for one in range(2):
                    with self.subTest(one=one):
                        self.assertEqual(one, 0)
        """
    )
    twins()


def test_of_a_directory(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A conftest file is told of the failures in its directory alone.
    """
    for name in ("one", "two"):
        package = pytester.mkdir(name)
        (package / "conftest.py").write_text(
            "def pytest_exception_interact(node):\n"
            "    node.config.told.append((__file__[-15:], node.name))\n"
        )
        (package / f"test_in_{name}.py").write_text("def test_it(): assert 0\n")
    pytester.makeconftest(
        """
        def pytest_configure(config):
            config.told = []

        def pytest_terminal_summary(terminalreporter, config):
            terminalreporter.line(f"told: {config.told}")
        """
    )
    run = twins("--tb=no")
    assert run.stdout.count("conftest.py'") == 2


def test_hook_that_raises(pytester: pytest.Pytester) -> None:
    """
    A hook that looks for what is inside fails with three lines; the session goes on.
    """
    pytester.makeconftest(
        """
        def pytest_exception_interact(node):
            node.funcargs["driver"].save()
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def driver(): return object()

        def test_one(driver): assert 0
        def test_two(): pass
        """
    )
    run = run_once(pytester, ["--nsisolate", "-W", "error"])
    run.result.assert_outcomes(failed=1, passed=1, warnings=1)
    run.result.stdout.fnmatch_lines(
        [
            "*HookWarning: pytest_exception_interact() failed for test_one: KeyError*",
            "*why: */conftest.py:2 raised it in the supervisor, where nothing is that*",
            "*fix: do this in pytest_runtest_makereport(), which runs where the test*",
        ]
    )
