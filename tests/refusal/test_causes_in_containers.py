"""
Causes of a refusal that no container of this machine can have, from made-up facts.
"""

from __future__ import annotations

import errno
import os

import pytest
from reasons import (
    DOCKER,
    KUBERNETES,
    MASKED,
    PODMAN,
    PROFILE,
    RESTRICTED,
    SPEAKS_FOR_ITSELF,
    Files,
    lines,
)

USER = "docker run --security-opt seccomp=unconfined --security-opt {}"
ROOT = "docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN"


@pytest.mark.parametrize(
    ("uid", "fix"),
    [(1000, USER.format("systempaths=unconfined")), (0, ROOT)],
)
def test_masked_proc(
    files: Files, monkeypatch: pytest.MonkeyPatch, uid: int, fix: str
) -> None:
    """
    A masked ``/proc`` counts only in a user namespace, which root in Docker can avoid.
    """
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    files.update({**MASKED, **DOCKER})
    assert lines("mount(proc, /proc)", errno.EPERM) == [
        (
            "parts of /proc are masked (/proc/kcore; /.dockerenv exists), so the "
            "kernel refuses to mount a fresh one in a user namespace "
            "(mount_namespaces(7))"
        ),
        f"{fix}, or {SPEAKS_FOR_ITSELF}",
    ]


@pytest.mark.parametrize(
    ("there", "fix"),
    [
        ({}, "docker run --security-opt apparmor=unconfined, or the same with podman"),
        (
            DOCKER,
            USER.format("apparmor=unconfined --security-opt systempaths=unconfined"),
        ),
        (
            PODMAN,
            (
                "podman run --security-opt seccomp=unconfined "
                "--security-opt apparmor=unconfined --security-opt unmask=ALL"
            ),
        ),
        (
            KUBERNETES,
            (
                "write hostUsers: false in the pod and securityContext: "
                "{seccompProfile: {type: Unconfined}, appArmorProfile: "
                "{type: Unconfined}, procMount: Unmasked} in the container"
            ),
        ),
    ],
)
def test_apparmor_profile(
    files: Files, monkeypatch: pytest.MonkeyPatch, there: Files, fix: str
) -> None:
    """
    A profile is named even where unconfined processes are restricted too.
    """
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    files.update({**PROFILE, **RESTRICTED, **there})
    assert lines("mount(none, /)", errno.EACCES) == [
        (
            "an AppArmor profile confines this process (docker-default (enforce) in "
            "/proc/self/attr/current)"
        ),
        fix,
    ]


@pytest.mark.parametrize(
    ("there", "fix"),
    [
        (
            PODMAN,
            (
                "podman run --security-opt seccomp=unconfined "
                "--security-opt label=disable --security-opt unmask=ALL"
            ),
        ),
        (
            KUBERNETES,
            (
                "write hostUsers: false in the pod and securityContext: "
                "{seccompProfile: {type: Unconfined}, seLinuxOptions: {type: spc_t}, "
                "procMount: Unmasked} in the container"
            ),
        ),
    ],
)
def test_selinux_label(
    files: Files, monkeypatch: pytest.MonkeyPatch, there: Files, fix: str
) -> None:
    """
    In a container with a label of SELinux, the engine is told to set none.
    """
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    context = "system_u:system_r:container_t:s0:c1,c2"
    files.update({"/proc/self/attr/current": context, **there})
    why, told = lines("mount(proc, /proc)", errno.EACCES)
    assert why.startswith(f"perhaps SELinux: it has pytest run as {context} (")
    assert told == fix
