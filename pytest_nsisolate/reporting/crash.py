"""
The texts about tests whose guest did not finish or never started.
"""

from __future__ import annotations

import inspect
import os
import shlex
import threading
from collections.abc import Sequence

import pluggy
import pytest

import pytest_nsisolate
from pytest_nsisolate.diagnosis import explain, oom_killer
from pytest_nsisolate.guest import absent
from pytest_nsisolate.guest.entry import InGuest
from pytest_nsisolate.model.ending import (
    CRASHES,
    SEE_SENDER,
    Ending,
    Exited,
    Killed,
    TimedOut,
    signal_name,
)
from pytest_nsisolate.model.errors import Explanation, Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.reporting import limits
from pytest_nsisolate.reporting.test_run import TestRun
from pytest_nsisolate.settings import options
from pytest_nsisolate.settings.marker import spec_of
from pytest_nsisolate.settings.options import Unavailable
from pytest_nsisolate.settings.resolve import origin_key

#: The frame of a guest's stack, as `faulthandler` writes it, that runs the test; and
#: the beginnings of the frames between it and the test's own.
_FIRST_FRAME = f'  File "{inspect.getfile(InGuest)}", line '
_PYTEST = tuple(
    f'  File "{os.path.dirname(inspect.getfile(one))}{os.sep}'
    for one in (pytest.Item, pluggy.PluginManager, pytest_nsisolate)
)
_OWN = _PYTEST[-1]


def explain_end(run: TestRun, ended: Exited | Killed, seconds: float = 0.0) -> str:
    """
    Say how a guest ended and how to look closer.

    Args:
        run: The run of its test.
        ended: How it ended.
        seconds: The processor time that it had used.
    """
    item, phase = run.item, run.phase
    node = _node(item)
    rerun = f"python -m pytest --no-nsisolate {node}"
    limited = limits.why_killed(item, ended, seconds)
    if limited is not None:
        why, fix = limited, f"raise cpu=, or python -m cProfile -m {rerun[10:]}"
    elif isinstance(ended, Killed):
        why = f"the wait status of its guest says signal {ended.number}"
        kill = oom_killer.watch().explain(ended, "@pytest.mark.isolated")
        if kill is not None:
            why, fix = f"{why}, {kill.why}", kill.fix
        elif signal_name(ended.number) in CRASHES:
            fix = f"gdb --args {rerun}"
        else:
            fix = f"see who sends it: {SEE_SENDER} {rerun}"
    else:
        why = (
            f"the wait status of its guest says exit code {ended.code}, and its "
            f"report of {phase} never came"
        )
        fix = f"strace -f -e trace=exit_group,execve {rerun}"
    what = f"{item.name} did not finish: {ended} during {phase}"
    return str(Explanation(what=what, why=why, fix=fix))


def explain_time_out(
    run: TestRun, ended: TimedOut, stack: str, threads: Sequence[threading.Thread]
) -> str:
    """
    Say that a test took too long, where it was, and what ran in its sandbox.

    Args:
        run: The run of the test.
        ended: How its guest was ended.
        stack: The stack that `faulthandler` has written.
        threads: The threads that the fork left behind in pytest.
    """
    item, phase = run.item, run.phase
    own = spec_of(item)
    if isinstance(own, Spec) and own.timeout == ended.after:
        why = f"its marker says timeout={own.timeout:g}"
    elif item.config.stash[options.key].defaults.timeout != ended.after:
        why = f"pytest_nsisolate_spec() of a plugin says timeout={ended.after:g}"
    else:
        why = f"--nsisolate-timeout or nsisolate_timeout is {ended.after:g}"
    explanation = Explanation(
        what=f"{item.name} did not finish: {ended} during {phase}",
        why=why,
        fix="see below where it was, or give it more time: "
        f"@pytest.mark.isolated(timeout={2 * ended.after:g})",
    )
    processes = ended.processes or ("  unknown: init gave no answer",)
    silence = ended.silence or "its file was closed, or the test had called execve()"
    return "\n".join(
        [
            str(explanation),
            "",
            "processes in the sandbox:",
            *processes,
            "",
            *([absent.sentence(threads), ""] if threads else []),
            _of_test(stack) or f"no stack was written: {silence}",
        ]
    )


def _of_test(stack: str) -> str:
    """
    Return *stack* without the frames of pytest that called the test, in each thread.
    """
    lines: list[str] = []
    is_below = False
    for line in stack.splitlines():
        if not line.startswith("  File "):
            is_below = False
        elif line.startswith(_FIRST_FRAME):
            is_below = True
            while any(place in lines[-1] for place in _PYTEST):
                lines.pop()
        if not is_below:
            lines.append(line)
    return "\n".join(lines).rstrip()


def without_own_frames(output: dict[str, str]) -> dict[str, str]:
    """
    Return *output* with a stack that has no frames of this package.

    Args:
        output: What a guest printed, by stream, and the stack under ``faulthandler``.
    """
    stack = output.get("faulthandler", "").splitlines(keepends=True)
    lines = [line for line in stack if not line.startswith(_OWN)]
    return {**output, "faulthandler": "".join(lines)}


def explain_garbled(run: TestRun, garbled: str) -> str:
    """
    Say that a guest's channel carried something that is not a message.
    """
    item, phase = run.item, run.phase
    explanation = Explanation(
        what=f"{item.name} did not finish: its channel carried more than messages",
        why=f"during {phase} the supervisor read {garbled}",
        fix="strace -f -y -e trace=write,dup2 python -m pytest "
        f"{_node(item)}, and find the write to a pipe that is not its own",
    )
    return str(explanation)


def explain_broken(run: TestRun) -> str:
    """
    Say that the protocol of a test raised in its guest, or left a phase unreported.
    """
    item, phase, trace = run.item, run.phase, run.broken
    node = _node(item)
    explanation = Explanation(
        what=f"{item.name} did not finish: no report of {phase} came from its guest",
        why="a hook raised outside the phases of the test, see below"
        if trace
        else "pytest_runtest_protocol() returned without reporting it",
        fix=f"python -m pytest --no-nsisolate {node}"
        + (f"\n\n{trace}" if trace else ""),
    )
    return str(explanation)


def _node(item: pytest.Item) -> str:
    """
    Return what to type to run *item* again, in a session without flavours.
    """
    return shlex.quote(item.stash.get(origin_key, item.nodeid))


def refusal(explanation: Explanation, policy: Unavailable) -> BaseException:
    """
    Return the exception to raise instead of the setup of a test that may not run.
    """
    if policy == "skip":
        line = str(explanation).replace("\n", "; ")
        return pytest.skip.Exception(line, _use_item_location=True)
    return pytest.fail.Exception(str(explanation), pytrace=False)


def explain_refusal(item: pytest.Item, refused: Refused) -> Explanation:
    """
    Say why *item* has no sandbox.
    """
    return explain.explain(f"isolate {item.name}", refused)


def explain_group(name: str, run: TestRun, ended: Ending) -> str:
    """
    Say that what tests share could not be torn down.

    Args:
        name: The name of what the tests belong to, such as their module.
        run: What their guest has said since its last test.
        ended: How the guest ended.
    """
    how = "an error came, see below" if run.broken else f"its guest ended: {ended}"
    explanation = Explanation(
        what=f"cannot tear down what the tests of {name} share",
        why=f"{run.item.name} was the last test there; after it {how}",
        fix=f"python -m pytest --no-nsisolate {_node(run.item)}"
        + (f"\n\n{run.broken}" if run.broken else ""),
    )
    return str(explanation)
