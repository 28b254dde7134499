"""
Options of pytest that select, order and show tests, with and without isolation.
"""

from __future__ import annotations

import pytest
from sources import FEW
from twins import Twins, run_once

FIXTURES = """
    import pytest

    @pytest.fixture(scope="session")
    def session(): yield

    @pytest.fixture(scope="module", params=["a", "b"])
    def module(session): yield

    @pytest.fixture(scope="class")
    def of_class(): yield

    @pytest.fixture(autouse=True)
    def always(): yield

    @pytest.fixture(params=[1, 2], ids="number {}".format)
    def narrow(always, tmp_path): return 1

    @pytest.fixture
    def overridden(): return "wide"

    @pytest.fixture
    def broken(session): raise KeyError

    @pytest.fixture
    def late(request): request.getfixturevalue("overridden")

    def setup_module(): pass

    def teardown_function(function): pass

    class TestIt:
        @pytest.fixture
        def overridden(self, overridden): yield "narrow"

        def setup_method(self): pass

        def test_one(self, of_class, module, narrow): pass

        def test_two(self, overridden): pass

    def test_three(of_class, session): pass

    def test_four(broken): pass

    def test_five(late, monkeypatch): print("printed")

    @pytest.mark.skip
    def test_six(session): pass

    @pytest.mark.usefixtures("module")
    def test_seven(): assert 0
"""


SHOWN_TWICE = pytest.mark.xfail(
    pytest.version_tuple < (8, 2),
    reason="before pytest 8.2 the end of a borrowed fixture is shown inside as well",
)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--setup-show",), marks=SHOWN_TWICE),
        pytest.param(("--setup-plan",), marks=SHOWN_TWICE),
        ("--collect-only", "-q"),
    ],
    ids=" ".join,
)
def test_fixtures_shown(
    pytester: pytest.Pytester, twins: Twins, arguments: tuple[str, ...]
) -> None:
    """
    Each fixture is shown once when it is set up and once when it is torn down.
    """
    pytester.makepyfile(FIXTURES)
    # Apart, since a guest cannot write to the memory of the inner pytest.
    twins(*arguments, apart="--setup" in arguments[0])


@pytest.mark.parametrize(
    "arguments",
    [
        ("-q", "--deselect", "test_few.py::test_fail"),
        ("test_few.py::TestIn", "test_few.py::test_pass", "-rP"),
        ("-m", "xfail", "-o", "xfail_strict=true"),
        ("--no-header", "--no-summary", "--durations=3", "--durations-min=10"),
        ("-o", "console_output_style=progress-even-when-capture-no", "-s"),
    ],
    ids=" ".join,
)
def test_chosen_and_shown(
    pytester: pytest.Pytester, twins: Twins, arguments: tuple[str, ...]
) -> None:
    """
    The same tests run and are shown in the same way.
    """
    pytester.makepyfile(test_few=FEW)
    twins(*arguments, apart="-s" in arguments)


@pytest.mark.parametrize(
    "plugins",
    [
        ("logging", "tmpdir", "legacypath"),
        ("skipping", "monkeypatch"),
        ("unraisableexception", "threadexception", "recwarn"),
        ("junitxml", "stepwise", "setuponly", "setupplan", "doctest", "pastebin"),
        ("subtests", "unittest"),
        # Without these plugins, output and warnings reach this process.
        ("warnings", "faulthandler"),
        ("capture", "debugging"),
    ],
    ids=" ".join,
)
def test_without_plugins(
    pytester: pytest.Pytester, twins: Twins, plugins: tuple[str, ...]
) -> None:
    """
    Each of pytest's own plugins can be disabled.
    """
    pytester.makepyfile(test_few=FEW)
    left_out = [argument for one in plugins for argument in ("-p", f"no:{one}")]
    twins(*left_out, apart=bool({"capture", "warnings"} & {*plugins}))


def test_without_a_terminal(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Without a terminal reporter nothing is shown, but everything is reported.
    """
    pytester.makepyfile(test_few=FEW)
    run = twins("-p", "no:terminal", "-p", "no:logging", "-p", "no:capture", apart=True)
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED


def test_no_tests(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A session without tests ends as usual.
    """
    pytester.makepyfile("")
    assert twins().result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_arguments_seen_by_a_test(pytester: pytest.Pytester) -> None:
    """
    A test sees the command line and options of the session.
    """
    pytester.makepyfile(
        """
        import sys

        def test_one(request, pytestconfig):
            assert pytestconfig is request.config
            assert "--nsisolate" in pytestconfig.invocation_params.args
            assert pytestconfig.getoption("verbose") == 2
            assert pytestconfig.rootpath == pytestconfig.invocation_params.dir
            assert request.session.testscollected == 1
            assert request.session.testsfailed == 0
        """
    )
    run_once(pytester, ["--nsisolate", "-vv"]).result.assert_outcomes(passed=1)
