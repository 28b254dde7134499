"""
pdb on a real terminal, compared between a plain and an isolated run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pexpect
import pytest
from terminals import ALL, TWO, Seen, Terminal, compare, terminals

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

#: What to type at a prompt, or which key to press.
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
    Take each step at its prompt, plain and isolated; expect the same to be seen.
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
    Wait for *prompt*, and say whether the end came in its place.

    A Ctrl-C that comes between the prompt and the wait for what is typed is not noticed
    before more is typed, as in any program that is written in Python: then it is
    *pressed* again.
    """
    for _ in range(5 if pressed else 0):
        found = one.spawn.expect([prompt, pexpect.EOF, pexpect.TIMEOUT], timeout=3)
        if found <= 1:
            return found == 1
        ctrl_c(one)
    return one.spawn.expect([prompt, pexpect.EOF]) == 1


def _only(names: str) -> list[str]:
    """
    Return the options to run the tests *names* between those that just pass.
    """
    return ["-k", f"before or ({names}) or after"]


SECRET: list[Step] = ["p secret + 100", "c"]


@pytest.mark.parametrize(
    "option",
    ["--capture=fd", "--capture=sys", "--capture=no", "--nsisolate-scope=session"],
)
def test_debugger(pytester: pytest.Pytester, option: str) -> None:
    """
    Prompts are inside the guest, read from the terminal and give it back.
    """
    options = ["--pdb", option, *_only("breakpoint or trace or fails")]
    steps: list[Step] = [*SECRET, "p secret + 100", "n", "c", *SECRET, *SECRET]
    # A group that is led from outside of a PID namespace has no name in it, by which
    # the terminal could be given back.
    ways = {way: prefix for way, prefix in ALL.items() if "--fork" not in prefix}
    seen = _converse(pytester, options, steps, ways=ways)
    assert seen.status == 1
    assert seen.lines.count("141") == 4
    for banner, count in [("PDB set_trace", 2), ("PDB post_mortem", 2)]:
        assert sum(banner in line for line in seen.lines) == count, banner


@pytest.mark.parametrize("capture", ["fd", "no"])
def test_interrupt_at_prompt(pytester: pytest.Pytester, capture: str) -> None:
    """
    Ctrl-C at the prompt, twice even, leads back to the prompt.
    """
    options = [f"--capture={capture}", *_only("breakpoint")]
    seen = _converse(pytester, options, [ctrl_c, ctrl_c, *SECRET])
    assert seen.status == 0
    assert "141" in seen.lines


@pytest.mark.parametrize(
    ("names", "steps", "status"),
    [
        ("breakpoint", ["q"], 2),
        ("breakpoint", [ctrl_d], 1),
        ("fails", ["p secret + 100", "q"], 2),
        ("wide_bad_setup", ["p secret + 100", "q"], 2),
    ],
)
def test_quit(
    pytester: pytest.Pytester, names: str, steps: list[Step], status: int
) -> None:
    """
    Quitting ends the session as it does plain, with the failure reported.
    """
    options = ["--pdb", *_only(names)]
    assert _converse(pytester, options, steps).status == status


@pytest.mark.parametrize("names", ["breaks and not wide", "wide_breaks"])
def test_in_fixture(pytester: pytest.Pytester, names: str) -> None:
    """
    A breakpoint in setup and one in teardown, borrowed or owned, stop there.
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
    ``--pdb`` shows where a fixture failed, borrowed or owned, and goes on after.
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
    ``--pdbcls`` is used at every prompt.
    """
    options = ["--pdb", "--pdbcls=mine:Mine", *_only("breakpoint or fails")]
    seen = _converse(pytester, options, [*SECRET, *SECRET], prompt=r"\(Mine\) ")
    assert seen.status == 1
    assert seen.lines.count("141") == 2
