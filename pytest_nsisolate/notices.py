"""
Warnings, and what ends a session, on their way from guest to supervisor.
"""

from __future__ import annotations

import os
import sys
import warnings
from types import TracebackType
from typing import Any, NoReturn, cast

import pytest

from pytest_nsisolate.channel import Message


def warning_to_message(warning: warnings.WarningMessage) -> Message:
    """
    Return *warning* as a message: its text, category and place.
    """
    category = warning.category
    return {
        "kind": "warning",
        "text": str(warning.message),
        "module": category.__module__,
        "category": category.__qualname__,
        "filename": warning.filename,
        "lineno": warning.lineno,
        "line": warning.line,
        "sourced": warning.source is not None,
    }


def show_warning(message: Message) -> None:
    """
    Show the warning in *message* to whoever records warnings now, which is pytest.

    Its object is a `Warning` of the same category where that can be found and made
    from its text, else one of that name.
    """
    name = str(message["category"])
    category = _find_category(str(message["module"]), name)
    if category is None:
        attributes = {"__module__": message["module"], "__qualname__": name}
        category = type(name.rpartition(".")[2], (Warning,), attributes)
    text = str(message["text"])
    try:
        instance = category(text)
    except Exception:  # noqa: BLE001 - a category with a signature of its own
        instance = Warning(text)
    if str(instance) != text:
        instance = Warning(text)
    filename, lineno = str(message["filename"]), cast("int", message["lineno"])
    if not message["sourced"]:
        line = cast("str | None", message["line"])
        warnings.showwarning(instance, category, filename, lineno, line=line)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # pytest says how to find out where the source of it was made.
        warnings.warn_explicit(instance, category, filename, lineno, source=instance)


def _find_category(module: str, qualname: str) -> type[Warning] | None:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else None


def interruption_to_message(error: BaseException) -> Message:
    """
    Return *error*, which ends the session, as a message: what and where.
    """
    place = _innermost(error.__traceback__)
    return {
        "kind": "interrupted",
        "exit": isinstance(error, pytest.exit.Exception),
        "text": str(getattr(error, "msg", error)),
        "returncode": getattr(error, "returncode", None),
        "filename": place[0],
        "lineno": place[1],
    }


def _innermost(trace: TracebackType | None) -> tuple[str, int]:
    filename, lineno = os.devnull, 1
    while trace is not None:
        if not trace.tb_frame.f_locals.get("__tracebackhide__", False):
            filename, lineno = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    return filename, lineno


def raise_interruption(message: Message) -> NoReturn:
    """
    Raise what *message* says has ended the session in a guest, as if from there.
    """
    text = str(message["text"])
    if message["exit"]:
        pytest.exit(text, returncode=cast("int | None", message["returncode"]))
    _raise_at(
        KeyboardInterrupt(*([text] if text else [])),
        str(message["filename"]),
        cast("int", message["lineno"]),
    )


def _raise_at(error: BaseException, filename: str, lineno: int) -> NoReturn:
    """
    Raise *error* with a traceback that ends in *filename*, line *lineno*.
    """
    code = compile("\n" * (lineno - 1) + "raise error", filename, "exec")
    exec(code, {"error": error})  # noqa: S102 - the code is the line above
    raise AssertionError
