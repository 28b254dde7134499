"""
Conversations of guests with random faults put into them.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import secrets
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_nsisolate.guest import messages, values
from pytest_nsisolate.guest.channel import Reader
from pytest_nsisolate.guest.handle import Guest
from pytest_nsisolate.guest.process import GuestProcess
from pytest_nsisolate.model.ending import Finished
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.reporting.exceptions import describe
from pytest_nsisolate.reporting.report import passed_to_message, report_to_message
from pytest_nsisolate.reporting.test_run import TestRun
from pytest_nsisolate.sandbox.sandbox import Sandbox

#: Values of every JSON type, and parts of packed values; none of them says that a test
#: has passed.
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1 << 31, 1 << 70, 0.5, float("nan"), float("inf")),
    *("", "x", "\0", "\ud800", "two\nlines", "failed", "setup", "call", "teardown"),
    *([], [1], [[]], ["a", 1, "b"], {}, {"a": 1}, {"": {"": {}}}, [0], [2], [3]),
    *(["tuple", [1]], ["set", [3], 1], ["dict", 1, [0]], ["list", [0]], ["int", "0x1"]),
]

#: One message of each type except reports.
OTHERS: list[messages.GuestMessage] = [
    messages.Restarted(),
    messages.BasetempRequest(),
    messages.Broken(traceback="Traceback"),
    messages.LiveLog(when="call", text="INFO x"),
    messages.HandOver(payload={}),
    messages.EntryRefused(call="mount()", errno=1),
    messages.LimitRefused(what="no limit nproc", why="it is so", fix="none"),
    messages.SessionEnd(before_teardown=False, shouldstop="x", shouldfail=False),
    messages.FailureShown(),
    messages.TerminalTaken(),
    messages.TurnAwaited(),
    messages.DebuggerLeft(),
    messages.Done(),
    messages.Paused(),
    messages.Interrupted(
        exit=False, text="", returncode=None, filename="test_it.py", lineno=3
    ),
    messages.RecordedWarning(
        text="careful",
        module="builtins",
        category="UserWarning",
        filename="test_it.py",
        lineno=1,
        line=None,
        sourced=True,
        content=(("careful",), {}),
    ),
    messages.Kept(
        number=0, changes=None, reports={}, lost=["Function.x (a.B)"], version=0
    ),
    messages.Failure(
        when="call",
        errors=describe(OSError(2, "gone", "file")),
        report=None,
        marked=None,
    ),
    messages.Passed(
        when="call", keywords=["test_it", ""], duration=0.5, start=1.5, stop=2.0
    ),
    messages.FileLog(text="INFO x"),
]


def fields_of(
    message: messages.Message, *, synchronous: bool = False
) -> dict[str, Any]:
    """
    Return *message* as the JSON object that is sent.
    """
    fields = json.loads(messages.encode(message, synchronous=synchronous))
    return {**fields, "synchronous": synchronous}


def frame_of(fields: dict[str, Any]) -> bytes:
    """
    Return *fields*, which need not be a valid message, as a frame.
    """
    body = json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return struct.pack(">Q", len(body)) + body


def conversation(
    item: pytest.Item, *, passes: bool, short: bool = False
) -> list[dict[str, Any]]:
    """
    Return what the guest of *item* says when its test passes or fails.

    Args:
        item: The test.
        passes: Whether it passes.
        short: Whether its setup prints nothing, so that the report of it is short.
    """

    def call() -> None:
        """
        Pass or fail, as the test would.
        """
        assert passes, "with a traceback"

    told = []
    for when in ("setup", "call", "teardown"):
        body = call if when == "call" else lambda: None
        info = pytest.CallInfo.from_call(body, when=when)
        report = item.ihook.pytest_runtest_makereport(item=item, call=info)
        brief = passed_to_message(item, report) if short and when == "setup" else None
        report.sections = [("Captured stdout call", "printed\n")]
        told.append(fields_of(brief or report_to_message(item.config, report)))
    return [*told, fields_of(messages.Done())]


def new_seed() -> int:
    """
    Return the seed in NSISOLATE_SEED, or a new one.
    """
    return int(os.environ.get("NSISOLATE_SEED") or secrets.randbits(32))


class Mutator:
    """
    A source of conversations with random faults.

    Args:
        seed: The seed of the random numbers.
        without: Kinds of messages not to add.
    """

    def __init__(self, seed: int, *without: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        others = [fields_of(one, synchronous=True) for one in OTHERS]
        self._others = [one for one in others if one["kind"] not in without]

    def frames(self, told: list[dict[str, Any]]) -> list[bytes]:
        """
        Return *told* as frames with one to three faults.
        """
        some = self._random
        talk = copy.deepcopy(told)
        if some.random() < 0.5:
            other = copy.deepcopy(some.choice(self._others))
            other["synchronous"] = some.random() < 0.5
            talk.insert(some.randrange(len(talk)), other)
        for _ in range(some.randint(0, 2)):
            some.choice([self._drop, self._repeat, self._swap, self._spoil])(talk)
        frames = [frame_of(fields) for fields in talk]
        if frames and some.random() < 0.3:
            place = some.randrange(len(frames))
            frames[place] = self._break(frames[place])
        return frames

    def _drop(self, talk: list[dict[str, Any]]) -> None:
        """
        Drop one frame.
        """
        if talk:
            del talk[self._random.randrange(len(talk))]

    def _repeat(self, talk: list[dict[str, Any]]) -> None:
        """
        Send one frame twice.
        """
        if talk:
            talk.append(copy.deepcopy(self._random.choice(talk)))

    def _swap(self, talk: list[dict[str, Any]]) -> None:
        """
        Swap two frames.
        """
        self._random.shuffle(talk)

    def _spoil(self, talk: list[dict[str, Any]]) -> None:
        """
        Replace or remove one value.
        """
        places = list(_places(self._random.choice(talk))) if talk else []
        if not places:
            return
        inside, key = self._random.choice(places)
        if isinstance(inside, dict) and self._random.random() < 0.2:
            del inside[key]
        elif isinstance(inside, dict) and self._random.random() < 0.1:
            inside["unknown"] = copy.deepcopy(self._random.choice(VALUES))
        else:
            inside[key] = copy.deepcopy(self._random.choice(VALUES))

    def _break(self, frame: bytes) -> bytes:
        """
        Change bytes of one frame.
        """
        some = self._random
        match some.randrange(6):
            case 0:
                return frame[: some.randrange(len(frame))]
            case 1:
                return frame + some.randbytes(some.randrange(1, 40))
            case 2:
                length = some.choice([0, 1, 1 << 31, (1 << 63) - 1, (1 << 64) - 1])
                return struct.pack(">Q", length) + frame[8:]
            case 3:
                place = some.randrange(len(frame))
                return frame[:place] + some.randbytes(1) + frame[place + 1 :]
            case 4:
                body = b"[" * some.randrange(1, 5000)
                return struct.pack(">Q", len(body)) + body
        return some.randbytes(some.randrange(1, 60))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """
    Yield each place in *value* as its container and key.
    """
    keys = range(len(value)) if isinstance(value, list) else list(value)
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list) and value[key]:
            yield from _places(value[key])


class Listener:
    """
    A reader that treats frames as the supervisor does, for one *item*.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def hear(self, frames: list[bytes]) -> bool:
        """
        Read *frames*, after which the guest ends, and say whether the test is green.
        """
        run = TestRun(self._item, stays=lambda: False)
        read, write = os.pipe()
        gate_read, gate = os.pipe()
        # The supervisor's own ends do not block either, and an empty pipe must not.
        for fd in (read, gate):
            os.set_blocking(fd, False)
        sandbox = Sandbox(init=-1, root=-1, asker=-1, user_namespace=UserNamespace.NONE)
        guest = Guest(
            sandbox=sandbox,
            process=GuestProcess(
                pid=-1,
                pidfd=-1,
                status=None,
                inlet=Reader(read, messages.OF_GUEST),
                gate=gate,
            ),
            may_pause=True,
        )
        try:
            os.write(write, b"".join(frames))
            said = guest._take_in(run.hear)
        except messages.Garbled as garbled:
            if not str(garbled).isprintable():
                pytest.fail(f"{garbled!r} is no line")
            return False
        finally:
            for fd in (read, write, gate_read, gate):
                os.close(fd)
        run.log_held()
        return (
            isinstance(said, Finished)
            and run.is_complete
            and run.broken is None
            and not run.was_interrupted
            and any(one.when == "call" and one.passed for one in run.reports)
            and not any(one.failed for one in run.reports)
        )


def try_many(item: pytest.Item, frames_in_all: int, seed: int) -> int:
    """
    Have the supervisor read that many frames, and return how many tests were green.

    A test may be green only if valid frames of its guest said so to the end.
    """
    # A report of another phase that has passed would be valid.
    mutator, listener, heard, green = Mutator(seed, "passed"), Listener(item), 0, 0
    base = {
        passes: conversation(item, passes=passes, short=True)
        for passes in (True, False)
    }
    whole = {
        passes: {frame_of(one) for one in talk if one["kind"] in {"report", "passed"}}
        for passes, talk in base.items()
    }
    while heard < frames_in_all:
        passes = heard % 3 > 0
        frames = mutator.frames(base[passes])
        heard += len(frames)
        try:
            with warnings.catch_warnings(record=True):
                is_green = listener.hear(frames)
        except BaseException as error:
            raise AssertionError(f"seed {seed}, frame {heard}: {frames}") from error
        if is_green:
            green += 1
            said = {_outcome(frame) for frame in frames}
            assert ("'call'", "'passed'") in said, (
                f"seed {seed}, frame {heard}: {frames}"
            )
            assert {"'setup'", "'teardown'"} <= {when for when, _ in said}
            assert passes or whole[True] <= set(frames)
    return green


def _outcome(frame: bytes) -> tuple[str, str]:
    """
    Return phase and outcome of the report in *frame*, if it is a report.
    """
    try:
        fields = json.loads(frame[8:].decode("utf-8", "surrogatepass"))
        if fields["kind"] == "passed":
            return repr(fields["when"]), repr("passed")
        report = values.unpack(fields["report"])
        return repr(report["when"]), repr(report["outcome"])
    except (ValueError, KeyError, TypeError, RecursionError, values.Malformed):
        return "", ""


MUTATED = """
import os
import pytest
import fuzzing

pytest_plugins = "pytester"

def ours():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                found.append(int(name))
        except OSError:
            continue
    return found

BEFORE = ours()

@pytest.mark.isolated
@pytest.mark.parametrize("number", range(NUMBER))
def test_mutated(request, number):
    # Two of these end the session, as they may; with the third the call has passed.
    mutator = fuzzing.Mutator(SEED + number, "interrupted", "session", "passed")
    base = fuzzing.conversation(request.node, passes=False)
    for fd in set(ours()) - set(BEFORE):
        try:
            os.write(fd, b"".join(mutator.frames(base)))
        except OSError:
            continue
    assert False, "after all that"
"""


def run_mutated(
    pytester: pytest.Pytester,
    run: Callable[..., pytest.RunResult],
    number: int,
    seed: int,
) -> pytest.RunResult:
    """
    Run *number* tests that write mutated conversations to their channels.
    """
    source = MUTATED.replace("NUMBER", str(number)).replace("SEED", str(seed))
    pytester.makepyfile(test_mutated=source)
    pytester.syspathinsert(Path(__file__).parent)
    pytester.makeini(f"[pytest]\npythonpath = {Path(__file__).parent}")
    options = ["-rA", "--junitxml=report.xml", "-p", "no:hypothesispytest", "-s"]
    # A loaded machine has needed 60 ms for each.
    result = run(*options, timeout=60 + number / 2)
    text = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in text, seed
    assert result.ret == 1, (seed, text)
    assert len(result.parseoutcomes()) > 0
    # A report of setup that says it is of the call is that of a call that passed. But
    # the test is not green, for what comes after it does not fit.
    passed, wrong = (
        set(re.findall(rf"^{word} test_mutated.py::(\S+)", text, re.MULTILINE))
        for word in ("PASSED", "ERROR")
    )
    assert passed <= wrong, (seed, text)
    return result
