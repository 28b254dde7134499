"""
Single steps on the way into a sandbox, each tried in a throw-away process.

The steps call what the launcher and init call. They are for the doctor, which tells by
them what is refused; whether a sandbox can be had is for the probe to say.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import signal
import warnings
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from pytest_nsisolate import init, launcher, linux
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.pool import Pool
from pytest_nsisolate.sandbox import readable
from pytest_nsisolate.spec import Spec
from pytest_nsisolate.untouched import os

#: How long one step may take, in seconds: it takes milliseconds.
STEP_LIMIT = 10.0
#: And a whole sandbox, which waits longer by itself.
SANDBOX_LIMIT = 45.0

#: Does the step, and raises what refuses it.
Action: TypeAlias = Callable[[], None]


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


def attempt(action: Action, limit: float = STEP_LIMIT) -> Refused | None:
    """
    Do *action* in a fork, which is gone when this returns.

    Args:
        action: What to do there.
        limit: How long to wait, in seconds.

    Returns:
        What was refused, None if nothing was.
    """
    try:
        read, write = os.pipe()
    except OSError as error:
        return Refused("pipe()", error.errno or 0)
    try:
        pid = _fork()
    except OSError as error:
        os.close(read)
        os.close(write)
        return Refused("fork()", error.errno or 0)
    if not pid:
        _do(action, write)
    os.close(write)
    try:
        return (
            _told(read) if readable(read, limit) else Refused("poll()", errno.ETIMEDOUT)
        )
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of forks of a process with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _do(action: Action, told: int) -> NoReturn:
    said: list[object] = []
    try:
        linux.set_parent_death_signal(signal.SIGKILL)
        action()
    except Refused as refused:
        said = [refused.call, refused.number]
    except OSError as error:
        said = [str(error.filename or "a system call"), error.errno or 0]
    except BaseException as error:  # noqa: BLE001 - told, and nothing comes after
        said = [f"a step ({error!r})", 0]
    finally:
        # Less than PIPE_BUF: it comes whole. Source: pipe(7).
        os.write(told, json.dumps(said).encode()[:4096])
        os._exit(0)


def _told(read: int) -> Refused | None:
    try:
        said = json.loads(os.read(read, 4096))
    except ValueError:
        return Refused("a step that ended by itself", errno.ECHILD)
    return Refused(*said) if said else None


def try_step(step: Step, identity: str) -> Refused | None:
    """
    Try *step*.

    Args:
        step: The step.
        identity: `launcher.PLAIN` for without a user namespace, or else for which.
    """

    def act() -> None:
        if identity != launcher.PLAIN:
            launcher.enter_user_namespace(identity)
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
