"""
Tests with boxes that run side by side.
"""

from __future__ import annotations

import pytest
from meeting import MEET
from ways import RunPytest


def test_at_the_same_time(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Tests with boxes run at the same time; what is in a box of one is in no other.
    """
    pytester.makepyfile(
        MEET
        + """
NAMES = ["a", "b", "c"]

@pytest.mark.parametrize("name", NAMES)
def test_meets(sandbox_factory, name):
    def use():
        Path("/dev/shm/own").touch(exist_ok=False)
        meet(name, *NAMES)
        Path("/dev/shm/own").unlink()
    box = sandbox_factory(hostname=name)
    box.run(use)
    assert box.pids() == []
"""
    )
    run_both_ways("--nsisolate-jobs=3").assert_outcomes(passed=3)


def test_alone(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Nothing runs beside a test with alone=True, nor beside what it runs in a box.
    """
    pytester.makepyfile(
        MEET
        + """
@pytest.fixture
def box(sandbox_factory):
    box = sandbox_factory()
    own = HERE / f"running{os.urandom(8).hex()}"
    box.run(own.touch)
    yield box
    box.run(own.unlink)

def running():
    return len([*HERE.glob("running*")])

@pytest.mark.parametrize("name", ["a", "b"])
def test_before(box, name):
    box.run(meet, name, "a", "b")

@pytest.mark.isolated(alone=True)
@pytest.mark.parametrize("number", range(2))
def test_alone(box, number):
    for _ in range(20):
        assert box.run(running) == 1

@pytest.mark.parametrize("name", ["c", "d"])
def test_after(box, name):
    box.run(meet, name, "c", "d")
"""
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=6)


def test_group(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The boxes of two tests of a group never run at once; those of other groups do.

    They are gone when the next test of the group begins.
    """
    pytester.makepyfile(
        MEET
        + """
@pytest.fixture
def box(request, sandbox_factory):
    mark = request.node.get_closest_marker("isolated")
    path = HERE / f"lock-{mark.kwargs['group']}"
    path.touch()
    box = sandbox_factory(leaks="ignore")
    # The next test that takes the lock begins when this process is gone.
    with box.popen(["flock", "--nonblock", path, "echo", "taken"], stdout=-1) as taken:
        assert taken.communicate()[0] == b"taken\\n"
    box.popen(["flock", "--nonblock", path, "sleep", "1000"])
    return box

@pytest.mark.isolated(group="one")
def test_meets_two(box):
    box.run(meet, "one", "two")

@pytest.mark.isolated(group="one")
@pytest.mark.parametrize("number", range(4))
def test_of_one(box, number):
    pass

@pytest.mark.isolated(group="two")
def test_meets_one(box):
    box.run(meet, "two", "one")

@pytest.mark.isolated(group="two")
@pytest.mark.parametrize("number", range(4))
def test_of_two(box, number):
    pass
"""
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=10)


@pytest.mark.parametrize("scope", ["module", "session"])
def test_borrowed(
    pytester: pytest.Pytester, run_both_ways: RunPytest, scope: str
) -> None:
    """
    Tests that borrow a box use it at the same time, but not if they are of a group.
    """
    pytester.makepyfile(
        MEET
        + f"""
@pytest.fixture(scope="{scope}")
def box({scope}_sandbox_factory):
    return {scope}_sandbox_factory(hostname="db")

def test_first(box):
    pass

@pytest.mark.parametrize("name", ["a", "b"])
def test_meets(box, name):
    assert box.hostname == "db"
    meet(name, "a", "b")

@pytest.mark.isolated(group="db")
@pytest.mark.parametrize("number", range(4))
def test_takes_turns(box, number):
    lock = HERE / "lock"
    os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    time.sleep(0.002)
    lock.unlink()

@pytest.mark.isolated(alone=True)
def test_alone(box):
    assert not (HERE / "lock").exists()
"""
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=8)


@pytest.mark.parametrize("keyword", ["alone=True", 'group="name"'])
def test_not_of_a_box(pytester: pytest.Pytester, keyword: str) -> None:
    """
    These keywords are for the marker of the test, and an error for a box says so.
    """
    pytester.makepyfile(f"def test_it(sandbox_factory): sandbox_factory({keyword})")

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(failed=1)
    name = keyword.partition("=")[0]
    result.stdout.fnmatch_lines(
        [
            "cannot make box 1 for test_it: bad argument of sandbox_factory()",
            f"why: sandbox_factory does not take {name}; its keywords are *",
            f"fix: write @pytest.mark.isolated({keyword}) on the test *of {name}=",
        ]
    )
