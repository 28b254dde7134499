"""
The error texts of boxes and links.
"""

from __future__ import annotations

import os
from typing import Any

from pytest_nsisolate.diagnosis import oom_killer
from pytest_nsisolate.guest.messages import Garbled
from pytest_nsisolate.model.ending import (
    CRASHES,
    SEE_SENDER,
    Exited,
    Killed,
    TimedOut,
    signal_name,
)
from pytest_nsisolate.model.errors import BoxError, Explanation, Refused, safe_repr


class DidNotFinish(BoxError):
    """
    A function ended its process in a box, or took too long.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"

    def __init__(
        self, explanation: Explanation, ending: Exited | Killed | TimedOut
    ) -> None:
        super().__init__(explanation)
        #: How the process ended: an `Exited`, `Killed` or `TimedOut`.
        self.ending = ending

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.explanation, self.ending), vars(self)


def closed(action: str, maker: str) -> Explanation:
    """
    Explain that *action* needs a box or link, made with *maker*, that is closed.
    """
    return Explanation(
        what=f"cannot {action}: it is closed",
        why="its close() was called, or its fixture has ended",
        fix=f"make another one with {maker}, or close this one later",
    )


def outside(action: str, here: str, home: str) -> Explanation:
    """
    Explain that this process may not enter the box in which *action* is to happen.

    Args:
        action: What the box was asked to do.
        here: The PID namespace of this process.
        home: The PID namespace of the process that made the box.
    """
    # Source: setns(2), "PID namespaces".
    return Explanation(
        what=f"cannot {action}: it was made outside this PID namespace",
        why=f"this process is in {here} and the box was made from {home}; "
        "setns() can join descendants only",
        fix="make it in the test with the fixture sandbox_factory, or run the test on "
        "the host",
    )


def closed_factory(action: str, owner: str) -> Explanation:
    """
    Explain that *action* needs the fixture of *owner*, which has ended.
    """
    return Explanation(
        what=f"cannot {action}: its sandbox_factory is closed",
        why=f"the fixture of {owner}, for which it made boxes, has ended",
        fix="request sandbox_factory in the test that uses it, or use "
        "module_sandbox_factory or session_sandbox_factory",
    )


def other_process(
    action: str, here: tuple[str, int], home: tuple[str, int]
) -> Explanation:
    """
    Explain that *action* needs a fixture that was set up in another process.

    Args:
        action: What the fixture was asked to do.
        here: The PID namespace of this process, and its process id there.
        home: The same of the process in which the fixture was set up.
    """
    return Explanation(
        what=f"cannot {action}: its sandbox_factory belongs to another process",
        why=f"this is process {here[1]} in {here[0]}, and the fixture was set up in "
        f"process {home[1]} in {home[0]}",
        fix="make it there, or here with a sandbox_factory of the test itself",
    )


def dead(action: str, refused: Refused) -> Explanation:
    """
    Explain that *action* was *refused* because the init of the box is dead.
    """
    return Explanation(
        what=f"cannot {action}: {refused}",
        why="its init has ended: something killed it",
        fix="make another one with sandbox_factory()",
    )


def unseen(action: str, missed: list[str]) -> Explanation:
    """
    Explain that init could not see what *action* needs.
    """
    return Explanation(
        what=f"cannot {action}",
        why="; ".join(missed) or "its init gave no answer",
        fix="pytest --nsisolate-doctor, or make another one with sandbox_factory()",
    )


def ended(
    action: str, how: Exited | Killed | TimedOut, limited: str | None
) -> Explanation:
    """
    Explain how the process of *action* ended.

    Args:
        action: The call of its function.
        how: How it ended.
        limited: Which limit has ended it; None if none did.
    """
    expect = "expect it: with pytest.raises(pytest_nsisolate.DidNotFinish)"
    if isinstance(how, TimedOut):
        why = f"the box has timeout={how.after:g} for each call"
        fix = f"give it longer: sandbox_factory(timeout={2 * how.after:g})"
    elif limited is not None:
        why, fix = limited, "give it more: raise cpu= of sandbox_factory()"
    elif isinstance(how, Killed):
        why = f"the wait status of its process says signal {how.number}"
        kill = oom_killer.watch().explain(how, "sandbox_factory")
        if kill is not None:
            why, fix = f"{why}, {kill.why}", kill.fix
        elif signal_name(how.number) in CRASHES:
            fix = "begin it with faulthandler.enable() to see where it crashes"
        else:
            fix = f"see who sends it: {SEE_SENDER} python -m pytest"
        fix += f", or {expect}"
    else:
        why = f"the wait status of its process says exit code {how.code}"
        if how.code == 1:
            # Then its result cannot be sent.
            why += ", which it also gets if it closes descriptors of its caller"
        fix = (
            f"end it with sys.exit({how.code}) or an exception, which reaches the "
            f"test, or {expect}"
        )
    return Explanation(what=f"{action} did not finish: {how}", why=why, fix=fix)


def garbled(action: str, error: Garbled) -> Explanation:
    """
    Explain that *action* sent back something that is not a message.
    """
    return Explanation(
        what=f"what came back from {action} is not a message",
        why=f"it sent {error}",
        fix="make the function write only to descriptors that it has opened",
    )


def other_user(action: str, keywords: list[str]) -> Explanation:
    """
    Explain that *action* does not support these *keywords* of Popen.
    """
    names = " and ".join(f"{one}=" for one in keywords)
    return Explanation(
        what=f"cannot {action} with {names}",
        why="Popen would change user and groups before the process enters the box, and "
        "then it may not enter",
        fix="call os.setuid() or the like in preexec_fn=, which runs inside",
    )


def _of_type(value: object) -> str:
    return f"{safe_repr(value)} is of type {type(value).__name__}"


def no_function(where: str, given: object) -> Explanation:
    """
    Explain that *given* cannot be called *where*.
    """
    if isinstance(given, str | bytes):
        fix = f"box.popen({given!r}, shell=True)"
    elif isinstance(given, os.PathLike):
        fix = f"box.popen([{os.fspath(given)!r}])"
    elif isinstance(given, list | tuple):
        fix = f"box.popen({safe_repr(given)})"
    else:
        fix = "box.run(f), with f not called yet"
    return Explanation(
        what=f"cannot run {safe_repr(given)} {where}: it is not a function",
        why=_of_type(given),
        fix=fix,
    )


def no_command(action: str, given: object) -> Explanation:
    """
    Explain that *action* needs a command.
    """
    name = getattr(given, "__name__", safe_repr(given))
    is_function = callable(given)
    return Explanation(
        what=f"cannot {action}: {name} is not a command",
        why=_of_type(given),
        fix=f"box.run({name})" if is_function else _COMMAND,
    )


#: A command, to show its form.
_COMMAND = "box.popen(['sleep', '60'])"


def bad_part(action: str, command: list[Any], part: object) -> Explanation:
    """
    Explain that *action* has a *command* with such a *part*.
    """
    written = [one if isinstance(one, str | bytes) else str(one) for one in command]
    return Explanation(
        what=f"cannot {action}: {safe_repr(part)} in the command is not str, bytes or "
        "a path",
        why=_of_type(part),
        fix=f"box.popen({written!r})",
    )


def bad_preexec(action: str, given: object) -> Explanation:
    """
    Explain that *action* cannot call *given* inside.
    """
    return Explanation(
        what=f"cannot {action}: preexec_fn={safe_repr(given)} is not a function",
        why=_of_type(given),
        fix="leave preexec_fn= out, or give it a function without arguments",
    )


def bad_group(action: str, given: object) -> Explanation:
    """
    Explain that *action* cannot happen in the process group *given*.
    """
    return Explanation(
        what=f"cannot {action}: process_group={safe_repr(given)} is not a number",
        why=_of_type(given),
        fix="leave process_group= out: the process gets a group of its own",
    )


def no_box(action: str, given: object) -> Explanation:
    """
    Explain that *given*, an argument of *action*, is not a box.
    """
    return Explanation(
        what=f"cannot {action}: {safe_repr(given)} is not a box",
        why=_of_type(given),
        fix="link two boxes made with sandbox_factory(net=True)",
    )


def same_box(action: str) -> Explanation:
    """
    Explain that *action* is about one box, and not two.
    """
    return Explanation(
        what=f"cannot {action}",
        why="both are the same box",
        fix="make another box with sandbox_factory(net=True), and link these two",
    )


def not_linked(action: str, box: str, ends: str) -> Explanation:
    """
    Explain that *action* needs one of the *ends* of a link, which *box* is not.
    """
    return Explanation(
        what=f"cannot {action}: {box} is not one of the two",
        why=f"link.boxes has two other boxes: {ends}",
        fix="give one of those two, or link this one with sandbox_factory.link()",
    )


def no_version(action: str, version: object) -> Explanation:
    """
    Explain that there is no IP *version* for *action*.
    """
    return Explanation(
        what=f"cannot {action}: there is no IP version {safe_repr(version)}",
        why="a link has addresses of IP version 4 and 6",
        fix="link.address(box), or link.address(box, version=6)",
    )


def no_wire(action: str, why: str) -> Explanation:
    """
    Explain *why* there can be no wire between two boxes.
    """
    return Explanation(
        what=f"cannot {action}",
        why=why,
        fix="link two boxes made with sandbox_factory(net=True)",
    )


def no_pyroute2(action: str, error: ImportError) -> Explanation:
    """
    Explain that *action* needs a package that is not installed.
    """
    return Explanation(
        what=f"cannot {action}: pyroute2 cannot be imported",
        why=f"import pyroute2 raises {safe_repr(error)}",
        fix="pip install 'pytest-nsisolate[link]'",
    )


def other_owner(action: str, refused: Refused) -> Explanation:
    """
    Explain that no process may enter both boxes. Source: user_namespaces(7).
    """
    return Explanation(
        what=f"cannot {action}: {refused}",
        why="their network namespaces belong to different user namespaces, and a "
        "process in one of these has no capabilities in the other",
        fix="make both with one sandbox_factory and the same user=, or run as root",
    )


def no_netem(action: str, refused: Refused) -> Explanation:
    """
    Explain that the kernel has no netem for slow wires. Source: tc-netem(8).
    """
    return Explanation(
        what=f"cannot {action}: {refused}",
        why=f"kernel {os.uname().release} has no queueing discipline netem",
        fix="sudo modprobe sch_netem, or boot a kernel with CONFIG_NET_SCH_NETEM",
    )


def no_veth(action: str, refused: Refused) -> Explanation:
    """
    Explain that the kernel has no pairs of interfaces. Source: veth(4).
    """
    return Explanation(
        what=f"cannot {action}: {refused}",
        why=f"kernel {os.uname().release} has no interfaces of the kind veth",
        fix="sudo modprobe veth, or boot a kernel with CONFIG_VETH",
    )


def no_shape(action: str, delay: float, loss: float, longest: int) -> Explanation:
    """
    Explain that a wire cannot have this *delay* or *loss*.
    """
    return Explanation(
        what=f"cannot {action}: bad argument",
        why=f"delay is {safe_repr(delay)} and loss is {safe_repr(loss)}",
        fix=f"give a delay of 0 to {longest} seconds, and a loss from 0 to 1",
    )
