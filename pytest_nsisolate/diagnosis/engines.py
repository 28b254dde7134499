"""
The engines of containers: how to tell each of them all that sandboxes need.

One line has everything, since an engine that is started again forgets what it was told
before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pytest_nsisolate.diagnosis import machine, masks
from pytest_nsisolate.linux import capabilities, namespaces

#: What a sandbox takes without a user namespace, and no engine gives by itself.
_NEVER_GIVEN = (capabilities.SYS_ADMIN, capabilities.NET_ADMIN)


class Needs(NamedTuple):
    """
    What an engine has to be told.
    """

    to_root: bool = False
    """To run pytest as root, which it is not."""
    capabilities: tuple[str, ...] = ()
    """To give these, and so no user namespace is needed."""
    seccomp: bool = False
    """To set no seccomp filter."""
    apparmor: bool = False
    """To set no AppArmor profile."""
    selinux: bool = False
    """To set no label of SELinux."""
    proc: bool = False
    """To mask nothing in ``/proc``."""


def needs(*, as_root: bool, more: Iterable[str] = (), filtered: bool = False) -> Needs:
    """
    Return what the engine of this container has to be told.

    Args:
        as_root: Whether root is to be given capabilities. Otherwise pytest makes a user
            namespace, which takes none.
        more: Capabilities that are needed besides the usual ones.
        filtered: Whether a seccomp filter is known to refuse a call.
    """
    has_apparmor = machine.apparmor() is not None
    has_selinux = machine.selinux() is not None
    if not as_root:
        return Needs(
            seccomp=True, apparmor=has_apparmor, selinux=has_selinux, proc=True
        )
    # Engines give root the others, unless they were told to drop them.
    missing = [
        one.capability
        for one in namespaces.TABLE
        if one.keyword is None
        and one.capability
        and machine.has_capability(one.capability, "CapBnd") is False
    ]
    to_root = os.geteuid() != 0
    # What this container may have, its root has.
    asked = [
        name
        for name in more
        if not (to_root and machine.has_capability(name, "CapBnd"))
    ]
    names = dict.fromkeys((*_NEVER_GIVEN, *missing, *asked))
    return Needs(
        to_root=to_root,
        capabilities=tuple(names),
        # The filter of an engine lets through what CAP_SYS_ADMIN allows.
        seccomp=filtered and bool(machine.has_capability(capabilities.SYS_ADMIN)),
        apparmor=has_apparmor,
        selinux=has_selinux,
        proc=masks.hinder_root(),
    )


def _run(command: str, unmask: str) -> Callable[[Needs], str]:
    """
    Return what writes a command line of Docker, or of a program with its options.
    """

    def write(need: Needs) -> str:
        words = [command]
        if need.to_root:
            words.append("--user 0")
        words += [f"--cap-add {_short(name)}" for name in need.capabilities]
        if need.seccomp:
            words.append("--security-opt seccomp=unconfined")
        if need.apparmor:
            words.append("--security-opt apparmor=unconfined")
        if need.selinux:
            words.append("--security-opt label=disable")
        if need.proc:
            words.append(f"--security-opt {unmask}")
        return " ".join(words)

    return write


def _kubernetes(need: Needs) -> str:
    context = []
    if need.to_root:
        context.append("runAsUser: 0")
    if need.capabilities:
        names = ", ".join(map(_short, need.capabilities))
        context.append(f"capabilities: {{add: [{names}]}}")
    if need.seccomp:
        context.append("seccompProfile: {type: Unconfined}")
    if need.apparmor:
        context.append("appArmorProfile: {type: Unconfined}")
    if need.selinux:
        context.append("seLinuxOptions: {type: spc_t}")
    if need.proc:
        context.append("procMount: Unmasked")
    # procMount takes hostUsers. Source: Kubernetes documentation, procMount.
    pod = "hostUsers: false in the pod and " if need.proc else ""
    return f"write {pod}securityContext: {{{', '.join(context)}}} in the container"


def _nspawn(need: Needs) -> str:
    # It has no options for filter and masks, which concern only other users than root.
    user = "--user=root " if need.to_root or not need.capabilities else ""
    names = need.capabilities or _NEVER_GIVEN
    return f"systemd-nspawn {user}--capability={','.join(names)}"


def _short(name: str) -> str:
    return name.removeprefix("CAP_")


class Engine(NamedTuple):
    """
    An engine of containers.
    """

    title: str
    """Its name for people."""
    write: Callable[[Needs], str]
    """Writes what to type."""


#: Each engine, by `machine.Container.name`.
ENGINES = {
    "docker": Engine(
        title="Docker", write=_run("docker run", "systempaths=unconfined")
    ),
    "podman": Engine(title="Podman", write=_run("podman run", "unmask=ALL")),
    "kubernetes": Engine(title="Kubernetes", write=_kubernetes),
    "nspawn": Engine(title="systemd-nspawn", write=_nspawn),
}
