"""
Database, statistics, seeds and failure messages of Hypothesis.
"""

from __future__ import annotations

import re

import pytest
from twins import Run, WithPlugins, differing, run_once

pytestmark = pytest.mark.about("hypothesis")

SOURCE = """
    import time
    import pytest
    from hypothesis import HealthCheck, event, given, note, settings, target
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

    settings.register_profile(
        "quick",
        max_examples=20,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("quick")

    @settings(print_blob=True)
    @given(st.integers())
    def test_fails(n):
        note(f"n is {n}")
        event("even" if n % 2 == 0 else "odd")
        assert n < 100

    @given(st.integers(0, 10))
    def test_passes(n):
        event("seen")
        target(float(n))

    class Machine(RuleBasedStateMachine):
        n = 0

        @rule(by=st.integers(1, 3))
        def add(self, by):
            self.n += by

        @invariant()
        def is_small(self):
            assert self.n < 3

    TestMachine = Machine.TestCase

    @pytest.fixture
    def narrow():
        return 1

    @given(st.integers())
    def test_health_check(narrow, n):
        pass

    @given(st.lists(st.integers()))
    def test_several_failures(numbers):
        if len(numbers) == 1:
            raise ValueError("one")
        assert len(numbers) < 2
"""


def test_failures(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    Falsifying examples, notes, blobs and health checks look the same.
    """
    pytester.makepyfile(SOURCE)
    run = with_plugins("hypothesispytest")("--hypothesis-seed=1", "-v")
    run.result.assert_outcomes(passed=1, failed=4)
    assert "@reproduce_failure(" in run.stdout
    assert "n is 100" in run.stdout


def _run(pytester: pytest.Pytester, switch: str, *arguments: str) -> Run:
    """
    Run with Hypothesis and no other plugin.
    """
    plugins = ("-p", "nsisolate", "-p", "hypothesispytest")
    return run_once(pytester, [switch, *plugins, *arguments], apart=True)


def test_statistics(pytester: pytest.Pytester) -> None:
    """
    Apart from times, the table of statistics lists the same examples.
    """
    pytester.makepyfile(SOURCE)
    shown = []
    for switch in ("--no-nsisolate", "--nsisolate"):
        arguments = ("--hypothesis-show-statistics", "--hypothesis-seed=1")
        run = _run(pytester, switch, *arguments)
        _, _, table = run.stdout.partition("Hypothesis Statistics")
        table = re.sub(r"\(\d+\.\d+ seconds\)|runtimes: .*", "", table)
        shown.append(table.partition("short test summary")[0].splitlines())
    assert not differing("line", shown[1], shown[0])
    assert any(" passing" in line for line in shown[1])


def test_deadline(pytester: pytest.Pytester) -> None:
    """
    A deadline that is exceeded fails the test.
    """
    pytester.makepyfile(
        """
        import time
        from hypothesis import given, settings, strategies as st

        @settings(deadline=1, max_examples=2, database=None)
        @given(st.booleans())
        def test_slow(flag):
            time.sleep(0.02)
        """
    )
    runs = [_run(pytester, way) for way in ("--no-nsisolate", "--nsisolate")]
    assert runs[0].outcomes == runs[1].outcomes
    assert all("exceeds the deadline of 1.00ms" in run.stdout for run in runs)


DATABASE = """
    from hypothesis import HealthCheck, given, settings, strategies as st

    # Where the variable CI is set it would have none.
    settings.load_profile("default")

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers())
    def test_it(n):
        print("tried", n)
        assert n < 100
"""


def _tried(run: Run) -> list[str]:
    """
    Return the examples that a run has tried.
    """
    return re.findall(r"^tried (\S+)$", run.stdout, re.MULTILINE)


COPIED = [
    ["--nsisolate-overlay=."],
    ["--nsisolate-overlay=true"],
    ["--nsisolate-readonly=."],
]


@pytest.mark.parametrize(
    "options",
    [["--no-nsisolate"], *(["--nsisolate", *one] for one in [[], *COPIED])],
    ids=" ".join,
)
def test_database(pytester: pytest.Pytester, options: list[str]) -> None:
    """
    The next session first tries the examples that failed in this one.

    Also where tests write to copies or not at all: the database is that of all.
    """
    pytester.makepyfile(DATABASE)
    found = []
    for _ in range(2):
        run = _run(pytester, *options)
        assert "n=100" in run.stdout
        found.append(_tried(run))
    assert [numbers[0] == "100" for numbers in found] == [False, True]
    assert (pytester.path / ".hypothesis" / ".gitignore").exists()


@pytest.mark.parametrize("database", ["None", "InMemoryExampleDatabase()", "Odd()"])
def test_other_database(pytester: pytest.Pytester, database: str) -> None:
    """
    A database that is no directory is left alone.
    """
    pytester.makepyfile(
        f"""
        from hypothesis import given, settings, strategies as st
        from hypothesis.database import ExampleDatabase, InMemoryExampleDatabase

        class Odd(ExampleDatabase):
            path = 5
            save = delete = fetch = None

        settings.register_profile("other", database={database})
        settings.load_profile("other")

        def test_it(): pass
        """
    )
    _run(pytester, "--nsisolate", "--nsisolate-overlay=.").result.assert_outcomes(
        passed=1
    )
    assert not (pytester.path / ".hypothesis" / "examples").exists()


def test_database_elsewhere(pytester: pytest.Pytester) -> None:
    """
    A database that the default settings name is kept, too.
    """
    source = DATABASE.replace(
        'settings.load_profile("default")',
        "from hypothesis.database import DirectoryBasedExampleDatabase as Database\n"
        '    settings.register_profile("other", database=Database("found/here"))\n'
        '    settings.load_profile("other")',
    )
    pytester.makepyfile(source)
    _run(pytester, "--nsisolate", "--nsisolate-overlay=true")
    assert [*(pytester.path / "found" / "here").rglob("*")]


DERANDOMIZED = """
    from pathlib import Path
    from hypothesis import HealthCheck, given, settings, strategies as st

    @settings(
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.integers())
    def test_it(n):
        with Path("tried").open("a") as stream:
            print(n, file=stream)
        assert n < 100
"""


def test_derandomized(pytester: pytest.Pytester) -> None:
    """
    A derandomised test tries the same examples as without isolation.
    """
    pytester.makepyfile(DERANDOMIZED)
    tried = pytester.path / "tried"
    found = []
    for way in ("--no-nsisolate", "--nsisolate"):
        _run(pytester, way)
        found.append(tried.read_text())
        tried.unlink()
    assert found[0] == found[1]
