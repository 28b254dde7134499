"""
Made-up facts that explain a refusal, and the lines that result.
"""

from __future__ import annotations

from pytest_nsisolate.diagnosis import explain
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.user_namespace import UserNamespace

SECCOMP = {"/proc/self/status": "Seccomp:\t2\n"}
MASKED = {"/proc/self/mountinfo": "1 0 0:1 / /proc/kcore rw - tmpfs none rw"}
PODMAN = {"/run/.containerenv": ""}
DOCKER = {"/.dockerenv": ""}
KUBERNETES = {"/var/run/secrets/kubernetes.io": ""}
PROFILE = {"/proc/self/attr/apparmor/current": "docker-default (enforce)"}
RESTRICTED = {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}
SPEAKS_FOR_ITSELF = "@pytest.mark.isolated(proc=False)"

Files = dict[str, str]


def lines(call: str, number: int, way: UserNamespace | None = None) -> list[str]:
    """
    Return the lines why and fix of a refusal, on the given way into a sandbox.
    """
    refused = Refused(call, number)
    refused.user_namespace = way
    text = str(explain.explain("do it", refused))
    return [line.partition(": ")[2] for line in text.split("\n")[1:]]
