"""
The seccomp profile: a valid file that allows what Docker's default does, and more.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.seccomp import profile

DOCKER = json.loads(profile._DOCKER.read_text("utf-8"))


def printed() -> dict[str, Any]:
    """
    Return the profile that the command prints.
    """
    command = [sys.executable, "-m", "pytest_nsisolate", "--seccomp-profile"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert done.stderr == b""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rules_for(call: str, content: dict[str, Any]) -> list[dict[str, Any]]:
    """
    Return the rules for *call* in *content*, without their names.
    """
    return [
        {key: value for key, value in rule.items() if key != "names"}
        for rule in content["syscalls"]
        if call in rule["names"]
    ]


def named(content: dict[str, Any]) -> Iterator[str]:
    """
    Yield every call that *content* names.
    """
    for rule in content["syscalls"]:
        yield from rule["names"]


def is_unconditional(rule: dict[str, Any]) -> bool:
    """
    Say whether *rule* allows its calls to everyone, whatever the arguments.
    """
    conditions = [rule.get(key) for key in ("args", "includes", "excludes")]
    return rule["action"] == "SCMP_ACT_ALLOW" and not any(conditions)


@pytest.mark.parametrize("call", profile.CALLS)
def test_allows_the_call(call: str) -> None:
    """
    Each call has one rule, without conditions, and had none like it in Docker's file.
    """
    (rule,) = rules_for(call, printed())

    assert is_unconditional(rule)
    assert not any(map(is_unconditional, rules_for(call, DOCKER)))


def test_leaves_the_rest_as_it_is() -> None:
    """
    The rules for all other calls, and what is not a rule, are Docker's.
    """
    found = printed()
    others = set(named(DOCKER)) - set(profile.CALLS)

    assert set(named(found)) - set(profile.CALLS) == others
    assert [
        one for one in others if rules_for(one, found) != rules_for(one, DOCKER)
    ] == []
    assert {**found, "syscalls": []} == {**DOCKER, "syscalls": []}


def test_has_the_shape_that_engines_read() -> None:
    """
    What is refused answers EPERM; rules have only known keys and actions.
    """
    found = printed()

    assert (found["defaultAction"], found["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    keys = {"names", "action", "args", "comment", "includes", "excludes", "errnoRet"}
    for rule in found["syscalls"]:
        assert set(rule) <= keys
        assert rule["action"] in {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}
        assert rule["names"]
        assert all(re.fullmatch("[a-z0-9_]+", name) for name in rule["names"])


def test_allows_what_the_package_calls() -> None:
    """
    No call that the package makes for itself is left to the container's capabilities.
    """
    made = set(syscalls._functions) & set(named(DOCKER))
    found = printed()

    assert {"mount", "setns", "sethostname", "unshare"} <= made
    for call in made:
        assert any(map(is_unconditional, rules_for(call, found))), call


def test_no_findings_beside_it() -> None:
    """
    The profile and the findings as JSON cannot be asked for at once.
    """
    command = [sys.executable, "-m", "pytest_nsisolate", "--seccomp-profile", "--json"]

    done = subprocess.run(command, check=False, capture_output=True, timeout=60)

    assert done.returncode == 2
    assert b"not allowed with argument" in done.stderr
