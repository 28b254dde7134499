"""
What a run of a suite came to, test by test, out of its JUnit XML.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import xml.etree.ElementTree as ET
from pathlib import Path

from commands import CannotRun

#: A pytest plugin that tells for each test in which IPC namespace it ran, so that a run
#: that isolated nothing cannot pass for an isolated one.
WITNESS = """\
import os
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    item.user_properties.append(("ipc", os.readlink("/proc/self/ns/ipc")))
"""

KINDS = ("passed", "failed", "skipped", "error")

_KIND_OF_TAG = {"failure": "failed", "skipped": "skipped", "error": "error"}


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """
    How each test of a run came out, by node id.
    """

    by_test: dict[str, str]
    """One of `KINDS`, or two with a plus: its call and its teardown may both fail."""
    messages: dict[str, str]
    """First line of what those say that did not pass."""

    def counts(self) -> list[int]:
        """
        Return how many tests each of `KINDS` has.
        """
        number = collections.Counter("+".join(self.by_test.values()).split("+"))
        return [number[kind] for kind in KINDS]

    def differences(self, plain: Outcomes) -> list[str]:
        """
        Return a line for each test that came out otherwise than in *plain*.
        """
        lines = []
        for test in {**plain.by_test, **self.by_test}:
            here, there = self.by_test.get(test, "-"), plain.by_test.get(test, "-")
            if here != there:
                lines.append(f"{test}: plain {there}, here {here}")
                if test in self.messages:
                    lines[-1] += f" ({self.messages[test]})"
        return lines


def read(report: Path, *, isolated: bool) -> Outcomes:
    """
    Return the outcomes in *report*, JUnit XML of the family xunit1, by `WITNESS`.

    Raises:
        CannotRun: There are none, or a test did not run where it should have.
    """
    kinds: dict[str, set[str]] = {}
    messages: dict[str, str] = {}
    host = os.readlink("/proc/self/ns/ipc")
    # No danger from outside: pytest has just written it.
    for case in ET.parse(report).iter("testcase"):  # noqa: S314
        test = _node_id(case)
        # A test whose call and teardown both fail has two elements.
        bad = [part for part in case if part.tag in _KIND_OF_TAG]
        mine = {_KIND_OF_TAG[part.tag] for part in bad} or {"passed"}
        kinds.setdefault(test, set()).update(mine)
        for part in bad:
            messages[test] = (part.get("message") or "").partition("\n")[0][:200]
        facts = [
            (fact.get("name"), fact.get("value")) for fact in case.iter("property")
        ]
        where = [place for name, place in facts if name == "ipc"]
        if isolated in [place == host for place in where]:
            raise CannotRun(f"{test} ran in {where}, and the host is {host}")
        if not where and mine == {"passed"}:
            raise CannotRun(f"{test} does not tell where it ran")
    if not kinds:
        raise CannotRun("there are no tests")
    by_test = {test: "+".join(sorted(mine)) for test, mine in kinds.items()}
    return Outcomes(by_test, messages)


def _node_id(case: ET.Element) -> str:
    file, name = case.get("file", ""), case.get("name", "")
    module = file.removesuffix(".py").replace("/", ".")
    classes = case.get("classname", "").removeprefix(module).split(".")
    return "::".join([file, *filter(None, classes), name])
