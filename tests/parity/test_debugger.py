"""
pdb on a real terminal, compared between a plain and an isolated run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

import pexpect
import pytest
from terminals import ALL, PLAIN, TWO, Seen, Terminal, compare, terminals

pytestmark = pytest.mark.python

TESTS = """
import pdb
import pytest

def test_before(): pass

def test_breakpoint():
    secret = 41
    print("printed before")
    breakpoint()
    print("printed after")
    assert secret == 41

def test_set_trace():
    secret = 41
    print("printed before")
    pdb.set_trace()
    print("printed after")
    assert secret == 42

def test_fails():
    secret = 41
    print("printed before")
    assert secret == 42

@pytest.fixture
def breaks():
    secret = 41
    breakpoint()
    yield
    secret += 1
    breakpoint()
    secret += 1

def test_breaks(breaks): pass

@pytest.fixture(scope="module")
def wide_breaks():
    secret = 41
    breakpoint()
    yield
    secret += 1
    breakpoint()
    secret += 1

def test_wide_breaks(wide_breaks): pass

@pytest.fixture
def bad_setup():
    secret = 41
    assert secret == 42

def test_bad_setup(bad_setup): pass

@pytest.fixture
def bad_teardown():
    yield
    secret = 41
    assert secret == 42

def test_bad_teardown(bad_teardown): pass

@pytest.fixture(scope="module")
def wide_bad_setup():
    secret = 41
    assert secret == 42

def test_wide_bad_setup(wide_bad_setup): pass

@pytest.fixture(scope="module")
def wide_bad_teardown():
    yield
    secret = 41
    assert secret == 42

def test_wide_bad_teardown(wide_bad_teardown): pass

def test_after():
    secret = 41
"""

CONFTEST = """
import os
import termios
from pathlib import Path

def pytest_sessionfinish():
    fd = os.open("/dev/tty", os.O_RDWR)
    with Path("log").open("w") as log:
        print("foreground", os.tcgetpgrp(fd) == os.getpgrp(), file=log)
        print("echo", bool(termios.tcgetattr(fd)[3] & termios.ECHO), file=log)
"""

MINE = """
import pdb

class Mine(pdb.Pdb):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.prompt = "(Mine) "
"""

FILES = {"test_it.py": TESTS, "conftest.py": CONFTEST, "mine.py": MINE}

#: Text to type at a prompt, or a function that presses a key.
Step: TypeAlias = str | Callable[[Terminal], object]


def ctrl_c(one: Terminal) -> None:
    """
    Press Ctrl-C at the prompt.
    """
    one.spawn.sendintr()


def ctrl_d(one: Terminal) -> None:
    """
    Press Ctrl-D at the prompt.
    """
    one.spawn.sendeof()


def _converse(
    pytester: pytest.Pytester,
    options: Sequence[str],
    steps: Sequence[Step],
    ways: dict[str, list[str]] = TWO,
    prompt: str = r"\(Pdb\) ",
) -> Seen:
    """
    Take one step at each prompt in every run, and check that all runs look the same.
    """
    with terminals(pytester.path, FILES, options, ways=ways) as found:
        for way, one in found.items():
            before: Step = ""
            for step in steps:
                over = _come_to(one, prompt, pressed=before is ctrl_c)
                assert not over, f"{way}: {one.spawn.before}"
                before = step
                if isinstance(step, str):
                    one.spawn.sendline(step)
                else:
                    step(one)
        seen = compare(found)
    assert seen.log == ["foreground True", "echo True"]
    return seen


def _come_to(one: Terminal, prompt: str, *, pressed: bool) -> bool:
    """
    Wait for *prompt*, and return whether the session ended instead.

    Python does not notice a Ctrl-C that comes after the prompt but before it reads the
    input until more is typed. If *pressed*, Ctrl-C is therefore pressed again.
    """
    for _ in range(5 if pressed else 0):
        found = one.spawn.expect([prompt, pexpect.EOF, pexpect.TIMEOUT], timeout=10)
        if found <= 1:
            return found == 1
        ctrl_c(one)
    return one.spawn.expect([prompt, pexpect.EOF]) == 1


def _only(names: str) -> list[str]:
    """
    Return the options that run the tests *names* between two that just pass.
    """
    return ["-k", f"before or ({names}) or after"]


SECRET: list[Step] = ["p secret + 100", "c"]


@pytest.mark.parametrize(
    "option",
    ["--capture=fd", "--capture=sys", "--capture=no", "--nsisolate-scope=session"],
)
def test_debugger(pytester: pytest.Pytester, option: str) -> None:
    """
    pdb runs inside the guest, reads from the terminal and gives it back.
    """
    options = ["--pdb", option, *_only("breakpoint or trace or fails")]
    steps: list[Step] = [*SECRET, "p secret + 100", "n", "c", *SECRET, *SECRET]
    # If the leader of the group is outside the PID namespace, the group has no id in
    # it, and the terminal cannot be given back.
    ways = {way: prefix for way, prefix in ALL.items() if "--fork" not in prefix}
    seen = _converse(pytester, options, steps, ways=ways)
    assert seen.status == 1
    assert seen.lines.count("141") == 4
    for banner, count in [("PDB set_trace", 2), ("PDB post_mortem", 2)]:
        assert sum(banner in line for line in seen.lines) == count, banner


#: A test that comes to a prompt while those of the other module run.
AT_PROMPT = """
import time
import pytest
from pathlib import Path

@pytest.mark.isolated
def test_first(request):
    is_isolated = request.config.getoption("nsisolate") is not False
    while is_isolated and not Path("began1").exists():
        time.sleep(0.01)

@pytest.mark.isolated(KEYWORDS)
class TestIt:
    def test_prompt(self):
        secret = 41
        breakpoint()

    def test_last(self):
        pass
"""

BESIDE = """
import time
import pytest
from pathlib import Path

@pytest.mark.parametrize("number", range(60))
def test_beside(number):
    own = Path(f"runs{number}")
    own.touch()
    Path(f"began{number}").touch()
    time.sleep(0.02)
    own.unlink()
"""


@pytest.mark.parametrize("keywords", ["", 'scope="class"', 'scope="class", fork=True'])
def test_nothing_beside(pytester: pytest.Pytester, keywords: str) -> None:
    """
    While someone types, no test runs or starts; then the others go on.
    """
    source = AT_PROMPT.replace("KEYWORDS", keywords)
    files = {**FILES, "test_it.py": source, "test_z.py": BESIDE}
    with terminals(pytester.path, files, ["--nsisolate-jobs=3"], ways=TWO) as found:
        for way, one in found.items():
            assert not _come_to(one, r"\(Pdb\) ", pressed=False), way
            began = {*one.path.glob("began*")}
            one.spawn.sendline("p secret + 100")
            assert not _come_to(one, r"\(Pdb\) ", pressed=False), way
            assert not [*one.path.glob("runs*")]
            assert {*one.path.glob("began*")} == began
            assert bool(began) is (way != PLAIN)
            one.spawn.sendline("c")
        seen = compare(found)
    assert "141" in seen.lines
    assert seen.status == 0


@pytest.mark.parametrize("capture", ["fd", "no"])
def test_interrupt_at_prompt(pytester: pytest.Pytester, capture: str) -> None:
    """
    Ctrl-C at the prompt, even twice, returns to the prompt.
    """
    options = [f"--capture={capture}", *_only("breakpoint")]
    seen = _converse(pytester, options, [ctrl_c, ctrl_c, *SECRET])
    assert seen.status == 0
    assert "141" in seen.lines


@pytest.mark.parametrize(
    ("names", "steps", "status"),
    [
        ("breakpoint", ["q"], 2),
        # Since Python 3.14 the end of the input quits as the command does.
        ("breakpoint", [ctrl_d], 2 if sys.version_info >= (3, 14) else 1),
        ("fails", ["p secret + 100", "q"], 2),
        ("wide_bad_setup", ["p secret + 100", "q"], 2),
    ],
)
def test_quit(
    pytester: pytest.Pytester, names: str, steps: list[Step], status: int
) -> None:
    """
    Quitting ends the session as in a plain run, and the failure is reported.
    """
    options = ["--pdb", *_only(names)]
    assert _converse(pytester, options, steps).status == status


@pytest.mark.parametrize("names", ["breaks and not wide", "wide_breaks"])
def test_in_fixture(pytester: pytest.Pytester, names: str) -> None:
    """
    Breakpoints in setup and teardown stop there, in borrowed and owned fixtures.
    """
    seen = _converse(pytester, _only(names), [*SECRET, *SECRET])
    assert seen.status == 0
    assert [line for line in seen.lines if line in {"141", "142"}] == ["141", "142"]


@pytest.mark.parametrize(
    "names",
    ["bad_setup and not wide", "bad_teardown and not wide", "wide_bad"],
)
def test_post_mortem_of_fixture(pytester: pytest.Pytester, names: str) -> None:
    """
    ``--pdb`` stops where a borrowed or owned fixture failed, then the session goes on.
    """
    count = 2 if names == "wide_bad" else 1
    seen = _converse(pytester, ["--pdb", *_only(names)], SECRET * count)
    assert seen.status == 1
    assert seen.lines.count("141") == count


def test_trace(pytester: pytest.Pytester) -> None:
    """
    ``--trace`` stops at the start of each test.
    """
    options = ["--trace", "-k", "before or after"]
    seen = _converse(pytester, options, ["c", "n", "p secret + 100", "c"])
    assert seen.status == 0
    assert "141" in seen.lines


def test_own_debugger(pytester: pytest.Pytester) -> None:
    """
    The debugger of ``--pdbcls`` is used at every prompt.
    """
    options = ["--pdb", "--pdbcls=mine:Mine", *_only("breakpoint or fails")]
    seen = _converse(pytester, options, [*SECRET, *SECRET], prompt=r"\(Mine\) ")
    assert seen.status == 1
    assert seen.lines.count("141") == 2
