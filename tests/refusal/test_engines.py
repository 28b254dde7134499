"""
Refusals in a container: one line with everything that its engine has to be told.
"""

from __future__ import annotations

import os
import re
import sys

import pytest
from examination import DOCTOR, examine
from mounts import SPACE
from seccomp import FILTER
from ways import LOSE

from pytest_nsisolate.diagnosis import machine

pytestmark = pytest.mark.faults

#: What each engine leaves in its containers, for a shell.
SIGNS = {
    "docker": "true",
    "podman": "touch /run/.containerenv",
    "podman --read-only": "export container=podman",
    "kubernetes": "export KUBERNETES_SERVICE_HOST=10.0.0.1",
    "nspawn": "mkdir /run/host && printf systemd-nspawn > /run/host/container-manager",
}

#: By engine, what root and another user have to tell it. All are in a user namespace
#: here, where the masks on /proc count for root too.
FIXES = {
    "docker": (
        (
            "docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN "
            "--security-opt seccomp=unconfined --security-opt systempaths=unconfined"
        ),
        (
            "docker run --security-opt seccomp=unconfined "
            "--security-opt systempaths=unconfined"
        ),
    ),
    "podman": (
        (
            "podman run --cap-add SYS_ADMIN --cap-add NET_ADMIN "
            "--security-opt seccomp=unconfined --security-opt unmask=ALL"
        ),
        "podman run --security-opt seccomp=unconfined --security-opt unmask=ALL",
    ),
    "kubernetes": (
        (
            "write hostUsers: false in the pod and securityContext: {capabilities: "
            "{add: [SYS_ADMIN, NET_ADMIN]}, seccompProfile: {type: Unconfined}, "
            "procMount: Unmasked} in the container"
        ),
        (
            "write hostUsers: false in the pod and securityContext: {seccompProfile: "
            "{type: Unconfined}, procMount: Unmasked} in the container"
        ),
    ),
    "nspawn": (
        "systemd-nspawn --capability=CAP_SYS_ADMIN,CAP_NET_ADMIN",
        "systemd-nspawn --user=root --capability=CAP_SYS_ADMIN,CAP_NET_ADMIN",
    ),
}

FIXES["podman --read-only"] = FIXES["podman"]

#: Makes a user other than root, who has no capabilities, of root in a user namespace.
USER = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]

TEST = """
import pytest

@pytest.mark.isolated
def test_it(): pass
"""

RUN = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]


def _there(engine: str) -> list[str]:
    """
    Return the command that leaves the sign of *engine*, as root in a user namespace.
    """
    if engine == "docker" and not os.path.exists("/.dockerenv"):
        pytest.skip("only root of the machine could make /.dockerenv")
    script = f'mount -t tmpfs none /run && {SIGNS[engine]} && exec "$@"'
    return [*SPACE, "sh", "-ec", script, "sh"]


def _with_apparmor(fix: str) -> str:
    """
    Return *fix*, which has to turn off the profile of AppArmor too if there is one.
    """
    if machine.apparmor() is None:
        return fix
    fix = re.sub("(?=procMount)", "appArmorProfile: {type: Unconfined}, ", fix)
    unmask = "(?=--security-opt (?:systempaths|unmask))"
    return re.sub(unmask, "--security-opt apparmor=unconfined ", fix)


@pytest.mark.parametrize("user", [[], USER], ids=["root", "user"])
@pytest.mark.parametrize("engine", list(FIXES))
def test_everything_in_one_line(
    pytester: pytest.Pytester, engine: str, user: list[str]
) -> None:
    """
    The first refusal names all that later ones would ask for, in the engine's words.
    """
    script = pytester.makepyfile(refusing=FILTER)
    pytester.makepyfile(test_it=TEST)
    behind = [sys.executable, str(script), "unshare", "1"]

    result = pytester.run(*_there(engine), *user, *behind, *RUN, timeout=60)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: unshare(CLONE_NEWUSER) failed: EPERM",
            "why: a seccomp filter refuses unshare(): *",
        ]
    )
    # The summary has it again.
    (fix,) = {line for line in result.outlines if line.startswith("fix: ")}
    wanted = FIXES[engine][user == USER]
    assert fix == f"fix: {_with_apparmor(wanted)}"


def test_time(pytester: pytest.Pytester) -> None:
    """
    A test that shifts clocks names at once what root needs for that, too.
    """
    script = pytester.makepyfile(refusing=FILTER)
    pytester.makepyfile(
        test_it=TEST.replace("isolated", 'isolated(time={"boottime": 9})')
    )
    lost = ["setpriv", "--bounding-set=-sys_admin,-sys_time"]
    behind = [*lost, sys.executable, str(script), "unshare", "1"]

    result = pytester.run(*_there("podman"), *behind, *RUN, timeout=60)

    result.assert_outcomes(errors=1)
    fix = (
        "podman run --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add SYS_TIME "
        "--security-opt unmask=ALL"
    )
    result.stdout.fnmatch_lines([f"fix: {_with_apparmor(fix)}"])


def test_each_capability(pytester: pytest.Pytester) -> None:
    """
    A container that was given a single capability needs the others, too.
    """
    pytester.makepyfile(test_it=TEST)
    owned = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    only = ["--bounding-set=-all,+sys_admin", "--inh-caps=-all,+sys_admin"]
    prefix = [*_there("podman"), *owned, "setpriv", *only]

    result = pytester.run(*prefix, *RUN, timeout=60)

    result.assert_outcomes(errors=1)
    fix = (
        "podman run --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add SYS_CHROOT "
        "--security-opt unmask=ALL"
    )
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: write(/proc/self/uid_map) failed: EPERM",
            (
                "why: CAP_SYS_CHROOT is not in effect (CapEff is 0000000000200000), so "
                "a user namespace is needed; pytest is uid 0 without CAP_SETFCAP, so *"
            ),
            f"fix: {_with_apparmor(fix)}",
        ]
    )


@pytest.mark.parametrize("user", [LOSE.split(), USER], ids=["root", "user"])
def test_doctor(pytester: pytest.Pytester, user: list[str]) -> None:
    """
    The doctor says how to start the container as root, and not only to be root.
    """
    found = examine(pytester, *_there("podman"), *user, *DOCTOR, "--json")

    (line,) = (one for one in found["refusals"] if "CAP_SYS_ADMIN" in one["why"])
    root = "--user 0 " if user == USER else ""
    fix = (
        f"podman run {root}--cap-add SYS_ADMIN --cap-add NET_ADMIN "
        "--security-opt unmask=ALL"
    )
    tail = "; not needed if isolation with a user namespace works"
    assert line["fix"] == _with_apparmor(fix) + tail
