"""
Outcomes of a suite's run, test by test, from its JUnit XML.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import xml.etree.ElementTree as ET
from pathlib import Path

from commands import CannotRun

KINDS = ("passed", "failed", "skipped", "error")

_KIND_OF_TAG = {"failure": "failed", "skipped": "skipped", "error": "error"}


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """
    The outcome of each test of a run, by node id.
    """

    by_test: dict[str, str]
    """One of `KINDS`, or two with a plus, as call and teardown may both fail."""
    messages: dict[str, str]
    """The first line of the reason of each test that did not pass."""

    def counts(self) -> list[int]:
        """
        Return how many tests have each of `KINDS`.
        """
        number = collections.Counter("+".join(self.by_test.values()).split("+"))
        return [number[kind] for kind in KINDS]

    def differences(self, plain: Outcomes) -> dict[str, str]:
        """
        Return, for each test whose outcome differs from *plain*, what differs.
        """
        found = {}
        for test in {**plain.by_test, **self.by_test}:
            here, there = self.by_test.get(test, "-"), plain.by_test.get(test, "-")
            if here != there:
                found[test] = f"plain {there}, here {here}"
                if test in self.messages:
                    found[test] += f" ({self.messages[test]})"
        return found


def namespaces(isolated: bool, *, net: bool) -> dict[str, bool]:
    """
    Return, for each kind of namespace that a test reports, whether it must be new.
    """
    return {"ipc": isolated, "net": isolated and net}


def read(report: Path, new: dict[str, bool]) -> Outcomes:
    """
    Return the outcomes in *report*, JUnit XML of the family xunit1.

    Args:
        report: The report of a run with the plugin ``witness``.
        new: In which namespaces its tests should have run, as from `namespaces`.

    Raises:
        CannotRun: There are none, or a test did not run where it should have.
    """
    kinds: dict[str, set[str]] = {}
    messages: dict[str, str] = {}
    # This is safe: pytest has just written the file.
    for case in ET.parse(report).iter("testcase"):  # noqa: S314
        test = _node_id(case)
        # A test whose call and teardown both fail has two elements.
        bad = [part for part in case if part.tag in _KIND_OF_TAG]
        mine = {_KIND_OF_TAG[part.tag] for part in bad} or {"passed"}
        kinds.setdefault(test, set()).update(mine)
        for part in bad:
            messages[test] = (part.get("message") or "").partition("\n")[0][:200]
        _check_place(test, case, new, told="passed" in mine)
    if not kinds:
        raise CannotRun("there are no tests")
    by_test = {test: "+".join(sorted(mine)) for test, mine in kinds.items()}
    return Outcomes(by_test, messages)


def _check_place(
    test: str, case: ET.Element, new: dict[str, bool], *, told: bool
) -> None:
    facts = [(fact.get("name"), fact.get("value")) for fact in case.iter("property")]
    for kind, is_new in new.items():
        where = [place for name, place in facts if name == kind]
        host = os.readlink(f"/proc/self/ns/{kind}")
        if is_new in [place == host for place in where]:
            raise CannotRun(f"{test} ran in {where}, and the host is {host}")
        if told and not where:
            raise CannotRun(f"{test} does not tell where it ran")


def _node_id(case: ET.Element) -> str:
    file, name = case.get("file", ""), case.get("name", "")
    module = file.removesuffix(".py").replace("/", ".")
    classes = case.get("classname", "").removeprefix(module).split(".")
    return "::".join([file, *filter(None, classes), name])
