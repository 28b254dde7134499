"""
Completion of options on the command line, by argcomplete in an interactive bash.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from terminals import PATIENCE

pytestmark = pytest.mark.about("argcomplete")

#: Puts all completions of what is before the cursor into the line. Source: bash(1).
_INSERT = "\x1b*"

#: The keys to the beginning and to the end of the line.
_HOME, _END = "\x01", "\x05"


@pytest.fixture
def complete(tmp_path: Path) -> Iterator[Callable[[str], list[str]]]:
    """
    Provide a function that returns the completions of a command line.
    """
    pytest.importorskip("argcomplete")
    (tmp_path / "line.html").touch()
    (tmp_path / "test_one.py").touch()
    (tmp_path / "results").mkdir()
    variables = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTEST_ADDOPTS": "-p nsisolate",
        "TERM": "dumb",
        "INPUTRC": os.devnull,
    }
    shell: pexpect.spawn[str] = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile", "-i"],
        cwd=str(tmp_path),
        env=variables,
        timeout=PATIENCE,
        encoding="utf-8",
        dimensions=(24, 1000),
    )
    shell.delaybeforesend = None

    def complete(line: str) -> list[str]:
        """
        Return what the last word of *line* can be completed to, without the rest.
        """
        *_, last = line.split(" ")
        shell.send(f"{line}{_INSERT}{_HOME}printf '%s]\\n' {_END}; echo ov''er\r")
        shell.expect(r"\r\n((?:[^\n]*\]\r\n)+?)over\r\n")
        assert isinstance(shell.match, re.Match)
        words = re.findall(r"(.*)\]\r\n", shell.match[1])
        return [word.removeprefix(last) for word in words[line.count(" ") :]]

    try:
        shell.sendline('eval "$(register-python-argcomplete pytest)"; echo re""ady')
        shell.expect("ready")
        yield complete
    finally:
        shell.close(force=True)


def test_options_complete(complete: Callable[[str], list[str]]) -> None:
    """
    An option completes, and so does its value: to words, or to files that it may name.
    """
    found = complete("pytest --nsisolate-l")
    assert found == ["eak-grace", "eaks"]

    assert complete("pytest --nsisolate-leaks=") == ["fail", "ignore", "warn"]
    assert complete("pytest --nsisolate-leaks w") == ["arn"]
    assert complete("pytest --nsisolate-jobs=") == ["auto"]
    assert complete("pytest --nsisolate-flavours=host,a") == ["lone"]
    assert complete("pytest --nsisolate-timeline=") == ["line.html", "results/"]
    assert complete("pytest --nsisolate-readonly=/etc,r") == ["esults/"]
