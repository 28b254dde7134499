"""
The window: which tests may run beside the one whose turn it is, and which may not.
"""

from __future__ import annotations

import json

import pytest
from meeting import MEET
from ways import RunPytest


def test_modules_and_classes(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Tests of several modules and classes run at the same time.
    """
    pytester.makepyfile(
        meeting=MEET,
        conftest="""
import pytest

@pytest.fixture(scope="session")
def wide():
    yield []
""",
        test_a="""
from meeting import *

def test_meets(wide):
    meet("a", "b", "c", "d")
""",
        test_b="""
from meeting import *

def test_meets(wide):
    meet("b", "a", "c", "d")

class TestOne:
    def test_meets(self):
        meet("c", "a", "b", "d")

class TestTwo:
    class TestInner:
        def test_meets(self, wide):
            meet("d", "a", "b", "c")
""",
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=4)


def test_skip_marks(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A mark whose conditions are plainly false keeps no test from running beside others.

    One that may skip the test lets it wait for its turn, and others run beside it.
    """
    pytester.makepyfile(
        MEET
        + """
import sys

WINDOWS = sys.platform == "win32"

def test_meets(tmp_path):
    meet("a", "b", "c", "d")

@pytest.mark.skipif(WINDOWS, reason="not on Windows")
def test_has_path(tmp_path):
    meet("b", "a", "c", "d")

@pytest.mark.skipif(WINDOWS, False, reason="not there")
@pytest.mark.skipif(condition=False, reason="not there")
def test_condition():
    meet("c", "a", "b", "d")

@pytest.mark.skipif("not WINDOWS", reason="a string")
def test_string():
    pass

@pytest.mark.skipif(0, reason="no bool")
def test_number():
    pass

@pytest.mark.skipif()
def test_always():
    pass

def test_last():
    meet("d", "a", "b", "c")
"""
    )
    result = run_both_ways("-rs", "--nsisolate-jobs=4")
    result.assert_outcomes(passed=5, skipped=2)


def test_plain_packages(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Tests of packages whose modules have no functions run at the same time.
    """
    for name, other in [("a", "b"), ("b", "a")]:
        package = pytester.mkpydir(name)
        (package / "test_it.py").write_text(
            f"""
from meeting import *

def test_meets():
    meet("{name}", "{other}")
"""
        )
    pytester.makepyfile(meeting=MEET)
    pytester.makeini("[pytest]\npythonpath = .")
    run_both_ways("--nsisolate-jobs=2").assert_outcomes(passed=2)


def test_set_up_between(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    What a module sets up or finalises is there for its tests, and for no others.

    A fixture of module scope in a conftest.py is set up for each module; the lanes are
    empty meanwhile. So it is with functions such as setup_module().
    """
    pytester.makepyfile(
        meeting=MEET,
        conftest="""
import pytest
from meeting import HERE

@pytest.fixture(scope="session")
def numbers():
    return iter(range(100))

@pytest.fixture(scope="module")
def server(request, numbers):
    own = HERE / "server"
    own.touch(exist_ok=False)
    yield request.node.name, next(numbers)
    own.unlink()
""",
        test_a="""
from meeting import *

def test_has_none():
    assert not (HERE / "server").exists()

def test_is_first(server):
    assert server == ("test_a.py", 0)
    meet("a1", "a2")

def test_is_second(server):
    assert server == ("test_a.py", 0)
    meet("a2", "a1")
""",
        test_b="""
from meeting import *

def test_has_none():
    assert not (HERE / "server").exists()

def test_meets(server):
    assert server == ("test_b.py", 1)
""",
        test_c="""
from meeting import *

def setup_module():
    (HERE / "module").touch(exist_ok=False)

def teardown_module():
    (HERE / "module").unlink()

def test_module():
    assert (HERE / "module").exists()
    assert not (HERE / "server").exists()

class TestClass:
    @classmethod
    def setup_class(cls):
        (HERE / "class").touch(exist_ok=False)

    @classmethod
    def teardown_class(cls):
        (HERE / "class").unlink()

    def test_class(self):
        assert (HERE / "class").exists()
""",
        test_d="""
from meeting import *

def test_is_alone():
    assert not [*HERE.glob("server"), *HERE.glob("module"), *HERE.glob("class")]
""",
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=8)


def test_packages(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The functions of a package run before its tests and after them.
    """
    for name in "pq":
        package = pytester.mkpydir(name)
        (package / "__init__.py").write_text(
            f"""
from meeting import HERE

def setup_module():
    (HERE / "package-{name}").touch(exist_ok=False)

def teardown_module():
    (HERE / "package-{name}").unlink()
"""
        )
        (package / f"test_{name}.py").write_text(
            f"""
from meeting import *

def test_in_{name}():
    assert [path.name for path in HERE.glob("package-*")] == ["package-{name}"]
"""
        )
    pytester.makepyfile(
        meeting=MEET,
        test_z="""
from meeting import *

def test_outside():
    assert not [*HERE.glob("package-*")]
""",
    )
    pytester.makeini("[pytest]\npythonpath = .")
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=3)


def test_collector_with_setup(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    The setup and teardown of a plugin's collector run around its tests, outside.
    """
    pytester.makeconftest(
        """
import os
import pytest

class Own(pytest.Module):
    def setup(self):
        os.environ["OWN"] = f"{self.name} {os.getpid()}"

    def teardown(self):
        assert os.environ.pop("OWN") == f"{self.name} {os.getpid()}"

def pytest_pycollect_makemodule(module_path, parent):
    if module_path.name != "test_a.py":
        return Own.from_parent(parent, path=module_path)
"""
    )
    test = """
import os
import pytest

@pytest.mark.isolated
@pytest.mark.parametrize("number", range(2))
def test_own(number):
    assert os.environ["OWN"].split()[0] == os.path.basename(__file__)
"""
    pytester.makepyfile(
        test_a="""
import os
import pytest

@pytest.mark.isolated
def test_plain():
    assert "OWN" not in os.environ
""",
        test_b=test,
        test_c=test,
    )
    run_both_ways("--nsisolate-jobs=4").assert_outcomes(passed=5)


@pytest.mark.parametrize(
    "setup", ["pytest.skip('not here')", "assert False, 'not here'"]
)
def test_never_taken(
    pytester: pytest.Pytester, run_both_ways: RunPytest, setup: str
) -> None:
    """
    A guest whose test a hook keeps from running, outside, takes no lane any more.
    """
    pytester.makepyfile(
        meeting=MEET,
        conftest=f"""
import os
import pytest

PYTEST = os.getpid()

def pytest_runtest_setup(item):
    if "not_here" in item.name and os.getpid() == PYTEST:
        {setup}
""",
        test_a="""
from meeting import *

def test_waits():
    wait_for("ahead")

def test_not_here():
    (HERE / "ahead").touch()
    wait_for("never")
""",
        test_b="""
from meeting import *

def test_one():
    meet("one", "two")

def test_two():
    meet("two", "one")
""",
    )
    result = run_both_ways("-rA", "--nsisolate-jobs=2")
    failed = {"skipped": 1} if "skip" in setup else {"errors": 1}
    result.assert_outcomes(passed=3, **failed)
    result.stdout.fnmatch_lines(["*not here*"])


def test_turn_is_over(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A test that a hook keeps from running at its turn does not start later.
    """
    pytester.makepyfile(
        meeting=MEET,
        conftest="""
import os
import pytest

PYTEST = os.getpid()

def pytest_runtest_setup(item):
    if "not_here" in item.name and os.getpid() == PYTEST:
        pytest.skip("not here")
""",
        test_a="""
from meeting import *

@pytest.mark.isolated(group="one")
def test_first():
    wait_for("one")
""",
        test_b="""
from meeting import *

@pytest.mark.isolated(group="one")
def test_not_here():
    wait_for("never")

def test_one():
    meet("one", "two")

@pytest.mark.isolated(group="one")
def test_two():
    meet("two", "one")
""",
    )
    result = run_both_ways("-rs", "--nsisolate-jobs=3")
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * not here"])


#: Where pytest keeps the durations of the last run.
DURATIONS = ".pytest_cache/v/nsisolate/durations"


def test_durations(pytester: pytest.Pytester) -> None:
    """
    What takes long is kept for the next run, and forgotten if it does so no more.
    """
    pytester.makepyfile(
        """
import time
import pytest

@pytest.mark.isolated
@pytest.mark.parametrize("number", range(2))
def test_long(number):
    time.sleep(0.15)
"""
    )
    path = pytester.path / DURATIONS
    path.parent.mkdir(parents=True)
    name = "test_durations.py::test_long"
    path.write_text(json.dumps({f"{name}[0]": 99.0, "test_other.py::test_other": 1.5}))
    pytester.runpytest_subprocess("--nsisolate-jobs=2").assert_outcomes(passed=2)
    kept = json.loads(path.read_text())
    assert [*kept] == [f"{name}[0]", "test_other.py::test_other", f"{name}[1]"]
    assert 0.15 <= kept[f"{name}[0]"] < 99.0


def test_longest_first(pytester: pytest.Pytester) -> None:
    """
    What took long in the last run starts first, and is reported in its place.

    Tests of a group keep their order.
    """
    pytester.makepyfile(
        MEET
        + """
def test_first():
    wait_for("long")

@pytest.mark.parametrize("number", range(3))
def test_short(number):
    wait_for("long")

@pytest.mark.isolated(group="one")
def test_of_group():
    (HERE / "group").touch()

@pytest.mark.isolated(group="one")
def test_longest():
    assert (HERE / "group").exists()

def test_long():
    (HERE / "long").touch()
"""
    )
    path = pytester.path / DURATIONS
    path.parent.mkdir(parents=True)
    names = [f"test_longest_first.py::{name}" for name in ("test_longest", "test_long")]
    path.write_text(json.dumps({names[0]: 9.0, names[1]: 5.0}))
    result = pytester.runpytest_subprocess("-v", "--nsisolate-jobs=2")
    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines(
        ["*::test_first *", "*::test_short*", "*::test_of_group *", "*::test_long *"]
    )


@pytest.mark.parametrize("cached", ["[1]", "not JSON", '{"test_it.py::test_it": "x"}'])
def test_damaged_durations(pytester: pytest.Pytester, cached: str) -> None:
    """
    A damaged cache does no harm.
    """
    path = pytester.path / DURATIONS
    path.parent.mkdir(parents=True)
    path.write_text(cached)
    pytester.makepyfile(
        test_it="""
def test_it(isolation):
    pass

def test_other(isolation):
    pass
"""
    )
    result = pytester.runpytest_subprocess("--nsisolate-jobs=2")
    result.assert_outcomes(passed=2)
