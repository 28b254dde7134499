"""
The schema of the reports that guests send: the types of their fields, and their order.

The supervisor checks each report against it before pytest and its plugins get it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from pytest_nsisolate.guest.messages import Garbled, short

_Check: TypeAlias = Callable[[object], bool]

#: No file has more lines.
_MOST_LINES = 1 << 31


def _is(*types: type) -> _Check:
    return lambda value: isinstance(value, types)


def _is_line(value: object) -> bool:
    return isinstance(value, int) and -_MOST_LINES < value < _MOST_LINES


_is_text = _is(str)

#: The check of each field.
_REPORT: dict[str, _Check] = {
    "nodeid": _is_text,
    "location": lambda value: (
        isinstance(value, tuple | list)
        and len(value) == 3  # noqa: PLR2004 - file, line, name
        and isinstance(value[0], str)
        and (value[1] is None or _is_line(value[1]))
        and isinstance(value[2], str)
    ),
    "keywords": _is(dict),
    "outcome": _is_text,
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
    Check that *report* can be shown, and written as JUnit's XML if pytest does that.

    Raises:
        Garbled: It cannot.
    """
    of_it: dict[str, Any] = vars(report)
    for name, is_right in _REPORT.items():
        if name in of_it and not is_right(of_it[name]):
            raise Garbled(f"a report whose {name} is {short(of_it[name])}")
    if config.getoption("xmlpath", None):
        _check_for_junit(report)
    for name in of_it:
        if callable(getattr(type(report), name, None)):
            raise Garbled(f"a report that has no method {name}")
    if hasattr(report, "wasxfail"):
        if not isinstance(report.wasxfail, str):
            raise Garbled(f"a report whose wasxfail is {short(report.wasxfail)}")
    elif report.skipped and not _is_skip(report.longrepr):
        raise Garbled("a report of a skip without its reason")
    _check_text(report)


def _check_text(report: pytest.TestReport) -> None:
    try:
        # The terminal shows these; for a subtest, head_line is computed.
        str(report.head_line)
        str(report.longrepr)
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is not None:
            str(crash.path + crash.message)
    except Exception as error:  # noqa: BLE001 - whatever is wrong in there
        raise Garbled(f"a report that cannot be shown ({short(error)})") from None


def _check_for_junit(report: pytest.TestReport) -> None:
    """
    Check that *report* has what pytest's writer of JUnit's XML takes for granted.
    """
    if not all(
        isinstance(one, tuple | list) and len(one) == 2  # noqa: PLR2004 - name, value
        for one in report.user_properties
    ):
        raise Garbled("a report whose user_properties are not pairs")
    if report.failed and report.longrepr is None:
        raise Garbled("a report of a failure without its text")


def _is_section(value: object) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 2  # noqa: PLR2004 - title, content
        and all(isinstance(one, str) for one in value)
    )


def _is_skip(value: object) -> bool:
    match value:
        case (str(), int() | None, str()):
            return True
    return False


class Order:
    """
    Keeps the reports of a test in an order that pytest's writer of JUnit's XML accepts.

    That writer takes a failed teardown for the one that belongs to an earlier failure
    of a call or subtest, even if another teardown has come since; if since then only a
    setup has come, it raises. Only two guests report in such an order: one whose test
    writes to the channel itself, and one whose teardown was logged early for a
    debugger.
    """

    def __init__(self) -> None:
        #: For each node id, how many more failures there were than teardowns.
        self._unclosed: Counter[str] = Counter()
        #: The node ids with a report since the last teardown, passed setups aside.
        self._told: set[str] = set()

    def keep(self, report: pytest.TestReport) -> None:
        """
        Change *report* into one that may follow those before it.
        """
        name = report.nodeid
        if (
            report.when == "teardown"
            and report.failed
            and self._unclosed[name]
            and name not in self._told
        ):
            report.when = "call"
        is_call, is_known = report.when == "call", report.failed or report.skipped
        if report.when == "teardown":
            self._told.discard(name)
            self._unclosed[name] = max(self._unclosed[name] - 1, 0)
        elif is_known or (is_call and report.passed):
            self._told.add(name)
            self._unclosed[name] += is_call and report.failed
