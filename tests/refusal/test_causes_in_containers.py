"""
Causes of a refusal in each kind of container, and the fix for that kind.
"""

from __future__ import annotations

import errno

import pytest
from reasons import (
    DOCKER,
    KUBERNETES,
    MASKED,
    PODMAN,
    PROFILE,
    RESTRICTED,
    SECCOMP,
    SPEAKS_FOR_ITSELF,
    Files,
    lines,
)


@pytest.mark.parametrize(
    ("there", "sign", "fix"),
    [
        (
            DOCKER,
            "/.dockerenv exists",
            "docker run --security-opt systempaths=unconfined, or " + SPEAKS_FOR_ITSELF,
        ),
        (
            PODMAN,
            "/run/.containerenv exists",
            "podman run --security-opt unmask=ALL, or " + SPEAKS_FOR_ITSELF,
        ),
        (
            {**DOCKER, **KUBERNETES},
            "/var/run/secrets/kubernetes.io exists",
            "set hostUsers: false in the pod and procMount: Unmasked in the "
            "securityContext of the container, or " + SPEAKS_FOR_ITSELF,
        ),
    ],
)
def test_masked_proc(files: Files, there: Files, sign: str, fix: str) -> None:
    """
    A masked ``/proc`` gets the fix for its kind of container.
    """
    files.update({**MASKED, **there})
    assert lines("mount(proc, /proc)", errno.EPERM) == [
        (
            f"the container masks parts of /proc (/proc/kcore; {sign}), so the kernel "
            "refuses to mount a fresh one (mount_namespaces(7))"
        ),
        fix,
    ]


@pytest.mark.parametrize(
    ("there", "sign", "fix"),
    [
        (
            DOCKER,
            "/.dockerenv exists",
            "docker run --security-opt seccomp=unconfined",
        ),
        (
            PODMAN,
            "/run/.containerenv exists",
            "podman run --security-opt seccomp=unconfined",
        ),
        (
            KUBERNETES,
            "/var/run/secrets/kubernetes.io exists",
            (
                "set seccompProfile: {type: Unconfined} in the securityContext of "
                "the pod"
            ),
        ),
    ],
)
def test_seccomp(files: Files, there: Files, sign: str, fix: str) -> None:
    """
    A seccomp filter gets the fix for its kind of container.
    """
    files.update({**SECCOMP, **there})
    assert lines("unshare(CLONE_NEWUSER)", errno.EPERM) == [
        (
            "a seccomp filter restricts this process (Seccomp is 2 in "
            f"/proc/self/status; {sign})"
        ),
        fix,
    ]


def test_kubernetes_by_its_environment(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A pod without a service account is recognised by its environment variable.
    """
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    files.update(SECCOMP)
    assert "; KUBERNETES_SERVICE_HOST is set)" in lines("setns()", errno.EPERM)[0]


@pytest.mark.parametrize("call", ["sethostname()", "setdomainname()"])
def test_podman_hostname(files: Files, call: str) -> None:
    """
    Podman's filter refuses only names, and the fix says to leave them out.
    """
    files.update({**SECCOMP, **PODMAN})
    assert lines(call, errno.EPERM) == [
        (
            f"Podman's seccomp filter allows new namespaces but refuses {call} "
            "(Seccomp is 2 in /proc/self/status; /run/.containerenv exists)"
        ),
        (
            "podman run --security-opt seccomp=unconfined, or leave out hostname= and "
            "domainname="
        ),
    ]


@pytest.mark.parametrize(
    ("there", "fix"),
    [
        ({}, "docker run --security-opt apparmor=unconfined, or the same with podman"),
        (DOCKER, "docker run --security-opt apparmor=unconfined"),
        (PODMAN, "podman run --security-opt apparmor=unconfined"),
        (
            KUBERNETES,
            (
                "set appArmorProfile: {type: Unconfined} in the securityContext of "
                "the pod"
            ),
        ),
    ],
)
def test_apparmor_profile(files: Files, there: Files, fix: str) -> None:
    """
    A profile is named even where unconfined processes are restricted too.
    """
    files.update({**PROFILE, **RESTRICTED, **there})
    assert lines("mount(none, /)", errno.EACCES) == [
        (
            "an AppArmor profile confines this process (docker-default (enforce) in "
            "/proc/self/attr/current)"
        ),
        fix,
    ]


@pytest.mark.parametrize(
    ("call", "number", "reason"),
    [
        ("unshare(CLONE_NEWUSER)", errno.EPERM, "a seccomp filter"),
        ("unshare(CLONE_NEWUSER)", errno.EACCES, "this kernel forbids"),
        ("write(/proc/self/uid_map)", errno.EPERM, "this kernel forbids"),
    ],
)
def test_docker_on_ubuntu(files: Files, call: str, number: int, reason: str) -> None:
    """
    With both a filter and the restriction, the refused call tells which one it was.
    """
    files.update({**SECCOMP, **RESTRICTED})
    assert lines(call, number)[0].startswith(reason)
