"""
One reason for many refused tests: told once whole, and then referred to.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from ways import WITHOUT_NET

RunRefused = Callable[..., pytest.RunResult]

WHY = "why: this system forbids one kind of namespace (user.max_net_namespaces is 0)"
FIX = "fix: sudo sysctl -w user.max_net_namespaces=10000"
TITLE = "tests that could not be isolated"

TESTS = """
    import pytest

    @pytest.mark.isolated(net=True)
    @pytest.mark.parametrize("number", range(4))
    def test_many(number): pass

    @pytest.mark.isolated(net=True)
    def test_one(): pass

    def test_host(): pass
"""


@pytest.fixture
def run_refused(pytester: pytest.Pytester) -> RunRefused:
    """
    Run pytest where the kernel refuses network namespaces, and no other kind.
    """
    command = [*WITHOUT_NET, sys.executable, "-m", "pytest"]
    return lambda *args: pytester.run(*command, *args, timeout=60)


def parts_of(stdout: str) -> list[str]:
    """
    Return what comes before the summary of refusals in *stdout*, it, and the rest.
    """
    before, summary = re.split(f"=+ {TITLE} =+\n", stdout)
    own, rest = re.split("(?==+ .* =+)", summary, maxsplit=1)
    return [before, own, rest]


def test_reason_is_told_once(
    pytester: pytest.Pytester, run_refused: RunRefused
) -> None:
    """
    The first test has the three lines, each other one line, and the summary a count.
    """
    pytester.makepyfile(test_it=TESTS)
    result = run_refused("-p", "no:cacheprovider")
    result.assert_outcomes(errors=5, passed=1)
    before, summary, rest = parts_of(result.stdout.str())
    what = re.search(r"cannot isolate test_many\[0\]: (.* failed: ENOSPC)\n", before)
    assert what is not None
    whole = f"{what[0]}{WHY}\n{FIX}\n"
    assert before.count("why:") == 1
    assert "During handling" not in before
    assert whole in before
    for name in ["test_many[1]", "test_many[2]", "test_many[3]", "test_one"]:
        line = (
            f"cannot isolate {name}: {what[1]}; why and fix: see "
            "test_it.py::test_many[0]\n"
        )
        assert f"ERROR at setup of {name} " in before
        assert before.count(line) == 1
    assert summary == f"cannot isolate 5 tests: {what[1]}\n{WHY}\n{FIX}\n"
    assert rest.count(" - Failed: cannot isolate test_") == 5


def test_skipped_tests(pytester: pytest.Pytester, run_refused: RunRefused) -> None:
    """
    Skipped tests too have the reason once, and the summary has it without ``-rs``.
    """
    pytester.makepyfile(test_it=TESTS)
    skip = "--nsisolate-unavailable=skip"
    result = run_refused("-rs", skip)
    result.assert_outcomes(skipped=5, passed=1)
    _, summary, rest = parts_of(result.stdout.str())
    assert rest.count(WHY.replace("why", "; why")) == 1
    assert rest.count("; why and fix: see test_it.py::test_many[0]\n") == 4
    assert summary.startswith("cannot isolate 5 tests: ")
    assert summary.endswith(f"\n{WHY}\n{FIX}\n")
    assert parts_of(run_refused(skip).stdout.str())[1] == summary


def test_one_test(pytester: pytest.Pytester, run_refused: RunRefused) -> None:
    """
    A single refused test is counted too.
    """
    pytester.makepyfile(test_it=TESTS)
    result = run_refused("-k", "one or host")
    result.assert_outcomes(errors=1, passed=1)
    before, summary, _ = parts_of(result.stdout.str())
    assert before.count(f"{WHY}\n{FIX}\n") == 1
    assert summary.startswith("cannot isolate 1 test: ")


def test_reasons_that_differ(
    pytester: pytest.Pytester, run_refused: RunRefused
) -> None:
    """
    Each reason is told once: of another call, or of the same call with other facts.
    """
    pytester.makepyfile(
        test_it="""
        import os
        import pytest

        net = pytest.mark.isolated(net=True)
        hidden = pytest.mark.isolated(tmpfs=[os.getcwd()])

        @net
        def test_net(): pass

        @hidden
        def test_hidden(): pass

        @pytest.mark.isolated(net=True, user="root")
        def test_net_of_root(): pass

        @net
        def test_net_again(): pass

        @hidden
        def test_hidden_again(): pass

        @pytest.mark.isolated(nofile=3)
        def test_few(): pass

        @pytest.mark.isolated(nofile=4)
        def test_few_more(): pass

        @pytest.mark.isolated
        def test_fine(): pass
        """
    )
    result = run_refused()
    result.assert_outcomes(errors=7, passed=1)
    before, summary, _ = parts_of(result.stdout.str())
    assert before.count("why: ") == 4
    for name in ("net", "hidden"):
        assert f"why and fix: see test_it.py::test_{name}\n" in before
    counts = re.findall("^cannot isolate (.*?): ", summary, re.MULTILINE)
    assert counts == ["3 tests", "2 tests", "1 test", "1 test"]
    assert summary.count("why: ") == summary.count("fix: ") == 4


def test_machines_get_it_whole(
    pytester: pytest.Pytester, run_refused: RunRefused
) -> None:
    """
    In JUnit's XML, where each test is read alone, each has the whole reason.
    """
    pytester.makepyfile(test_it=TESTS)
    run_refused("--junitxml=junit.xml")
    errors = ET.parse(pytester.path / "junit.xml").findall(".//error")
    assert len(errors) == 5
    for error in errors:
        assert f"{WHY}\n{FIX}" in (error.text or "")
        assert WHY in error.attrib["message"]


def test_sessions_that_stop_or_go_on(
    pytester: pytest.Pytester, run_refused: RunRefused
) -> None:
    """
    Each session tells the reason with its own first test: after ``-x``, ``--lf``.
    """
    pytester.makepyfile(test_it=TESTS)
    run_refused("-x").assert_outcomes(errors=1)
    run_refused().assert_outcomes(errors=5, passed=1)
    last = run_refused("--lf", "-k", "not 0")
    last.assert_outcomes(errors=4, deselected=1)
    before, summary, _ = parts_of(last.stdout.str())
    assert before.count("why: ") == 1
    assert before.count("see test_it.py::test_many[1]\n") == 3
    assert summary.startswith("cannot isolate 4 tests: ")


def test_boxes(pytester: pytest.Pytester, run_refused: RunRefused) -> None:
    """
    A refused box has its reason told once too, also beside tests with the same one.
    """
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.fixture(scope="module")
        def shared(module_sandbox_factory):
            return module_sandbox_factory(net=True, hostname="s")

        def test_box(sandbox_factory): sandbox_factory(net=True, hostname="b")

        @pytest.mark.isolated
        def test_in_guest(sandbox_factory): sandbox_factory(net=True)

        def test_shared(shared): pass

        def test_shared_again(shared): pass

        @pytest.mark.isolated(net=True)
        def test_isolated(): pass

        @pytest.mark.xfail
        def test_xfail(sandbox_factory): sandbox_factory(net=True, hostname="x")

        def test_fine(sandbox_factory): sandbox_factory(hostname="b")
        """
    )

    result = run_refused("-p", "no:cacheprovider")
    skipped = run_refused("-rs", "--nsisolate-unavailable=skip")

    result.assert_outcomes(failed=3, errors=3, passed=1)
    before, summary, _ = parts_of(result.stdout.str())
    whole = re.search(
        rf"cannot make box b for test_box: (.*)\n{re.escape(WHY)}\n{re.escape(FIX)}\n",
        before,
    )
    assert whole is not None
    assert before.count("why: ") == 1
    for action in (
        "make box 1 for test_in_guest",
        "make box s for test_it.py",
        "isolate test_isolated",
        "make box x for test_xfail",
    ):
        line = f"cannot {action}: {whole[1]}; why and fix: see test_it.py::test_box\n"
        assert line in before
    what = f"cannot isolate 1 test and make boxes for 5 tests: {whole[1]}"
    assert summary == f"{what}\n{WHY}\n{FIX}\n"
    skipped.assert_outcomes(skipped=6, passed=1)
    _, summary, rest = parts_of(skipped.stdout.str())
    assert summary == f"{what}\n{WHY}\n{FIX}\n"
    assert rest.count(WHY.replace("why", "; why")) == 1


def test_nothing_refused(pytester: pytest.Pytester) -> None:
    """
    Where nothing is refused, the summary says nothing.
    """
    pytester.makepyfile("import pytest\n@pytest.mark.isolated\ndef test_it(): pass\n")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    assert "could not be isolated" not in result.stdout.str()
