"""
Messages: they arrive as they were sent, and anything else is garbled.
"""

from __future__ import annotations

import json
import typing
from typing import Any

import fuzzing
import pytest

from pytest_nsisolate.guest.messages import (
    KINDS,
    OF_CALL,
    OF_GUEST,
    CallMessage,
    Done,
    EntryRefused,
    FileLog,
    Garbled,
    GuestMessage,
    HandOver,
    Interrupted,
    LimitRefused,
    LiveLog,
    Message,
    Passed,
    Raised,
    RecordedWarning,
    Report,
    Returned,
    SessionEnd,
    encode,
)
from pytest_nsisolate.guest.values import pack

RETURNED = Returned(
    type="int", data="gAVLAS4=", why="", fix="", warnings=["x"], output=[""]
)
RAISED = Raised(
    type="KeyError",
    data=None,
    why="so",
    fix="do",
    warnings=[],
    output=[],
    traceback="Trace",
)
REPORT = Report(report={"when": "call"}, marked=None)
PASSED = Passed(when="call", keywords=["a"], duration=0.5, start=1.5, stop=2.0)
INTERRUPTED = Interrupted(
    exit=True, text="enough", returncode=3, filename="test_it.py", lineno=3
)
WARNING = RecordedWarning(
    text="careful",
    module="builtins",
    category="UserWarning",
    filename="test_it.py",
    lineno=1,
    line="warn()",
    sourced=False,
    content=(("careful",), {"code": {1: b"x"}}),
)
REFUSED = EntryRefused(call="mount()", errno=1)

EXAMPLES: list[Message] = [
    *fuzzing.OTHERS,
    *(REPORT, INTERRUPTED, WARNING, RETURNED, RAISED),
    LiveLog(when=None, text=None),
    SessionEnd(before_teardown=True, shouldstop=["x"], shouldfail=None),
]


def _decode(fields: dict[str, object]) -> GuestMessage | CallMessage:
    """
    Return the message that *fields* describe, whichever set it belongs to.
    """
    kind = fields.get("kind")
    grammar: Any = OF_CALL if kind in {"returned", "raised"} else OF_GUEST
    message = grammar.decode(fuzzing.frame_of(fields)[8:]).message
    assert isinstance(message, typing.get_args(Message))
    return message  # type: ignore[no-any-return]


def test_examples() -> None:
    """
    There is an example of each type, and each type has a kind of its own.
    """
    known = typing.get_args(Message)
    assert {type(one) for one in EXAMPLES} == set(known)
    assert KINDS.keys() == set(known)
    assert len(set(KINDS.values())) == len(known)
    guest = {type(one) for one in fuzzing.OTHERS} | {Report}
    assert guest == set(typing.get_args(GuestMessage))


@pytest.mark.parametrize("synchronous", [False, True])
@pytest.mark.parametrize("message", EXAMPLES, ids=lambda one: type(one).__name__)
def test_round_trip(message: Message, *, synchronous: bool) -> None:
    """
    Each message arrives as it was sent.
    """
    body = encode(message, synchronous=synchronous)
    grammar: Any = OF_GUEST if type(message) not in {Returned, Raised} else OF_CALL
    envelope = grammar.decode(body)
    assert type(envelope.message) is type(message)
    assert envelope.message == message
    assert envelope.synchronous is synchronous


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda one: type(one).__name__)
def test_fields(message: Message) -> None:
    """
    A message with a missing or an unknown field is garbled.
    """
    fields = fuzzing.fields_of(message)
    assert _decode(fields) == message
    for name in fields.keys() - {"kind", "synchronous"}:
        less = {key: value for key, value in fields.items() if key != name}
        kind = fields["kind"]
        with pytest.raises(Garbled, match=f"a message '{kind}' whose {name}"):
            _decode(less)
    with pytest.raises(Garbled, match=r"with an unknown field 'extra'$"):
        _decode({**fields, "extra": None})


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda one: type(one).__name__)
def test_frozen(message: Message) -> None:
    """
    No field of a message can be set, and none can be added.
    """
    for name in [*fuzzing.fields_of(message), "extra"]:
        with pytest.raises((AttributeError, TypeError)):
            setattr(message, name, None)


NAN, HUGE = float("nan"), 1 << 4000


@pytest.mark.parametrize(
    ("message", "name", "wrong"),
    [
        (INTERRUPTED, "exit", [0, 1, None, "true"]),
        (INTERRUPTED, "returncode", [True, 1.0, NAN, "1", 1 << 31, -(1 << 31), HUGE]),
        (INTERRUPTED, "filename", [None, "\0", "\ud800", 3]),
        (INTERRUPTED, "lineno", [None, True, 3.0, NAN, 10_000_000, HUGE, "3"]),
        (WARNING, "lineno", [None, False, NAN, -10_000_000, -HUGE]),
        (WARNING, "category", [None, "\0", "\ud800", []]),
        (WARNING, "line", [3, [], {}]),
        (WARNING, "sourced", [None, 1, ""]),
        (REPORT, "report", [None, [], "", True]),
        (REPORT, "marked", [False, 3, ["text"]]),
        (PASSED, "when", [None, "", "collect", 1, ["call"]]),
        (PASSED, "keywords", [None, {"a": 1}, [1], ["a", None]]),
        (PASSED, "start", [None, 1, True, "1.0"]),
        (HandOver(payload={}), "payload", [None, [], "", NAN]),
        (LiveLog(when="call", text=""), "when", [0, False, {}]),
        (FileLog(text=""), "text", [None, 0, ["x"]]),
        (REFUSED, "errno", [None, True, 1.5, NAN, HUGE, "1"]),
        (REFUSED, "call", [None, "two\nlines", "\x1b[31m", 3]),
        (LimitRefused(what="", why="", fix=""), "what", ["two\nlines", None]),
        (fuzzing.OTHERS[7], "before_teardown", ["before teardown", 1, None]),
        (RETURNED, "data", [3, [], True]),
        (RETURNED, "output", [None, "text", [1], ["x", None], {}]),
        (RAISED, "warnings", [[["x"]], [{}], [None], {"x": "x"}]),
        (RAISED, "traceback", [None, ["x"]]),
        (Done(), "synchronous", [None, 0, 1, "true", NAN, [], HUGE]),
        (REFUSED, "kind", [None, 1, ["refused"], "", "Refused", {}, "returned"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_values(message: Message, name: str, wrong: list[object]) -> None:
    """
    A value of the wrong type or out of bounds is garbled, and one line says so.
    """
    for value in wrong:
        fields = {**fuzzing.fields_of(message), name: value}
        grammar: Any = OF_CALL if type(message) in {Returned, Raised} else OF_GUEST
        with pytest.raises(Garbled) as caught:
            grammar.decode(fuzzing.frame_of(fields)[8:])
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("message", "name", "value"),
    [
        (REPORT, "report", {"a": NAN, "b": [1 << 70, True, None, "\ud800"]}),
        (HandOver(payload={}), "payload", {"": {"": [1.5, float("inf")]}}),
        (fuzzing.OTHERS[7], "shouldstop", [{"a": HUGE}]),
        (fuzzing.OTHERS[7], "shouldfail", True),
        (WARNING, "text", "\0\ud800\n"),
        (WARNING, "lineno", -1),
        (INTERRUPTED, "returncode", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_right_values(message: Message, name: str, value: object) -> None:
    """
    Data of pytest and its plugins is not restricted, and any text is accepted.
    """
    if name in {"report", "payload", "shouldstop", "shouldfail"}:
        packed = pack(value).content
    else:
        packed = value
    arrived = _decode({**fuzzing.fields_of(message), name: packed})
    assert repr(getattr(arrived, name)) == repr(value)


def test_synchronous_is_optional() -> None:
    """
    A message without the field synchronous is not synchronous.
    """
    assert not OF_GUEST.decode(b'{"kind":"done"}').synchronous


def test_sets_are_closed() -> None:
    """
    A box accepts only the refusals of a guest, and a guest's reader those of a box.
    """
    for grammar, others in [(OF_CALL, GuestMessage), (OF_GUEST, CallMessage)]:
        for one in EXAMPLES:
            is_other = isinstance(one, typing.get_args(others))
            if is_other and not isinstance(one, EntryRefused | LimitRefused):
                with pytest.raises(Garbled, match="of unknown kind"):
                    grammar.decode(encode(one))  # type: ignore[attr-defined]


def test_no_other_message() -> None:
    """
    An object that is not a message cannot be sent.
    """

    class Other:
        """
        A class that belongs to no set of messages.
        """

        kind = "done"

    with pytest.raises(KeyError):
        encode(Other())  # type: ignore[arg-type]


@pytest.mark.parametrize("body", ['{"kind": "done"} ', ' {"kind": "done"}', "{}{}"])
def test_nothing_around(body: str) -> None:
    """
    A body with anything around its one JSON object is garbled.
    """
    with pytest.raises(Garbled):
        OF_GUEST.decode(body.encode())


def test_twice_the_same_key() -> None:
    """
    If a key is repeated the last one counts, as in Python's json module.
    """
    body = json.dumps({"kind": "done"}).replace("{", '{"kind": "over", ')
    assert OF_GUEST.decode(body.encode()).message == Done()
