"""
The messages that a guest sends: a closed set of types, one encoder and one decoder.

The decoder is the grammar. A test can write to any of its descriptors, including the
channel, so what arrives is either a valid message of the set or `Garbled`, which ends
the test and not the session. The fields of a class are the schema: the check of each
field is derived from its annotation.

On the wire a message is a JSON object in UTF-8 with its kind and its fields. Lone
surrogates, which the output that pytest captures may contain, are allowed
(``surrogatepass``). A field of any type is packed: `values`. There is no pickle:
reading a message runs no code.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Iterable, Sequence
from typing import (
    Annotated,
    Generic,
    Literal,
    NamedTuple,
    NoReturn,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pytest_nsisolate.guest import values
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model.errors import Unlimited

#: What arrived as text: the key or field that it is in, and its type.
Texts: TypeAlias = "Sequence[tuple[str, str]]"

#: What plugins carry from a guest to the supervisor, by the name of the plugin.
Payload: TypeAlias = "dict[str, object]"

_Check: TypeAlias = Callable[[object], bool]

#: How many characters of a wrong value are shown.
_SHORT = 60


class Garbled(Exception):
    """
    What arrived over the channel is not a message.
    """


def _below(limit: int) -> _Check:
    return lambda value: isinstance(value, int) and -limit < value < limit


def _is_path(value: object) -> bool:
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _is_printable(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(one, list) and len(one) == 2 and all(map(_is_printable, one))  # noqa: PLR2004 - key, type
        for one in value
    )


#: A line number. No file has more lines, and pytest may expand the number into as many
#: characters.
Line: TypeAlias = Annotated[int, _below(10_000_000)]
#: An exit code or errno.
Code: TypeAlias = Annotated[int, _below(1 << 31)]
#: Text that a system call accepts.
Path: TypeAlias = Annotated[str, _is_path]
#: A phase of a test.
Phase: TypeAlias = Literal["setup", "call", "teardown"]
#: Text on one line.
Phrase: TypeAlias = Annotated[str, _is_printable]


@dataclasses.dataclass(frozen=True, slots=True)
class _Bare:
    """
    A message without fields.
    """


class Restarted(_Bare):
    """The test is over and begins again, since a plugin reruns it."""

    __slots__ = ()


class BasetempRequest(_Bare):
    """The test needs pytest's base temporary directory; the answer is its path."""

    __slots__ = ()


class Broken(NamedTuple):
    """An error outside the test's phases ended its run."""

    traceback: str


class Interrupted(NamedTuple):
    """A KeyboardInterrupt or `pytest.exit` in the test ends the session."""

    exit: bool
    """Whether it was `pytest.exit`."""
    text: str
    returncode: Code | None
    filename: Path
    lineno: Line


class LiveLog(NamedTuple):
    """A line of the live log, or the start of a phase of it."""

    when: str | None
    text: str | None


class FileLog(NamedTuple):
    """A record for the log file, of a test that others run beside."""

    text: str


class HandOver(NamedTuple):
    """What plugins carry over, for `pytest_nsisolate_hand_over`."""

    payload: dict[str, object]


class Report(NamedTuple):
    """A report of a phase or subtest, as pytest serialises it."""

    report: dict[str, object]
    marked: str | None
    """Its failure rendered with colours, if pytest would reduce it to plain text."""


class Passed(NamedTuple):
    """A report of a phase that has passed, with nothing but what all of them have."""

    when: Phase
    keywords: list[str]
    duration: float
    start: float
    stop: float


class SessionEnd(NamedTuple):
    """A request to end the session. The two values may be of any type."""

    before_teardown: bool
    """Whether it ends with this test's teardown, and not after the test."""
    shouldstop: object
    shouldfail: object


class Failure(NamedTuple):
    """A call of the test has raised an exception, which is of interest to plugins."""

    when: str
    """The phase."""
    errors: object
    """The exception and those that belong to it: see `reporting.exceptions`."""
    report: object
    """Its report, as pytest serialises it; None if that is the one sent last."""
    marked: str | None
    """As for a `Report`."""


class Kept(NamedTuple):
    """What `pytest_runtest_makereport` has kept in memory; its report comes next."""

    number: int
    """The number of the report, counted from the first one that was made."""
    changes: object
    """The changes: see `reporting.memory`."""
    reports: object
    """Reports that were made before and not logged, by number, as in a `Report`."""
    lost: list[str]
    """What was kept and cannot come back, and its type."""
    version: Code
    """How often something had come back when the guest was forked."""


class FailureShown(_Bare):
    """The debugger shows the failure that was reported last."""

    __slots__ = ()


class TerminalTaken(_Bare):
    """The test takes the terminal, so that a person can type."""

    __slots__ = ()


class TurnAwaited(_Bare):
    """
    The test is about to write past pytest, and waits until it is its turn.

    The answer is how many tests and subtests have failed before.
    """

    __slots__ = ()


class DebuggerLeft(_Bare):
    """The person has left the debugger, so the deadline counts again."""

    __slots__ = ()


class RecordedWarning(NamedTuple):
    """A warning that pytest recorded."""

    text: str
    module: str
    """The module of its category."""
    category: Path
    """The qualified name of its category. A class name cannot contain NUL."""
    filename: str
    lineno: Line
    line: str | None
    """The source line, if it came with the warning."""
    sourced: bool
    """Whether it has a source, the object that caused it."""
    content: object
    """Its arguments and its attributes: a tuple and a dict."""


class Done(_Bare):
    """The guest has finished its work."""

    __slots__ = ()


class Paused(_Bare):
    """The test is over, and the guest waits for the next test of its group."""

    __slots__ = ()


class EntryRefused(NamedTuple):
    """The kernel refused a call on the way into the sandbox."""

    call: Phrase
    errno: Code


class LimitRefused(NamedTuple):
    """A limit that a test or a box asked for cannot be enforced."""

    what: Phrase
    why: str
    fix: str

    @classmethod
    def of(cls, error: Unlimited) -> LimitRefused:
        """
        Return *error* as a message.
        """
        return cls(what=str(error), why=error.why, fix=error.fix)

    def error(self) -> Unlimited:
        """
        Return the error that this is about.
        """
        return Unlimited(self.what, self.why, self.fix)


class Returned(NamedTuple):
    """A function in a box returned a value."""

    type: str
    """The name of its type."""
    data: str | None
    """The value, pickled, in base 64; None if it cannot be pickled."""
    why: str
    """Why it cannot be pickled."""
    fix: str
    """What to do about that."""
    warnings: list[str]
    """The warnings that it gave, pickled in the same way."""
    output: list[str]
    """What it wrote to streams in memory: `Streams.written`."""


class Raised(NamedTuple):
    """A function in a box raised an exception; the fields are those of `Returned`."""

    type: str
    data: str | None
    why: str
    fix: str
    warnings: list[str]
    output: list[str]
    traceback: str


#: What a guest sends about its test.
TestMessage: TypeAlias = (
    Restarted
    | BasetempRequest
    | Broken
    | Interrupted
    | LiveLog
    | FileLog
    | HandOver
    | Report
    | Passed
    | SessionEnd
    | Failure
    | Kept
    | FailureShown
    | TerminalTaken
    | TurnAwaited
    | DebuggerLeft
    | RecordedWarning
)
#: Everything that the guest of a test may send.
GuestMessage: TypeAlias = TestMessage | Done | Paused | EntryRefused | LimitRefused
#: The outcome of a function in a box.
Outcome: TypeAlias = Returned | Raised
#: Everything that the process of a function in a box may send.
CallMessage: TypeAlias = Outcome | EntryRefused | LimitRefused
#: Everything that may be sent.
Message: TypeAlias = GuestMessage | CallMessage

#: What each is called on the wire.
KINDS: dict[type, str] = {
    Restarted: "again",
    BasetempRequest: "basetemp",
    Broken: "broken",
    Interrupted: "interrupted",
    LiveLog: "live log",
    FileLog: "log file",
    HandOver: "payload",
    Report: "report",
    Passed: "passed",
    SessionEnd: "session",
    Failure: "failure",
    Kept: "kept",
    FailureShown: "shown",
    TerminalTaken: "terminal",
    TurnAwaited: "turn",
    DebuggerLeft: "resumed",
    RecordedWarning: "warning",
    Done: "done",
    Paused: "over",
    EntryRefused: "refused",
    LimitRefused: "limit refused",
    Returned: "returned",
    Raised: "raised",
}

_M = TypeVar("_M")


class Envelope(Generic[_M]):
    """
    A message, whether its sender waits for an answer, and what it could not carry.
    """

    __slots__ = ("answered", "message", "synchronous", "texts")

    def __init__(
        self,
        message: _M,
        synchronous: bool,  # noqa: FBT001 - fast
        texts: Texts = (),
    ) -> None:
        self.message = message
        #: Whether the sender waits for an answer.
        self.synchronous = synchronous
        self.texts = texts
        #: Whether the sender has got its answer before its turn.
        self.answered = False


def encode(message: Message, *, synchronous: bool = False) -> bytes:
    """
    Return the bytes of *message*.

    Args:
        message: The message.
        synchronous: Whether the sender waits for an answer.
    """
    fields: dict[str, object] = {"kind": KINDS[type(message)]}
    if synchronous:
        fields["synchronous"] = True
    free = _FREE[type(message)]
    texts: list[tuple[str, str]] = []
    for name in _CHECKS[type(message)]:
        fields[name] = getattr(message, name)
        if name in free:
            packed = values.pack(fields[name])
            fields[name] = packed.content
            for key, kind in packed.texts:
                texts.append((_phrase(key) or name, _phrase(kind)))
    if texts:
        fields["texts"] = texts
    return _ENCODER.encode(fields).encode("utf-8", "surrogatepass")


class Grammar(Generic[_M]):
    """
    A closed set of messages, and the decoder for it.

    Args:
        types: The classes of the messages.
    """

    def __init__(self, types: Iterable[type[_M]]) -> None:
        self._types = {KINDS[one]: one for one in types}

    def decode(self, body: bytes) -> Envelope[_M]:
        """
        Return the message in *body*.

        Raises:
            Garbled: It is not a message of the set.
        """
        fields = _from_json(body)
        kind = fields.pop("kind", None)
        found = self._types.get(kind) if isinstance(kind, str) else None
        if found is None:
            raise Garbled(f"a message of unknown kind ({short(kind)})")
        synchronous = fields.pop("synchronous", False)
        if not isinstance(synchronous, bool):
            raise Garbled(
                f"a message {kind!r} whose synchronous is {short(synchronous)}"
            )
        texts = fields.pop("texts", ())
        if texts != () and not _are_texts(texts):
            raise Garbled(f"a message {kind!r} whose texts are {short(texts)}")
        checks = _CHECKS[found]
        try:
            for name in _FREE[found]:
                if name in fields:
                    fields[name] = values.unpack(fields[name])
        except values.Malformed as error:
            raise Garbled(f"a message {kind!r} with {error}") from None
        for name, is_right in checks.items():
            if name not in fields or not is_right(fields[name]):
                value = short(fields.get(name))
                raise Garbled(f"a message {kind!r} whose {name} is {value}")
        if len(fields) != len(checks):
            unknown = next(name for name in fields if name not in checks)
            raise Garbled(f"a message {kind!r} with an unknown field {short(unknown)}")
        return Envelope(found(**fields), synchronous, cast("Texts", texts))


def short(value: object) -> str:
    """
    Return *value* on one line, truncated.
    """
    # What comes from a guest may be of any depth.
    text = values.brief(value).encode("ascii", "backslashreplace").decode()
    return text[:_SHORT]


def _phrase(text: str) -> str:
    """
    Return *text* on one line, truncated.
    """
    return (text if text.isprintable() else ascii(text)[1:-1])[:_SHORT]


def assert_never(value: NoReturn) -> NoReturn:
    """
    Make a type checker prove that this call cannot be reached.

    `typing` has it only since Python 3.11.
    """
    raise AssertionError(value)


def _check_for(hint: object) -> _Check:
    """
    Return a function that says whether a value from JSON is of the type *hint*.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        is_type, is_right = _check_for(parts[0]), parts[1]
        return lambda value: is_type(value) and is_right(value)
    if origin is list:
        is_part = _check_for(parts[0])
        return lambda value: isinstance(value, list) and all(map(is_part, value))
    if hint is object:
        return lambda _: True
    if origin is Literal:
        return lambda value: type(value) is str and value in parts
    if origin in (Union, types.UnionType) and any(map(get_origin, parts)):
        one, other = map(_check_for, parts)
        return lambda value: one(value) or other(value)
    # In JSON all keys are strings. For isinstance(), a bool is an int; here it is not.
    wanted = set(parts) if origin in (Union, types.UnionType) else {origin or hint}
    return lambda value: type(value) in wanted


#: By class and name, the type of each field.
_HINTS = {kind: get_type_hints(kind, include_extras=True) for kind in get_args(Message)}

#: By class and name, the check of each field.
_CHECKS: dict[type, dict[str, _Check]] = {
    kind: {name: _check_for(hint) for name, hint in hints.items()}
    for kind, hints in _HINTS.items()
}

#: By class, the fields that take values of any type, which are packed.
_FREE = {
    kind: frozenset(
        name for name, hint in hints.items() if hint in (object, dict[str, object])
    )
    for kind, hints in _HINTS.items()
}

#: The grammars of the guest of a test and of the process of a function in a box.
OF_GUEST: Grammar[GuestMessage] = Grammar(get_args(GuestMessage))
OF_CALL: Grammar[CallMessage] = Grammar(get_args(CallMessage))


# Made at import, since a fixture may replace json.loads().
_ENCODER = json.JSONEncoder(ensure_ascii=False)
# Each NaN is an object of its own, so that two of them are two keys, as they were.
_DECODER = json.JSONDecoder(parse_constant=float)


def _from_json(body: bytes) -> dict[str, object]:
    try:
        text = body.decode("utf-8", "surrogatepass")
        # No message has whitespace around it, which decode() would search for.
        fields, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"invalid JSON ({ascii(str(error))[1:-1]})") from None
    if end != len(text):
        raise Garbled("JSON with trailing data")
    if not isinstance(fields, dict):
        raise Garbled(f"a JSON {type(fields).__name__} instead of an object")
    return fields
