"""
The doctor: tries each step towards a sandbox and explains those that are refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import platform
import sys
from typing import NamedTuple

from pytest_nsisolate import __version__
from pytest_nsisolate.diagnosis import machine, steps
from pytest_nsisolate.diagnosis.explain import explain
from pytest_nsisolate.linux import capabilities, namespaces
from pytest_nsisolate.model.errors import Explanation, Refused, errno_name
from pytest_nsisolate.model.spec import KEYWORDS, Spec
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.launcher_client import lacking as missing_for
from pytest_nsisolate.sandbox.launcher_client import user_namespace_for

#: The two ways into a sandbox, as the table heads them.
WAYS = {UserNamespace.NONE: "no user namespace", UserNamespace.KEPT: "user namespace"}

#: The specs to try: the bare marker, and each keyword that needs further calls.
SPECS = {
    "isolated": Spec(),
    **{
        one.written: Spec(**{one.name: one.example})  # type: ignore[arg-type]
        for one in KEYWORDS
        if one.calls
    },
}

#: The capabilities that sandboxes take without a user namespace.
_TAKEN = (
    capabilities.SYS_ADMIN,
    *(one.capability for one in namespaces.TABLE if one.capability),
)

_SETTINGS = (
    "kernel.apparmor_restrict_unprivileged_userns",
    "kernel.unprivileged_userns_clone",
    *(one.limit for one in namespaces.MADE),
)


class Trial(NamedTuple):
    """
    A step, or a whole test, and the result of trying it.
    """

    group: str
    """The group of the step, or ``test``."""
    name: str
    """The name of the step, or the key of the spec in `SPECS`."""
    way: str
    """The way into the sandbox, one of `WAYS`."""
    refused: Refused | None
    """The call that was refused, None if none was."""
    needs: str | None = None
    """What was missing, if this was therefore not tried."""

    def __str__(self) -> str:
        if self.needs is not None:
            return f"not tried: needs {self.needs}"
        return "ok" if self.refused is None else errno_name(self.refused.number)


class Findings(NamedTuple):
    """
    Everything that the doctor found.
    """

    facts: dict[str, dict[str, str]]
    """The facts, by heading and name."""
    trials: list[Trial]
    """The result of each step and test."""
    refusals: list[Explanation]
    """The three lines on each refusal, without repetition."""

    @property
    def available(self) -> bool:
        """
        Whether a test with the bare marker can be isolated.
        """
        return any(
            one.name == "isolated" and one.refused is None for one in self.trials
        )


def examine() -> Findings:
    """
    Read the facts, try every step and test, and explain what was refused.
    """
    tried = [one for kind in WAYS for one in _try_steps(kind)]
    tried += _try_tests()
    explained: dict[str, Explanation] = {}
    for one in tried:
        if one.refused is not None:
            what = "isolate a test" if one.group == "test" else "take the step"
            action = f"{what} {one.name} ({one.way})"
            explanation = explain(action, one.refused)
            # One refusal is enough to explain a cause.
            explained.setdefault(f"{one.way}: {explanation.why}", explanation)
    return Findings(facts=_read(), trials=tried, refusals=list(explained.values()))


def _try_steps(user_namespace: UserNamespace) -> list[Trial]:
    tried: dict[str, Trial] = {}
    is_plain = user_namespace is UserNamespace.NONE
    for step in steps.STEPS:
        if is_plain and not step.privileged:
            continue
        owner = () if is_plain else (namespaces.USER.name,)
        needs = (*owner, *step.needs)
        failed = [
            name
            for name in needs
            if name in tried and (tried[name].refused or tried[name].needs)
        ]
        refused = None
        if sys.platform != "linux":
            failed = ["Linux"]
        elif step.directory and not machine.is_there(step.directory):
            failed = [step.directory]
        elif not failed:
            refused = _by_way(steps.try_step(step, user_namespace), user_namespace)
        tried[step.name] = Trial(
            group=step.group,
            name=step.name,
            way=WAYS[user_namespace],
            refused=refused,
            needs=failed[0] if failed else None,
        )
    return list(tried.values())


def _try_tests() -> list[Trial]:
    return [_try_test(name, spec) for name, spec in SPECS.items()]


def _try_test(name: str, spec: Spec) -> Trial:
    way = UserNamespace.KEPT
    lacking: tuple[str, ...] = ()
    # Without pidfds neither way works, and the trial of the test says why.
    with contextlib.suppress(Refused, AttributeError):
        way, lacking = user_namespace_for(spec), missing_for(spec)
    if sys.platform == "linux":
        refused = _by_way(steps.try_sandbox(spec), way, lacking)
    else:
        refused = Refused(f"namespaces on {sys.platform}", errno.ENOSYS)
    is_plain = way is UserNamespace.NONE
    return Trial(
        group="test",
        name=name,
        way=WAYS[UserNamespace.NONE if is_plain else UserNamespace.KEPT],
        refused=refused,
    )


def _by_way(
    refused: Refused | None,
    user_namespace: UserNamespace,
    lacking: tuple[str, ...] = (),
) -> Refused | None:
    """
    Return *refused* with the way on which it was refused.
    """
    if refused is not None:
        refused.user_namespace = user_namespace
        refused.lacking = lacking
    return refused


def _read() -> dict[str, dict[str, str]]:
    found = machine.container()
    capable = {True: "yes", False: "no", None: "unreadable"}
    settings = {name: machine.sysctl(name) or "missing" for name in _SETTINGS}
    return {
        "kernel": {
            "release": f"{platform.system()} {platform.release()}",
            "Python": platform.python_version(),
            "pytest_nsisolate": __version__,
        },
        "privileges": {
            "uid": str(os.geteuid()) if hasattr(os, "geteuid") else "none",
            "CapEff": machine.status("CapEff") or "unreadable",
            **{name: capable[machine.has_capability(name)] for name in _TAKEN},
            "Seccomp": machine.status("Seccomp") or "unreadable",
            "AppArmor profile": machine.apparmor() or "none",
            "user namespace": " ".join(
                (machine.read("/proc/self/uid_map") or "unreadable").split()
            ),
            "container": f"{found.name} ({found.sign})" if found else "none found",
            "chroot": machine.chroot() or "none found",
        },
        "settings": {
            **settings,
            "RLIMIT_NPROC": machine.limit("Max processes") or "unreadable",
            "RLIMIT_NOFILE": machine.limit("Max open files") or "unreadable",
            "hidepid of /proc": machine.hidepid() or "0",
            "masks on /proc": ", ".join(machine.masks()) or "none",
            "/dev/shm": _presence("/dev/shm"),
            "/dev/mqueue": _presence("/dev/mqueue"),
            # The audit reads the SysV objects that a test left here.
            "/proc/sysvipc": _presence("/proc/sysvipc"),
        },
    }


def _presence(path: str) -> str:
    return "exists" if machine.is_there(path) else "missing"


def as_table(findings: Findings) -> str:
    """
    Return *findings* as a table for people.
    """
    lines: list[str] = []
    for heading, read in findings.facts.items():
        width = max(map(len, read))
        rows = [f"  {name:{width}}  {value}" for name, value in read.items()]
        lines += [heading, *rows, ""]
    group = ""
    table = _rows(findings)
    width = max(len(name) for _, name in table) + 4
    heads = f"{WAYS[UserNamespace.NONE]:30}{WAYS[UserNamespace.KEPT]}"
    lines.append(f"{'tried':{width}}{heads}")
    for (kind, name), row in table.items():
        if kind != group:
            group = kind
            lines.append(kind)
        cells = [row.get(way, "-") for way in WAYS.values()]
        lines.append(f"  {name:{width - 2}}{cells[0]:30}{cells[1]}")
    for explanation in findings.refusals:
        lines += ["", str(explanation)]
    return "\n".join([*lines, "", _verdict(findings), ""])


def _rows(findings: Findings) -> dict[tuple[str, str], dict[str, str]]:
    """
    Return the cells of the table, by group and name, then by way.
    """
    rows: dict[tuple[str, str], dict[str, str]]
    rows = {(step.group, step.name): {} for step in steps.STEPS}
    for one in findings.trials:
        row = rows.setdefault((one.group, one.name), {})
        row[one.way] = str(one)
    return rows


def _verdict(findings: Findings) -> str:
    if findings.available:
        return "verdict: tests can be isolated"
    without = [one for one in findings.trials if one.name == "proc=False"]
    if any(one.refused is None for one in without):
        return "verdict: tests can be isolated only with proc=False"
    return "verdict: no test can be isolated"


def as_json(findings: Findings) -> str:
    """
    Return *findings* as JSON for programs.
    """
    trials = [
        {
            "group": one.group,
            "name": one.name,
            "way": one.way,
            "ok": str(one) == "ok",
            "call": one.refused.call if one.refused else None,
            "errno": errno_name(one.refused.number) if one.refused else None,
            "needs": one.needs,
        }
        for one in findings.trials
    ]
    refusals = [dataclasses.asdict(one) for one in findings.refusals]
    content = {
        "available": findings.available,
        "facts": findings.facts,
        "trials": trials,
        "refusals": refusals,
    }
    return json.dumps(content, indent=2) + "\n"


def run(form: str) -> int:
    """
    Examine this machine and print the findings.

    Args:
        form: ``table`` or ``json``.

    Returns:
        The exit status: 0 if tests can be isolated, else 1.
    """
    findings = examine()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write({"table": as_table, "json": as_json}[form](findings))
        sys.stdout.flush()
    return 0 if findings.available else 1
