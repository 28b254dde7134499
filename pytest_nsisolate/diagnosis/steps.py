"""
The steps towards a sandbox, each of which can be tried in a throw-away process.

The steps make the calls that the launcher and init make. They show the doctor which
call is refused; the probe decides whether a sandbox can be made.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from pytest_nsisolate.diagnosis.probe import ProbedPool
from pytest_nsisolate.diagnosis.throwaway import Action, attempt
from pytest_nsisolate.launcher import directories, init, mounts
from pytest_nsisolate.launcher import main as launcher
from pytest_nsisolate.linux import namespaces, syscalls
from pytest_nsisolate.linux.namespaces import (
    FORKED,
    IPC,
    JOINED,
    MNT,
    NET,
    UTS,
    Namespace,
)
from pytest_nsisolate.linux.pid_for_children import PidForChildren
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.model.user_namespace import UserNamespace

#: How long the trial of a whole sandbox may take, in seconds. It has longer waits of
#: its own than a step has.
SANDBOX_LIMIT = 45.0


class Step(NamedTuple):
    """
    A step, which the doctor tries in each way into a sandbox.
    """

    group: str
    """Its heading: namespaces, mounts, names, network or entering."""
    name: str
    """The namespace, mount or call."""
    action: Action
    """Takes the step. The user namespace, if there is one, exists by then."""
    needs: tuple[str, ...] = ()
    """The names of the steps that this one depends on."""
    directory: str | None = None
    """A directory without which the step does not apply."""
    privileged: bool = True
    """Whether it needs privilege, which a user namespace gives."""


def try_step(step: Step, user_namespace: UserNamespace) -> Refused | None:
    """
    Try *step* and return what was refused, None if nothing was.

    Args:
        step: The step.
        user_namespace: The user namespace to make before it.
    """

    def act() -> None:
        if user_namespace is not UserNamespace.NONE:
            launcher.enter_user_namespace(user_namespace.value)
        step.action()

    return attempt(act)


def try_sandbox(spec: Spec) -> Refused | None:
    """
    Try everything that a test with *spec* needs, with a guest that does nothing.
    """

    def act() -> None:
        pool = ProbedPool()
        refused = pool.probe(spec)
        pool.stop()
        if refused is not None:
            raise refused

    return attempt(act, SANDBOX_LIMIT)


def _as_process_1(action: Action) -> Action:
    """
    Return an action that does *action* as process 1 of a new PID namespace.
    """

    def act() -> None:
        syscalls.unshare(syscalls.CLONE_NEWPID)
        refused = attempt(action)
        if refused is not None:
            raise refused

    return act


def _in_new(kinds: Sequence[Namespace], action: Action) -> Action:
    """
    Return an action that does *action* in new namespaces of the *kinds*.
    """

    def act() -> None:
        syscalls.unshare(namespaces.joined(kinds))
        if MNT in kinds:
            mounts.detach_mounts()
        action()

    return act


def _come_back() -> None:
    PidForChildren().restore()
    # A guest also enters a mount namespace, which takes another capability.
    syscalls.setns(os.pidfd_open(os.getpid()), MNT.flag)


def _nothing() -> None:
    pass


def _making(kind: Namespace) -> Action:
    """
    Return an action that makes a namespace of *kind*.

    `try_step` has made the user namespace already.
    """
    if kind.entry == JOINED:
        return functools.partial(syscalls.unshare, kind.flag)
    return _as_process_1(_nothing) if kind.entry == FORKED else _nothing


_MOUNT = (MNT.name,)

#: The mount of a fresh /proc.
PROC = Step(
    group="mounts",
    name="/proc",
    action=_as_process_1(_in_new([MNT], mounts.mount_proc)),
    needs=(*_MOUNT, "pid", "/ as slave"),
)

#: In the order in which the doctor shows them. No step needs a later one.
STEPS = (
    *(
        Step(
            group="namespaces",
            name=one.name,
            action=_making(one),
            privileged=one.privileged,
        )
        for one in namespaces.TABLE
    ),
    Step(
        group="mounts",
        name="/ as slave",
        action=_in_new([MNT], _nothing),
        needs=_MOUNT,
    ),
    PROC,
    Step(
        group="mounts",
        name="/dev/shm",
        action=_in_new([MNT], mounts.mount_shm),
        needs=(*_MOUNT, "/ as slave"),
        directory="/dev/shm",
    ),
    Step(
        group="mounts",
        name="/dev/mqueue",
        action=_in_new([MNT, IPC], mounts.mount_mqueue),
        needs=(*_MOUNT, "ipc", "/ as slave"),
        directory="/dev/mqueue",
    ),
    Step(
        group="mounts",
        name="overlay",
        action=_in_new([MNT], directories.try_overlay),
        needs=(*_MOUNT, "/ as slave"),
    ),
    Step(
        group="mounts",
        name="read-only",
        action=_in_new([MNT], directories.try_read_only),
        needs=(*_MOUNT, "/ as slave"),
    ),
    Step(
        group="names",
        name="sethostname()",
        action=_in_new([UTS], lambda: syscalls.sethostname("nsisolate")),
        needs=("uts",),
    ),
    Step(
        group="names",
        name="setdomainname()",
        action=_in_new([UTS], lambda: syscalls.setdomainname("nsisolate")),
        needs=("uts",),
    ),
    Step(
        group="network",
        name="lo up",
        action=_in_new([NET], init.bring_up_loopback),
        needs=("net",),
    ),
    Step(
        group="entering",
        name="setns()",
        action=_as_process_1(_in_new([MNT], _come_back)),
        needs=("pid", "/ as slave"),
    ),
)
