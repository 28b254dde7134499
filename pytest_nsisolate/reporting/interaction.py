"""
The hook `pytest_exception_interact`: what acts inside on a failure, and what outside.

A debugger needs the frames of a failure, and acts in the guest. All others, such as
those that tell an editor of the failure, act in the supervisor, where what they keep in
memory stays. There they get the failure from the channel; and no guest tells them of
its own crash.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import AbstractContextManager
from typing import Any, cast

import pluggy
import pytest

from pytest_nsisolate.compat import hooks
from pytest_nsisolate.guest.messages import Failure, Garbled, Report
from pytest_nsisolate.model.errors import Explanation, HookWarning
from pytest_nsisolate.reporting.exceptions import describe, revive

_NAME = "pytest_exception_interact"

#: Packages that act where the exception is: pytest with its debugger and watchdog, this
#: one, the timer of pytest-timeout, and other debuggers.
_INSIDE = {"_pytest", "pytest_nsisolate", "pytest_timeout", "pytest_pudb"}

#: What `sys` has of the last exception; the last of these since Python 3.12.
_LAST = ("last_type", "last_value", "last_traceback", "last_exc")
_CALLER = "pytest_runtest_call"

_PHASES = {"setup", "call", "teardown"}


def is_inside(impl: pluggy.HookImpl) -> bool:
    """
    Say whether the implementation *impl* of the hook acts in the guest.
    """
    return impl.function.__module__.partition(".")[0] in _INSIDE


def caller_inside(config: pytest.Config) -> pluggy.HookCaller:
    """
    Return a caller of the hook for what acts in the guest.
    """
    return hooks.caller_without(config, _NAME, lambda impl: not is_inside(impl))


def is_watched(config: pytest.Config) -> bool:
    """
    Say whether someone outside waits for failures.
    """
    return not all(map(is_inside, hooks.implementations(config, _NAME)))


def untold(config: pytest.Config) -> AbstractContextManager[None]:
    """
    Return a context in which nobody is told of a failure.
    """
    return hooks.without(config, _NAME, lambda _: True)


def failure_to_message(call: pytest.CallInfo[Any], report: Report | None) -> Failure:
    """
    Return the failure of *call* as a message.

    Args:
        call: What has failed.
        report: Its report; None if it is the one that was sent last.
    """
    assert call.excinfo is not None
    return Failure(
        when=call.when,
        errors=describe(call.excinfo.value),
        report=None if report is None else report.report,
        marked=None if report is None else report.marked,
    )


def call_from_message(message: Failure) -> pytest.CallInfo[None]:
    """
    Return the call in *message*.

    Raises:
        Garbled: It describes none.
    """
    if message.when not in _PHASES:
        raise Garbled("a failure outside the phases of a test")
    return call_of(revive(message.errors), message.when)


def call_of(error: BaseException, when: str) -> pytest.CallInfo[None]:
    """
    Return a call in the phase *when* that has raised *error*.
    """
    call = pytest.CallInfo.from_call(lambda: None, when=cast("Any", when))
    call.excinfo = pytest.ExceptionInfo.from_exc_info(
        (type(error), error, cast("Any", error.__traceback__))
    )
    return call


def forget_last() -> None:
    """
    Forget the last exception of a test, as pytest does before it calls the next one.
    """
    for name in _LAST:
        vars(sys).pop(name, None)


def note_last(call: pytest.CallInfo[None]) -> None:
    """
    Note the exception of *call* in `sys`, as pytest does for a failure of the test.
    """
    assert call.excinfo is not None
    error = call.excinfo.value
    if call.when != "call" or not isinstance(error, Exception):
        return
    trace = error.__traceback__
    # pytest leaves out its own frames, down to the one that calls the test.
    while trace is not None and trace.tb_frame.f_code.co_name != _CALLER:
        trace = trace.tb_next
    trace = error.__traceback__ if trace is None else trace.tb_next
    values = (type(error), error, trace, error)
    vars(sys).update(zip(_LAST, values, strict=True))
    if sys.version_info < (3, 12):
        vars(sys).pop(_LAST[-1], None)


def tell(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> None:
    """
    Call the hook outside for *report*, which has been logged.
    """
    call.start, call.stop, call.duration = report.start, report.stop, report.duration
    with hooks.without(item.config, _NAME, is_inside):
        try:
            item.ihook.pytest_exception_interact(node=item, call=call, report=report)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises
            _warn(item, error)


def _warn(item: pytest.Item, error: Exception) -> None:
    """
    Say that an implementation of the hook has raised.
    """
    place = pytest.ExceptionInfo.from_exception(error).traceback[-1]
    explanation = Explanation(
        what=f"{_NAME}() failed for {item.name}: {type(error).__name__}: {error}",
        why=f"{place.path}:{place.lineno + 1} raised it in the supervisor, where "
        "nothing is that the test has set up, also not in node.funcargs",
        fix="do this in pytest_runtest_makereport(), which runs where the test does",
    )
    warn(item, explanation)


def warn(
    item: pytest.Item,
    explanation: Explanation,
    kind: type[UserWarning] = HookWarning,
) -> None:
    """
    Warn of *explanation* at *item*. This is never an error: the test is not to blame.
    """
    filename, line, _ = item.reportinfo()
    place = str(filename), (line or 0) + 1
    try:
        warnings.warn_explicit(kind(str(explanation)), None, *place)
    except kind as error:
        warnings.showwarning(error, kind, *place)
