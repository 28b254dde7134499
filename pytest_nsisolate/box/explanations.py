"""
What a person reads when a box cannot do what it was asked for.
"""

from __future__ import annotations

import os

from pytest_nsisolate.guest.messages import Garbled
from pytest_nsisolate.model.ending import Exited, Killed, TimedOut
from pytest_nsisolate.model.errors import BoxError, Explanation, Refused, safe_repr


class DidNotFinish(BoxError):
    """
    A function ended its process in a box, or took too long.

    .. versionadded:: 0.1.0
    """

    __module__ = "pytest_nsisolate"

    def __init__(
        self, explanation: Explanation, ending: Exited | Killed | TimedOut
    ) -> None:
        super().__init__(explanation)
        #: How it ended: an `Exited`, `Killed` or `TimedOut` of `ending`.
        self.ending = ending


def closed(action: str, maker: str) -> Explanation:
    """
    Say that *action* comes after the end of a box or link, as made by *maker*.
    """
    return Explanation(
        what=f"cannot {action}: it is closed",
        why="its close() was called, or its fixture has ended",
        fix=f"make another one by {maker}, or close it later",
    )


def outside(action: str, here: str, home: str) -> Explanation:
    """
    Say that a box was made where it cannot be entered from for *action*.

    Args:
        action: What was to be done.
        here: The PID namespace of this process.
        home: That of the process which made the box.
    """
    # Source: setns(2), "PID namespaces".
    return Explanation(
        what=f"cannot {action}: it was made outside of this PID namespace",
        why=f"this process is in {here} and the box was made from {home}; "
        "setns() leads to descendants only",
        fix="make it in the test, by the fixture sandbox_factory, or leave the test on "
        "the host",
    )


def dead(action: str, refused: Refused) -> Explanation:
    """
    Say that *action* was *refused* because the box is dead.
    """
    return Explanation(
        what=f"cannot {action}: {refused}",
        why="its init has ended: something has killed it",
        fix="make another one by sandbox_factory()",
    )


def unseen(action: str, missed: list[str]) -> Explanation:
    """
    Say that *action* takes a look which init could not have.
    """
    return Explanation(
        what=f"cannot {action}",
        why="; ".join(missed) or "its init gave no answer",
        fix="pytest --nsisolate-doctor, or make another one by sandbox_factory()",
    )


def ended(action: str, how: Exited | Killed | TimedOut) -> Explanation:
    """
    Say how the process of *action* ended.
    """
    fix = "call the function without the box, as f() for box.run(f), to see it happen"
    if isinstance(how, TimedOut):
        why = f"the box has timeout={how.after:g}, for each call"
        fix = f"give it longer: sandbox_factory(timeout={2 * how.after:g})"
    elif isinstance(how, Killed):
        why = f"the wait status of its process says signal {how.number}"
    else:
        why = f"the wait status of its process says exit code {how.code}"
    return Explanation(what=f"{action} did not finish: {how}", why=why, fix=fix)


def garbled(action: str, error: Garbled) -> Explanation:
    """
    Say that something else than a message came back of *action*.
    """
    return Explanation(
        what=f"what came back of {action} is not a message",
        why=f"there came {error}",
        fix="have the function write to descriptors only that it has opened",
    )


def other_user(action: str, keywords: list[str]) -> Explanation:
    """
    Say that *keywords* of Popen cannot be given for *action*.
    """
    names = " and ".join(f"{one}=" for one in keywords)
    return Explanation(
        what=f"cannot {action}: {names} cannot be given",
        why="Popen would change who the process is before it is inside, and then it "
        "may not go in",
        fix="call os.setuid() and the like in preexec_fn=, which is called inside",
    )


def no_wire(action: str, why: str) -> Explanation:
    """
    Say *why* there can be no wire between two boxes.
    """
    return Explanation(
        what=f"cannot {action}",
        why=why,
        fix="link two boxes that are made by sandbox_factory(net=True)",
    )


def no_pyroute2(action: str, error: ImportError) -> Explanation:
    """
    Say that *action* takes a package that is not there.
    """
    return Explanation(
        what=f"cannot {action}: pyroute2 cannot be imported",
        why=f"import pyroute2 raises {safe_repr(error)}",
        fix="pip install 'pytest-nsisolate[link]'",
    )


def other_owner(action: str, refused: Refused) -> Explanation:
    """
    Say that no process may be in both boxes. Source: user_namespaces(7).
    """
    return Explanation(
        what=f"cannot {action}: {refused}",
        why="their network namespaces belong to different user namespaces, and who is "
        "in one of these has no capabilities in the other",
        fix="make both by one sandbox_factory, with the same user=, or run as root",
    )


def no_netem(action: str, refused: Refused) -> Explanation:
    """
    Say that the kernel cannot make a wire slow. Source: tc-netem(8).
    """
    return Explanation(
        what=f"cannot {action}: {refused}",
        why=f"kernel {os.uname().release} has no queueing discipline netem",
        fix="sudo modprobe sch_netem, or a kernel with CONFIG_NET_SCH_NETEM",
    )


def no_shape(action: str, delay: float, loss: float) -> Explanation:
    """
    Say that a wire cannot be like that.
    """
    return Explanation(
        what=f"cannot {action}: bad argument",
        why=f"delay is {delay!r} and loss is {loss!r}",
        fix="give a delay of 0 or more seconds, and a loss from 0 to 1",
    )
