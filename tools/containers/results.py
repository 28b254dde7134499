"""
What comes of the tests in a container: each passes, or is refused for a reason.
"""

from __future__ import annotations

import dataclasses
import json
import re

from processes import CannotRun

_THREE_LINES = re.compile(
    r"^cannot [^:\n]*: (?P<what>.*)\nwhy: (?P<why>.*)\nfix: (?P<fix>.*)$",
    re.MULTILINE,
)

#: A mask of capabilities, which differs from row to row.
_MASK = re.compile(r"\b[0-9a-f]{16}\b")

#: What the tests are about, in the table. A link takes boxes, and a box a network.
_NAMES = {
    "isolated": "the bare marker",
    "proc": "`proc=False`",
    "hostname": "`hostname=`",
    "net": "`net=True`",
    "root": '`user="root"`',
    "time": "`time=`",
    "box": "boxes",
    "link": "links",
}


@dataclasses.dataclass(frozen=True, order=True)
class Refusal:
    """
    The three lines, without what differs from test to test.
    """

    what: str
    """The call and its errno."""
    why: str
    """The line ``why:``."""
    fix: str
    """The line ``fix:``."""

    def __str__(self) -> str:
        return f"{self.what}\n   why: {self.why}\n   fix: {self.fix}"


@dataclasses.dataclass(frozen=True)
class Result:
    """
    How the tests in a container ended.
    """

    passed: frozenset[str]
    """The tests that passed."""
    refused: dict[Refusal, frozenset[str]]
    """The tests that were refused, by reason."""

    def __str__(self) -> str:
        every = self.passed.union(*self.refused.values())
        failed = every - self.passed
        if not failed:
            return "works"
        fewer = failed if len(failed) <= len(every) // 2 else self.passed
        names = ", ".join(_NAMES[one] for one in _NAMES if one in fewer)
        if not self.passed:
            return "refused"
        return f"all but {names}" if fewer is failed else f"only {names}"


def read(output: str) -> Result:
    """
    Return what `trial.py` printed.

    Raises:
        CannotRun: A test failed for another reason than a refusal.
    """
    passed: set[str] = set()
    refused: dict[Refusal, set[str]] = {}
    for test, (code, said) in json.loads(output).items():
        name = test.removeprefix("test_")
        found = _THREE_LINES.search(said)
        if code == 0:
            passed.add(name)
        elif found is None:
            raise CannotRun(f"{test} failed, and was not refused:\n{said[-2000:]}")
        else:
            refusal = Refusal(**found.groupdict())
            refusal = dataclasses.replace(refusal, why=_MASK.sub("…", refusal.why))
            refused.setdefault(refusal, set()).add(name)
    frozen = {one: frozenset(names) for one, names in refused.items()}
    return Result(frozenset(passed), frozen)
