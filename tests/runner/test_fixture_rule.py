"""
The fixture rule: fixtures wider than the test live outside, the others inside.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from stories import STORY, tell_twice
from twins import differing, run_once


@pytest.mark.parametrize("autouse", [False, True])
def test_scopes(pytester: pytest.Pytester, story: Path, autouse: bool) -> None:
    """
    Wide fixtures are set up and finalised once, outside, at the usual moment.
    """
    scopes = ("session", "package", "module", "class", "function")
    made = "\n".join(
        f"    {scope}_ = fixture({scope!r}, autouse={autouse})" for scope in scopes
    )
    names = "session, package, module, function"
    wanted = "" if autouse else f", {names}"
    pytester.makeconftest(STORY + made)
    source = f"""
    import pytest
    from conftest import tell

    @pytest.mark.usefixtures("class")
    class TestIn:
        def test_one(self{wanted}): tell("one")
        def test_two(self{wanted}): tell("two")

    def test_three({wanted[2:]}): tell("three")
    """
    pytester.makepyfile(test_a=source, test_b=source)
    told = tell_twice(pytester, story)
    inside = {line.split()[0] for line in told if line.endswith("inside")}
    # For a function outside any class, a class fixture is as narrow as the test.
    narrow = {"+class", "-class"} if autouse else set()
    assert inside == {"one", "two", "three", "+function", "-function"} | narrow
    for scope in ("session", "package"):
        assert told.count(f"+{scope} outside") == told.count(f"-{scope} outside") == 1
    assert told.count("+module outside") == told.count("-module outside") == 2


def test_class_scope_without_class(pytester: pytest.Pytester, story: Path) -> None:
    """
    A class fixture is not finalised before the test outside a class that uses it.
    """
    pytester.makepyfile(
        STORY
        + """
    class_ = fixture("class")

    @pytest.mark.usefixtures("class")
    def test_one(): tell("one")
"""
    )
    told = tell_twice(pytester, story)
    assert told == ["+class inside", "one inside", "-class inside"]


def test_x_unit_style(pytester: pytest.Pytester, story: Path) -> None:
    """
    Functions that pytest calls by name follow the fixture rule too.
    """
    pytester.makepyfile(
        STORY
        + """
    def setup_module(): tell("+module")
    def teardown_module(): tell("-module")
    def setup_function(): tell("+function")
    def teardown_function(): tell("-function")

    class TestIn:
        def setup_class(cls): tell("+class")
        def teardown_class(cls): tell("-class")
        def setup_method(self): tell("+method")
        def teardown_method(self): tell("-method")
        def test_one(self): tell("one")
        def test_two(self): tell("two")

    def test_three(): tell("three")
"""
    )
    told = tell_twice(pytester, story)
    assert told.count("+class outside") == told.count("-class outside") == 1
    assert told.count("+method inside") == told.count("-method inside") == 2


def test_parametrised(pytester: pytest.Pytester, story: Path) -> None:
    """
    A parametrised fixture is set up for each parameter, in pytest's order.
    """
    pytester.makepyfile(
        STORY
        + """
    @pytest.fixture(scope="module", params=["a", "b"])
    def wide(request):
        tell(f"+{request.param}")
        yield request.param
        tell(f"-{request.param}")

    @pytest.fixture(scope="session", params=[1, 2])
    def wider(request):
        tell(f"+{request.param}")
        yield request.param
        tell(f"-{request.param}")

    @pytest.fixture(params=["x", "y"])
    def narrow(request, wide): return request.param

    def test_one(wide, wider): tell(f"one-{wide}{wider}")
    def test_two(narrow, wide): tell(f"two-{wide}{narrow}")
    def test_three(wider): tell(f"three-{wider}")
    @pytest.mark.parametrize("wide", ["c", "d"], indirect=True)
    def test_four(wide): tell(f"four-{wide}")
"""
    )
    told = tell_twice(pytester, story)
    assert all(line.endswith("outside") for line in told if line[0] in "+-")


@pytest.mark.parametrize("jobs", [1, 4])
def test_indirect_parameters(pytester: pytest.Pytester, story: Path, jobs: int) -> None:
    """
    A wide fixture whose parameters come from the tests is set up outside, for each.
    """
    pytester.makeconftest(STORY)
    pytester.makepyfile(
        """
        import pytest
        from conftest import tell

        @pytest.fixture(scope="module")
        def letter(request):
            name = getattr(request, "param", "none")
            tell(f"+{name}")
            yield name
            tell(f"-{name}")

        @pytest.mark.parametrize("letter", ["a", "b", "c"], indirect=True)
        @pytest.mark.parametrize("number", [1, 2])
        def test_it(letter, number): pass

        @pytest.mark.parametrize("number", [1, 2])
        def test_none(letter, number): assert letter == "none"
        """
    )
    told = tell_twice(pytester, story, f"--nsisolate-jobs={jobs}")
    letters = ["a", "b", "c", "none"]
    assert told == [f"{sign}{letter} outside" for letter in letters for sign in "+-"]


def test_override_by_narrower(pytester: pytest.Pytester, story: Path) -> None:
    """
    A wide fixture is borrowed even if only a narrower override of it requests it.
    """
    pytester.makeconftest(
        STORY
        + """
    @pytest.fixture(scope="session")
    def resource():
        tell("+wide")
        yield ["wide"]
        tell("-wide")
"""
    )
    pytester.makepyfile(
        """
        import pytest
        from conftest import tell

        @pytest.fixture
        def resource(resource):
            tell("+narrow")
            yield [*resource, "narrow"]
            tell("-narrow")

        @pytest.mark.parametrize("time", [1, 2])
        def test_one(resource, time): assert resource == ["wide", "narrow"]
        """
    )
    told = tell_twice(pytester, story)
    assert told.count("+wide outside") == told.count("-wide outside") == 1
    assert told.count("+narrow inside") == told.count("-narrow inside") == 2


def test_requested_at_run_time(pytester: pytest.Pytester, story: Path) -> None:
    """
    A fixture requested only while the test runs is owned, whatever its scope.
    """
    pytester.makepyfile(
        STORY
        + """
    session_ = fixture("session")

    def test_one(request): request.getfixturevalue("session")
    def test_two(request): request.getfixturevalue("session")
"""
    )
    run_once(pytester, ["--nsisolate"]).result.assert_outcomes(passed=2)
    assert story.read_text().splitlines() == ["+session inside", "-session inside"] * 2


def test_state_of_borrowed_fixture(pytester: pytest.Pytester) -> None:
    """
    A guest sees what a borrowed fixture made, and its changes stay inside.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def wide():
            made = []
            yield made
            assert made == []

        @pytest.mark.isolated
        def test_one(wide): wide.append(1); assert wide == [1]

        @pytest.mark.isolated
        def test_two(wide): wide.append(2); assert wide == [2]

        def test_three(wide): assert wide == []
        """
    )
    run_once(pytester, []).result.assert_outcomes(passed=3)


@pytest.mark.parametrize("seed", range(6))
def test_mixed(pytester: pytest.Pytester, story: Path, seed: int) -> None:
    """
    Marked and unmarked tests in any order give the events of the plain run.
    """
    chance = random.Random(seed)  # noqa: S311 - any order will do
    scopes = ("session", "module", "class", "function")
    made = [f"    {scope}_ = fixture({scope!r})" for scope in scopes]
    pytester.makeconftest(STORY + "\n".join(made))
    for module in "abc":
        lines = ["import pytest", "from conftest import tell", ""]
        for number in range(6):
            name = chance.choice(["TestA", "TestB", ""])
            if name:
                lines.append(f"class {name}{number}:")
            indent = "    " if name else ""
            for part in range(2):
                wanted = chance.sample(["session", "module", "class", "function"], 2)
                end = chance.choice(["pass", "pass", "pass", "assert 0"])
                lines += [
                    f"{indent}@pytest.mark.usefixtures(*{wanted})",
                    f"{indent}@pytest.mark.{chance.choice(['isolated', 'usual'])}",
                    f"{indent}def test_{number}{part}(*self):",
                    f"{indent}    tell('test-{module}{number}{part}')",
                    f"{indent}    {end}",
                ]
        pytester.makepyfile(**{f"test_{module}": "\n".join(lines)})
    arguments = [[], ["-x"], ["--maxfail=2"]][seed % 3]
    stories = []
    runs = []
    for switch in (["--no-nsisolate"], []):
        story.write_text("")
        warn = ["-W", "ignore::pytest.PytestUnknownMarkWarning"]
        runs.append(run_once(pytester, [*switch, *arguments, *warn]))
        stories.append(story.read_text().splitlines())
    plain, mixed = ([line.split()[0] for line in one] for one in stories)
    assert mixed == plain
    differences = differing("event", runs[1].events, runs[0].events)
    assert not differences, "\n".join(differences[:20])
    wide = [line for line in stories[1] if line[1:].startswith(scopes[:2])]
    assert wide
    assert all(line.endswith("outside") for line in wide)
