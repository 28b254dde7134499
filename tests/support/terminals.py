"""
Sessions of pytest on real terminals, plain and isolated, and their screens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import machine
import pexpect
import psutil
from environment import unchanging
from twins import WITHOUT, normal
from ways import WAYS

#: How long anything may take, in seconds.
PATIENCE = 90

PLAIN = "without isolation"

#: Commands to put before that of pytest: plain, and isolated both ways.
ALL = {PLAIN: [], **WAYS}

#: The same for tests in which the way into a sandbox does not matter.
TWO: dict[str, list[str]] = {PLAIN: [], "isolated": []}

#: What differs between two equal runs, and what to put in its place.
_NOISE = (
    # Where a key is echoed depends on the moment.
    (r"\^C", ""),
    # Lines that are overwritten: how often the progress of collection is shown.
    (r"(?m)^[^\n]*\r(?=[^\r\n])", ""),
    (r"(?m) +(?=(\x1b\[0m)?\r*$)", ""),
    # The columns of the progress depend on what a debugger has written.
    (r" +(?=\[ *\d+%\])", " "),
)

#: The mark in the environment of all processes of one session.
_MARK = "NSISOLATE_TERMINAL"


@dataclasses.dataclass(frozen=True)
class Seen:
    """
    What a person has seen of a finished session.
    """

    lines: list[str]
    """The screen."""
    log: list[str]
    """What the tests have written to the file ``log``."""
    status: int | None
    left: list[int]
    """Processes that outlived it."""


class Terminal:
    """
    One pytest on its own terminal.

    Args:
        path: Its working directory.
        command: The command to run.
        variables: Additions to its environment.
    """

    def __init__(
        self, path: Path, command: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        self.path = path
        self._read = io.StringIO()
        self.spawn: pexpect.spawn[str] = pexpect.spawn(
            command[0],
            list(command[1:]),
            cwd=str(path),
            env={**_environment(), _MARK: str(path), **variables},
            timeout=PATIENCE,
            encoding="utf-8",
            dimensions=(24, 70),
        )
        self.spawn.logfile_read = self._read
        self.spawn.delaybeforesend = None

    def await_path(self, name: str) -> None:
        """
        Wait until a test has made *name*.
        """
        end = time.monotonic() + PATIENCE
        while not (self.path / name).exists():
            # Keep reading, or a full terminal would stop the session.
            over = self.spawn.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=0.01) == 0
            assert not over, self._read.getvalue()
            assert time.monotonic() < end, self._read.getvalue()

    def supervisor(self) -> psutil.Process:
        """
        Return the pytest process.
        """
        top = psutil.Process(self.spawn.pid)
        return next(
            one
            for one in [top, *top.children(recursive=True)]
            if machine.command_of(one)[1:3] == ["-m", "pytest"]
        )

    def processes(self) -> list[int]:
        """
        Return what runs of this session, found by the mark in the environment.
        """
        token = f"{_MARK}={self.path}\0".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if token in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def finish(self) -> Seen:
        """
        Wait for the end and return what there was to see.
        """
        self.spawn.expect(pexpect.EOF)
        self.spawn.close()
        end = time.monotonic() + PATIENCE / 4
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.005)
        log = self.path / "log"
        text = self._read.getvalue().replace(str(self.path), "")
        for pattern, replacement in _NOISE:
            text = re.sub(pattern, replacement, text)
        return Seen(
            lines=normal(text),
            log=log.read_text().splitlines() if log.exists() else [],
            status=self.spawn.exitstatus,
            left=left,
        )


def _environment() -> dict[str, str]:
    """
    Return this environment, without variables that describe another terminal.
    """
    return {**unchanging(), "TERM": "dumb"}


@contextlib.contextmanager
def terminals(
    path: Path,
    files: Mapping[str, str],
    options: Sequence[str],
    variables: Mapping[str, str] | None = None,
    *,
    ways: Mapping[str, Sequence[str]] = ALL,
) -> Iterator[dict[str, Terminal]]:
    """
    Start pytest on several terminals at the same time; only `PLAIN` is not isolated.

    Args:
        path: Where each gets a directory with *files*.
        files: Texts by file name.
        options: Options for pytest.
        variables: Additions to the environment.
        ways: Commands to put before that of pytest, by name.
    """
    with contextlib.ExitStack() as stack:
        found = {}
        for way, prefix in ways.items():
            place = path / way.replace(" ", "-")
            place.mkdir()
            for name, text in {"pytest.ini": "[pytest]\n", **files}.items():
                (place / name).write_text(text)
            isolate = "--no-nsisolate" if way == PLAIN else "--nsisolate"
            command = [*prefix, sys.executable, "-m", "pytest", *WITHOUT, isolate]
            found[way] = Terminal(place, [*command, *options], variables or {})
            stack.callback(found[way].spawn.close, force=True)
        yield found


def compare(found: Mapping[str, Terminal]) -> Seen:
    """
    Expect all sessions to look like the plain one, and return how it looked.
    """
    seen = {way: one.finish() for way, one in found.items()}
    plain = seen.pop(PLAIN)
    assert seen
    for way, one in seen.items():
        assert one.lines == plain.lines, way
        assert one.log == plain.log, way
        assert (one.status, one.left) == (plain.status, []), way
    return plain
