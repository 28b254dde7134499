"""
What is reported of a test whose guest did not finish.
"""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable
from typing import Literal, NoReturn, TypeAlias

import pluggy
import pytest

from pytest_nsisolate import breach, diagnosis, options
from pytest_nsisolate.borrow import Borrowing
from pytest_nsisolate.conversation import Conversation
from pytest_nsisolate.ending import (
    Ending,
    Exited,
    Finished,
    Killed,
    NeverStarted,
    TimedOut,
)
from pytest_nsisolate.entry import Entered
from pytest_nsisolate.errors import Explanation, Refused
from pytest_nsisolate.guest import Guest
from pytest_nsisolate.marker import spec_of
from pytest_nsisolate.options import Unavailable
from pytest_nsisolate.spec import Spec
from pytest_nsisolate.untouched import time

Phase: TypeAlias = Literal["setup", "call", "teardown"]

#: The frame in a guest's stack, as `faulthandler` writes it, that runs its test; and
#: where those are from that come before what is the test's own.
_FIRST_FRAME = f'  File "{inspect.getfile(Entered)}", line '
_PYTEST = tuple(
    f'  File "{os.path.dirname(inspect.getfile(one))}{os.sep}'
    for one in (pytest.Item, pluggy.PluginManager, Entered)
)

_AFTER: dict[str, Phase] = {"setup": "call", "call": "teardown"}


def phase_after(report: pytest.TestReport | None) -> Phase:
    """
    Return the phase that a guest was in whose last report was *report*.
    """
    if report is None:
        return "setup"
    if report.when == "setup" and not report.passed:
        return "teardown"
    return _AFTER.get(report.when, "teardown")


def explain(talk: Conversation, ended: Exited | Killed, seconds: float = 0.0) -> str:
    """
    Say how a guest ended and how to look closer.

    Args:
        talk: What it had said until then.
        ended: How it ended.
        seconds: Processor time that it had used.
    """
    item, phase = talk.item, phase_after(talk.last)
    node = shlex.quote(item.nodeid)
    rerun = f"python -m pytest --no-nsisolate {node}"
    limited = breach.why_killed(item, ended, seconds)
    if limited is not None:
        why, fix = limited, f"raise cpu=, or python -m cProfile -m {rerun[10:]}"
    elif isinstance(ended, Killed):
        why = f"the wait status of its guest says signal {ended.number}"
        fix = f"gdb --args {rerun}"
    else:
        why = (
            f"the wait status of its guest says exit code {ended.code}, and its "
            f"report of {phase} never came"
        )
        fix = f"strace -f -e trace=exit_group,execve {rerun}"
    what = f"{item.name} did not finish: {ended} during {phase}"
    return str(Explanation(what=what, why=why, fix=fix))


def explain_time_out(talk: Conversation, ended: TimedOut, stack: str) -> str:
    """
    Say that a test took too long, where it was, and what ran in its sandbox.

    Args:
        talk: What it had said until then.
        ended: How it was ended.
        stack: What `faulthandler` has written.
    """
    item, phase = talk.item, phase_after(talk.last)
    own = spec_of(item)
    if isinstance(own, Spec) and own.timeout == ended.after:
        why = f"its marker says timeout={own.timeout:g}"
    elif item.config.stash[options.key].timeout != ended.after:
        why = f"pytest_nsisolate_spec() of a plugin says timeout={ended.after:g}"
    else:
        why = f"--nsisolate-timeout or nsisolate_timeout is {ended.after:g}"
    explanation = Explanation(
        what=f"{item.name} did not finish: {ended} during {phase}",
        why=why,
        fix="look below for where it was, or give it longer: "
        f"@pytest.mark.isolated(timeout={2 * ended.after:g})",
    )
    processes = ended.processes or ("  not known: init gave no answer",)
    silence = ended.silence or "its file was closed, or the test had called execve()"
    return "\n".join(
        [
            str(explanation),
            "",
            "processes in the sandbox:",
            *processes,
            "",
            _of_test(stack) or f"no stack was written: {silence}",
        ]
    )


def _of_test(stack: str) -> str:
    """
    Return *stack*, by thread, without the frames of pytest that a test begins below.
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


def explain_garbled(talk: Conversation, garbled: str) -> str:
    """
    Say that something else than the guest's messages came over its channel.
    """
    item, phase = talk.item, phase_after(talk.last)
    explanation = Explanation(
        what=f"{item.name} did not finish: what came over its channel is not a message",
        why=f"during {phase} there came {garbled}",
        fix="strace -f -y -e trace=write,dup2 python -m pytest "
        f"{shlex.quote(item.nodeid)}, and look who writes to another's pipe",
    )
    return str(explanation)


def explain_broken(talk: Conversation) -> str:
    """
    Say that the protocol of a test itself failed in its guest, or reported nothing.
    """
    item, phase, trace = talk.item, phase_after(talk.last), talk.broken
    node = shlex.quote(item.nodeid)
    explanation = Explanation(
        what=f"{item.name} did not finish: no report of {phase} came from its guest",
        why="a hook raised outside of the test's phases, see below"
        if trace
        else "pytest_runtest_protocol() returned without it",
        fix=f"python -m pytest --no-nsisolate {node}"
        + (f"\n\n{trace}" if trace else ""),
    )
    return str(explanation)


def refusal(explanation: Explanation, policy: Unavailable) -> BaseException:
    """
    Return what is raised in place of the setup of a test that may not run.
    """
    if policy == "skip":
        line = str(explanation).replace("\n", "; ")
        return pytest.skip.Exception(line, _use_item_location=True)
    return pytest.fail.Exception(str(explanation), pytrace=False)


def never_expected(report: pytest.TestReport) -> None:
    """
    Have *report* of a refusal be an error, whatever a mark ``xfail`` made of it.
    """
    if hasattr(report, "wasxfail"):
        report.outcome = "failed"
        del report.wasxfail


def failed_report(
    item: pytest.Item, phase: Phase, error: BaseException
) -> pytest.TestReport:
    """
    Return the report of *item* that pytest makes where *phase* raises *error*.
    """

    def fail() -> NoReturn:
        raise error from None

    call = pytest.CallInfo.from_call(fail, when=phase)
    report: pytest.TestReport = item.ihook.pytest_runtest_makereport(
        item=item, call=call
    )
    return report


def report_refusal(talk: Conversation, refused: Refused, policy: Unavailable) -> None:
    """
    Report that the sandbox of a test could not be had.
    """
    explanation = diagnosis.explain(f"isolate {talk.item.name}", refused)
    talk.last = failed_report(talk.item, "setup", refusal(explanation, policy))
    never_expected(talk.last)
    talk.log(talk.last)


def report(
    talk: Conversation, borrowing: Borrowing, text: str, output: dict[str, str]
) -> None:
    """
    Report that a guest ended before its time.

    Args:
        talk: What it had said until then.
        borrowing: Sets up what its test borrows, if that has not been done.
        text: What there is to say of it.
        output: What it had printed in the phase that it ended in, by stream.
    """
    phase = phase_after(talk.last)
    if talk.borrowed is None:
        # For pytest to look at the marks of the test.
        talk.borrowed = borrowing.set_up(talk.item)
    error = pytest.fail.Exception(text, pytrace=False)
    failed = failed_report(talk.item, phase, error)
    failed.start, failed.stop = talk.since, time.time()
    failed.duration = failed.stop - failed.start
    before = talk.borrowed if talk.last is None else talk.last
    captured = [
        (f"Captured {kind} {phase}", content)
        for kind, content in output.items()
        if content
    ]
    if phase == "teardown":
        failed = talk.fail_teardown(failed)
    failed.sections = [*before.sections, *captured]
    if phase != "teardown":
        talk.log(failed)
    talk.last = failed


def report_ending(
    talk: Conversation,
    borrowing: Borrowing,
    process: Guest,
    ended: Ending,
    output: Callable[[], dict[str, str]],
) -> None:
    """
    Report how the guest *process* ended, if it did not finish.

    Args:
        talk: What it had said until then.
        borrowing: As for `report`.
        process: The guest.
        ended: How it ended.
        output: Returns what it had printed in the phase that it ended in, by stream.

    Raises:
        Refused: It never started.
    """
    match ended:
        case NeverStarted(refused):
            raise refused
        case Finished():
            if talk.broken is not None or not talk.is_complete():
                report(talk, borrowing, explain_broken(talk), {})
        case TimedOut():
            printed = output()
            text = explain_time_out(talk, ended, printed.pop("faulthandler"))
            report(talk, borrowing, text, printed)
        case Exited() | Killed() if talk.interruption is None:
            text = explain(talk, ended, process.fork.cpu)
            if process.garbled:
                text = explain_garbled(talk, process.garbled)
            report(talk, borrowing, text, output())
