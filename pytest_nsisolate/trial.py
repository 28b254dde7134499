"""
Single steps on the way into a sandbox, each tried in a throw-away process.

The steps call what the launcher and init call. They are for the doctor, which tells by
them what is refused; whether a sandbox can be had is for the probe to say.
"""

from __future__ import annotations

import dataclasses

from pytest_nsisolate import init, launcher, linux
from pytest_nsisolate.attempt import Action, attempt
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.pool import Pool
from pytest_nsisolate.spec import Spec
from pytest_nsisolate.untouched import os
from pytest_nsisolate.user_namespace import UserNamespace

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
        pool = Pool()
        refused = pool.probe(spec)
        pool.rest()
        if refused is not None:
            raise refused

    return attempt(act, SANDBOX_LIMIT)


def _inside(action: Action) -> Action:
    """
    Return what does *action* as process 1 of a new PID namespace.
    """

    def act() -> None:
        linux.unshare(linux.CLONE_NEWPID)
        refused = attempt(action)
        if refused is not None:
            raise refused

    return act


def _within(flags: int, action: Action) -> Action:
    """
    Return what does *action* in new namespaces of the kinds in *flags*.
    """

    def act() -> None:
        linux.unshare(flags)
        if flags & linux.CLONE_NEWNS:
            init.detach_mounts()
        action()

    return act


def _come_back() -> None:
    here = os.pidfd_open(os.getpid())
    linux.setns(here, linux.CLONE_NEWPID)


def _nothing() -> None:
    pass


_MOUNT = ("mnt",)

#: In the order in which they are shown: no step needs a later one.
STEPS = (
    Step(group="namespaces", name="user", action=_nothing),
    Step(
        group="namespaces", name="ipc", action=lambda: linux.unshare(linux.CLONE_NEWIPC)
    ),
    Step(
        group="namespaces", name="uts", action=lambda: linux.unshare(linux.CLONE_NEWUTS)
    ),
    Step(group="namespaces", name="pid", action=_inside(_nothing)),
    Step(
        group="namespaces", name="mnt", action=lambda: linux.unshare(linux.CLONE_NEWNS)
    ),
    Step(
        group="namespaces", name="net", action=lambda: linux.unshare(linux.CLONE_NEWNET)
    ),
    Step(
        group="mounts",
        name="/ as slave",
        action=_within(linux.CLONE_NEWNS, _nothing),
        needs=_MOUNT,
    ),
    Step(
        group="mounts",
        name="/proc",
        action=_inside(_within(linux.CLONE_NEWNS, init.mount_proc)),
        needs=(*_MOUNT, "pid", "/ as slave"),
    ),
    Step(
        group="mounts",
        name="/dev/shm",
        action=_within(linux.CLONE_NEWNS, init.mount_shm),
        needs=(*_MOUNT, "/ as slave"),
        directory="/dev/shm",
    ),
    Step(
        group="mounts",
        name="/dev/mqueue",
        action=_within(linux.CLONE_NEWNS | linux.CLONE_NEWIPC, init.mount_mqueue),
        needs=(*_MOUNT, "ipc", "/ as slave"),
        directory="/dev/mqueue",
    ),
    Step(
        group="names",
        name="sethostname()",
        action=_within(linux.CLONE_NEWUTS, lambda: linux.sethostname("nsisolate")),
        needs=("uts",),
    ),
    Step(
        group="names",
        name="setdomainname()",
        action=_within(linux.CLONE_NEWUTS, lambda: linux.setdomainname("nsisolate")),
        needs=("uts",),
    ),
    Step(
        group="network",
        name="lo up",
        action=_within(linux.CLONE_NEWNET, init.bring_up_loopback),
        needs=("net",),
    ),
    Step(
        group="entering",
        name="setns()",
        action=_inside(_come_back),
        needs=("pid",),
    ),
)
