"""
Single steps on the way into a sandbox, each tried in a throw-away process.

The steps call what the launcher and init call. They are for the doctor, which tells by
them what is refused; whether a sandbox can be had is for the probe to say.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from pytest_nsisolate.diagnosis.probe import ProbedPool
from pytest_nsisolate.diagnosis.throwaway import Action, attempt
from pytest_nsisolate.launcher import init, mounts
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
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.model.user_namespace import UserNamespace

#: How long a whole sandbox may take, which waits longer by itself, in seconds.
SANDBOX_LIMIT = 45.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    One step, to be tried by each way into a sandbox.
    """

    group: str
    """What the step is about: namespaces, mounts, names, network or entering."""
    name: str
    """The namespace, mount or call."""
    action: Action
    """Does it, where the user namespace, if there is to be one, has been made."""
    needs: tuple[str, ...] = ()
    """Names of the steps without which this one cannot be."""
    directory: str | None = None
    """Without which there is nothing to do."""
    privileged: bool = True
    """Whether it is one of those that a user namespace is made for."""


def try_step(step: Step, user_namespace: UserNamespace) -> Refused | None:
    """
    Try *step*.

    Args:
        step: The step.
        user_namespace: Where to try it.
    """

    def act() -> None:
        if user_namespace is not UserNamespace.NONE:
            launcher.enter_user_namespace(user_namespace)
        step.action()

    return attempt(act)


def try_sandbox(spec: Spec) -> Refused | None:
    """
    Try all that a test with *spec* goes through, with a guest that does nothing.
    """

    def act() -> None:
        pool = ProbedPool()
        refused = pool.probe(spec)
        pool.stop()
        if refused is not None:
            raise refused

    return attempt(act, SANDBOX_LIMIT)


def _inside(action: Action) -> Action:
    """
    Return what does *action* as process 1 of a new PID namespace.
    """

    def act() -> None:
        syscalls.unshare(syscalls.CLONE_NEWPID)
        refused = attempt(action)
        if refused is not None:
            raise refused

    return act


def _within(kinds: Sequence[Namespace], action: Action) -> Action:
    """
    Return what does *action* in new namespaces of the *kinds*.
    """

    def act() -> None:
        syscalls.unshare(namespaces.joined(kinds))
        if MNT in kinds:
            mounts.detach_mounts()
        action()

    return act


def _come_back() -> None:
    PidForChildren().restore()


def _nothing() -> None:
    pass


def _making(kind: Namespace) -> Action:
    """
    Return what makes a namespace of *kind*; that of the user is there by then.
    """
    if kind.entry == JOINED:
        return functools.partial(syscalls.unshare, kind.flag)
    return _inside(_nothing) if kind.entry == FORKED else _nothing


_MOUNT = (MNT.name,)

#: In the order in which they are shown: no step needs a later one.
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
        action=_within([MNT], _nothing),
        needs=_MOUNT,
    ),
    Step(
        group="mounts",
        name="/proc",
        action=_inside(_within([MNT], mounts.mount_proc)),
        needs=(*_MOUNT, "pid", "/ as slave"),
    ),
    Step(
        group="mounts",
        name="/dev/shm",
        action=_within([MNT], mounts.mount_shm),
        needs=(*_MOUNT, "/ as slave"),
        directory="/dev/shm",
    ),
    Step(
        group="mounts",
        name="/dev/mqueue",
        action=_within([MNT, IPC], mounts.mount_mqueue),
        needs=(*_MOUNT, "ipc", "/ as slave"),
        directory="/dev/mqueue",
    ),
    Step(
        group="names",
        name="sethostname()",
        action=_within([UTS], lambda: syscalls.sethostname("nsisolate")),
        needs=("uts",),
    ),
    Step(
        group="names",
        name="setdomainname()",
        action=_within([UTS], lambda: syscalls.setdomainname("nsisolate")),
        needs=("uts",),
    ),
    Step(
        group="network",
        name="lo up",
        action=_within([NET], init.bring_up_loopback),
        needs=("net",),
    ),
    Step(
        group="entering",
        name="setns()",
        action=_inside(_come_back),
        needs=("pid",),
    ),
)
