"""
Refusals in a container: one line with everything that its engine has to be told.
"""

from __future__ import annotations

import os
import re
import sys

import pytest
from mounts import SPACE
from seccomp import FILTER

from pytest_nsisolate.diagnosis import machine

#: What each engine leaves in its containers, for a shell.
SIGNS = {
    "docker": "true",
    "podman": "touch /run/.containerenv",
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
            "write hostUsers: false in the pod and securityContext: {capabilities: {add: "
            "[SYS_ADMIN, NET_ADMIN]}, seccompProfile: {type: Unconfined}, "
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

#: Makes a user other than root, who has no capabilities, of root in a user namespace.
USER = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]


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
    Return *fix* for a machine with AppArmor, whose profile has to be turned off too.
    """
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
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.isolated
        def test_it(): pass
        """
    )
    behind = [sys.executable, str(script), "unshare", "1"]
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]

    result = pytester.run(*_there(engine), *user, *behind, *run, timeout=60)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: unshare(CLONE_NEWUSER) failed: EPERM",
            "why: a seccomp filter refuses unshare(): *",
        ]
    )
    (fix,) = (line for line in result.outlines if line.startswith("fix: "))
    wanted = FIXES[engine][user == USER]
    if machine.apparmor() is not None:
        wanted = _with_apparmor(wanted)
    assert fix == f"fix: {wanted}"
