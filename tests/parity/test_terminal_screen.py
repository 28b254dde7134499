"""
The screen of a real terminal, compared between a plain and an isolated run.
"""

from __future__ import annotations

import pytest
from terminals import TWO, compare, terminals

TESTS = """
import logging
import os
import shutil
import sys
import warnings
import pytest

@pytest.mark.parametrize("number", range(70))
def test_many(number):
    assert number != 33

@pytest.mark.skip(reason="a reason that is too long for one line of this terminal, all")
def test_skip(): pass

@pytest.mark.xfail
def test_xfail(): assert 0

def test_warns(): warnings.warn("careful")

def test_logs():
    logging.getLogger().warning("logged")

def test_terminal(capsys):
    print(os.isatty(0), os.isatty(1), sys.stdout.isatty())
    print(shutil.get_terminal_size())
    with capsys.disabled():
        print("past the capture")
    assert 0

@pytest.fixture(scope="module")
def broken():
    print("before")
    assert 0

def test_broken(broken): pass
"""


@pytest.mark.parametrize(
    "options",
    [
        ["-rA"],
        ["-v", "--log-cli-level=WARNING"],
        ["-s", "--maxfail=2", "--no-header", "--color=no"],
    ],
    ids=" ".join,
)
def test_screen(pytester: pytest.Pytester, options: list[str]) -> None:
    """
    Progress, colours, width and verbose lines are those of a plain run.
    """
    files = {"test_it.py": TESTS}
    variables = {"TERM": "xterm"}
    with terminals(pytester.path, files, options, variables, ways=TWO) as found:
        seen = compare(found)
    assert seen.status == 1
    assert ("\x1b[" in "\n".join(seen.lines)) == ("--color=no" not in options)


READS = """
import getpass

def test_getpass():
    assert getpass.getpass() == "swordfish"

def test_input(request):
    manager = request.config.pluginmanager.getplugin("capturemanager")
    manager.suspend_global_capture(in_=True)
    assert input("name? ") == "joe"
    manager.resume_global_capture()

def test_after(): pass
"""


@pytest.mark.parametrize("options", [[], ["-s"]], ids=["captured", "-s"])
def test_reads(pytester: pytest.Pytester, options: list[str]) -> None:
    """
    A test that prompts on the terminal gets the answer.
    """
    with terminals(pytester.path, {"test_it.py": READS}, options) as found:
        for prompt, answer in [("Password: ", "swordfish"), (r"name\? ", "joe")]:
            for one in found.values():
                one.spawn.expect(prompt)
                one.spawn.sendline(answer)
        assert compare(found).status == 0
