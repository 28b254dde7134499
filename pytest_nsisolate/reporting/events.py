"""
Warnings and interruptions, as messages from a guest and back.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from types import TracebackType
from typing import NoReturn

import pytest

from pytest_nsisolate.guest.messages import Interrupted, RecordedWarning
from pytest_nsisolate.reporting.exceptions import find_class


def warning_to_message(warning: warnings.WarningMessage) -> RecordedWarning:
    """
    Return *warning* as a message: its text, category and place.
    """
    category, message = warning.category, warning.message
    # Whoever calls warnings.showwarning() may pass a str.
    args = getattr(message, "args", (message,))
    return RecordedWarning(
        text=str(message),
        module=category.__module__,
        category=category.__qualname__,
        filename=warning.filename,
        lineno=warning.lineno,
        line=warning.line,
        sourced=warning.source is not None,
        content=(args, getattr(message, "__dict__", {})),
    )


def show_warning(message: RecordedWarning) -> None:
    """
    Show the warning in *message*, so that pytest records it.

    Its category is the original one if that can be imported, else a stand-in of the
    same name.
    """
    name = message.category
    category = find_class(message.module, name, Warning)
    if category is None:
        attributes = {"__module__": message.module, "__qualname__": name}
        category = type(name.rpartition(".")[2], (Warning,), attributes)
    instance = _warning(category, message)
    filename, lineno = message.filename, message.lineno
    if not message.sourced:
        warnings.showwarning(instance, category, filename, lineno, line=message.line)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # For a warning with a source, pytest says how to find where that was made.
        warnings.warn_explicit(instance, category, filename, lineno, source=instance)


def _warning(category: type[Warning], message: RecordedWarning) -> Warning:
    """
    Return the warning of *category* in *message*, or one of the same text.
    """
    text = message.text
    match message.content:
        case (tuple(given), dict(attributes)):
            # An argument may have come as text, of which the text of all is another.
            for args in (given, (text,)):
                with contextlib.suppress(Exception):
                    # __init__() may have a signature of its own, and is not run.
                    instance = category.__new__(category, *args)
                    vars(instance).update(attributes)
                    if str(instance) == text:
                        return instance
    with contextlib.suppress(Exception):
        instance = category(text)
        if str(instance) == text:
            return instance
    return Warning(text)


def interruption_to_message(error: BaseException) -> Interrupted:
    """
    Return *error*, which ends the session, as a message with its text and place.
    """
    filename, lineno = _innermost(error.__traceback__)
    returncode = getattr(error, "returncode", None)
    return Interrupted(
        exit=isinstance(error, pytest.exit.Exception),
        text=str(getattr(error, "msg", error)),
        returncode=int(returncode) if isinstance(returncode, bool) else returncode,
        filename=filename,
        lineno=lineno,
    )


def _innermost(trace: TracebackType | None) -> tuple[str, int]:
    filename, lineno = os.devnull, 1
    while trace is not None:
        if not trace.tb_frame.f_locals.get("__tracebackhide__", False):
            filename, lineno = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    return filename, lineno


def raise_interruption(message: Interrupted) -> NoReturn:
    """
    Raise the interruption in *message* again, as if from its place in the guest.
    """
    text = message.text
    if message.exit:
        pytest.exit(text, returncode=message.returncode)
    error = KeyboardInterrupt(*([text] if text else []))
    _raise_at(error, message.filename, message.lineno)


def _raise_at(error: BaseException, filename: str, lineno: int) -> NoReturn:
    """
    Raise *error* with a traceback that ends in *filename*, line *lineno*.
    """
    code = compile("\n" * (lineno - 1) + "raise error", filename, "exec")
    exec(code, {"error": error})  # noqa: S102 - the code is the line above
    raise AssertionError
