"""
What a guest may say: the kinds of its messages, and the types of what is in them.

A test may write to any descriptor that it has, the channel among them. What is held to
this before anything is made of it ends that test and not the session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from pytest_nsisolate.channel import Garbled, Message
from pytest_nsisolate.untouched import os

_Test: TypeAlias = Callable[[object], bool]

#: No file has more lines; and a line number is turned into as many characters.
_MOST_LINES = 10_000_000
_MOST_CODES = 1 << 31


def _is(*types: type) -> _Test:
    return lambda value: isinstance(value, types)


def _is_below(limit: int) -> _Test:
    return lambda value: isinstance(value, int) and -limit < value < limit


def _is_path(value: object) -> bool:
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


_TEXT, _TEXT_OR_NONE = _is(str), _is(str, type(None))
_LINE = _is_below(_MOST_LINES)

#: The fields that each kind of message must have.
_KINDS: dict[str, dict[str, _Test]] = {
    "again": {},
    "basetemp": {},
    "broken": {"traceback": _TEXT},
    "interrupted": {
        "exit": _is(bool),
        "text": _TEXT,
        "returncode": lambda value: value is None or _is_below(_MOST_CODES)(value),
        "filename": _is_path,
        "lineno": _LINE,
    },
    "live log": {"when": _TEXT_OR_NONE, "text": _TEXT_OR_NONE},
    "payload": {"payload": _is(dict)},
    "resumed": {},
    "report": {"report": _is(dict), "marked": _TEXT_OR_NONE},
    # What a plugin puts into the other two is its own.
    "session": {"when": _TEXT, "shouldstop": _is(object), "shouldfail": _is(object)},
    "shown": {},
    "terminal": {},
    "warning": {
        "text": _TEXT,
        "module": _TEXT,
        "category": _is_path,
        "filename": _TEXT,
        "lineno": _LINE,
        "line": _TEXT_OR_NONE,
        "sourced": _is(bool),
    },
}


def check(message: Message) -> None:
    """
    Make sure that *message* is one that the supervisor understands.

    Raises:
        Garbled: It is not.
    """
    kind = message.get("kind")
    fields = _KINDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise Garbled(f"a message of no known kind ({_short(kind)})")
    for name, is_right in fields.items():
        if name not in message or not is_right(message[name]):
            value = _short(message.get(name))
            raise Garbled(f"a message {kind!r} whose {name} is {value}")


#: What is asked of a report before pytest and its plugins get it.
_REPORT: dict[str, _Test] = {
    "nodeid": _TEXT,
    "location": lambda value: (
        isinstance(value, tuple)
        and len(value) == 3  # noqa: PLR2004 - file, line, name
        and isinstance(value[0], str)
        and (value[1] is None or _is_below(_MOST_CODES)(value[1]))
        and isinstance(value[2], str)
    ),
    "keywords": _is(dict),
    "outcome": _TEXT,
    "when": lambda value: (
        isinstance(value, str) and value in {"setup", "call", "teardown"}
    ),
    "sections": lambda value: isinstance(value, list) and all(map(_is_section, value)),
    "user_properties": _is(list),
    "duration": _is(int, float),
    "start": _is(int, float),
    "stop": _is(int, float),
}


def check_report(config: pytest.Config, report: pytest.TestReport) -> None:
    """
    Make sure that *report* can be shown, and be written to a file of JUnit's.

    Raises:
        Garbled: It cannot.
    """
    of_it: dict[str, Any] = vars(report)
    for name, is_right in _REPORT.items():
        if name in of_it and not is_right(of_it[name]):
            raise Garbled(f"a report whose {name} is {_short(of_it[name])}")
    if config.getoption("xmlpath", None):
        _check_for_junit(report)
    for name in of_it:
        if callable(getattr(type(report), name, None)):
            raise Garbled(f"a report that has no method {name}")
    if hasattr(report, "wasxfail"):
        if not isinstance(report.wasxfail, str):
            raise Garbled(f"a report whose wasxfail is {_short(report.wasxfail)}")
    elif report.skipped and not _is_skip(report.longrepr):
        raise Garbled("a report of a skip without its reason")
    _check_text(report)


def _check_text(report: pytest.TestReport) -> None:
    try:
        # What a terminal shows of it; a subtest's is made from more.
        str(report.head_line)
        str(report.longrepr)
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is not None:
            str(crash.path + crash.message)
    except Exception as error:  # noqa: BLE001 - whatever is wrong in there
        raise Garbled(f"a report that cannot be shown ({_short(error)})") from None


def _check_for_junit(report: pytest.TestReport) -> None:
    """
    Make sure that *report* has what pytest's own writer of JUnit's XML takes for given.
    """
    if not all(
        isinstance(one, tuple) and len(one) == 2  # noqa: PLR2004 - name, value
        for one in report.user_properties
    ):
        raise Garbled("a report whose user_properties are no pairs")
    if report.failed and report.longrepr is None:
        raise Garbled("a report of a failure without its text")


def _is_section(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2  # noqa: PLR2004 - title, content
        and all(isinstance(one, str) for one in value)
    )


def _is_skip(value: object) -> bool:
    match value:
        case (str(), int() | None, str()):
            return True
    return False


def _short(value: object) -> str:
    """
    Return *value* on one line, cut off.
    """
    return ascii(value)[:60]
