"""
The pickled result of a function that ran in a fork: value or exception, and warnings.

Nothing else in the plugin is pickled, because a pickle can run code where it is read.
Here a fork of the reading process makes the pickle, of what the reader's own function
returned; `multiprocessing` does the same. Only code that runs in that function could
forge it, and the reader could have run that function itself.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from pytest_nsisolate.guest.messages import Outcome, Raised, Returned
from pytest_nsisolate.guest.rlimits import Confinement
from pytest_nsisolate.model.errors import BoxError, Explanation, safe_repr

#: Size limit of the pickle of a value or exception, in bytes.
LARGEST = 64 << 20


class CannotCarry(BoxError):
    """
    A value or exception of a function cannot come back from its box.

    .. versionadded:: 0.1.0
    """

    __module__ = "pytest_nsisolate"


class RemoteTraceback(Exception):
    """
    The traceback of an exception in the box where it was raised.

    .. versionadded:: 0.1.0
    """

    __module__ = "pytest_nsisolate"

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def perform(function: Callable[[], object], confinement: Confinement) -> Outcome:
    """
    Call *function* in *confinement*, and return its outcome without its output.
    """
    with warnings.catch_warnings(record=True) as log:
        try:
            with confinement.holding():
                value = function()
        except BaseException as error:  # noqa: BLE001 - whatever is raised is carried
            outcome: Outcome = _raised(error, confinement.reached_by(error))
        else:
            data, why = _pickled(value)
            name = type(value).__name__
            outcome = Returned(type=name, data=data, why=why, warnings=[], output=[])
    told = [_pickled_warning(one) for one in log]
    carried = [data for data in told if data is not None]
    return dataclasses.replace(outcome, warnings=carried)


def _raised(error: BaseException, reached: list[str]) -> Raised:
    # The first frame is `perform`.
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    lines = traceback.format_exception(type(error), error, trace)
    lines += [f"{one}\n" for one in reached]
    data, why = _pickled(error)
    return Raised(
        type=type(error).__name__,
        data=data,
        why=why,
        warnings=[],
        output=[],
        traceback="".join(lines),
    )


def _pickled(value: object) -> tuple[str | None, str]:
    """
    Return the pickle of *value* in base 64, or None and the reason.
    """
    try:
        data = _dumps(value)
    except Exception as error:  # noqa: BLE001 - whatever a user's __reduce__ raises
        return None, f"pickle.dumps() raises {_brief(error)}"
    if len(data) > LARGEST:
        return None, f"its pickle has {len(data)} bytes and the limit is {LARGEST}"
    return base64.b64encode(data).decode(), ""


def _pickled_warning(one: warnings.WarningMessage) -> str | None:
    data, _ = _pickled((one.message, one.category, one.filename, one.lineno))
    if data is None:
        text = str(one.message)
        data, _ = _pickled((text, UserWarning, one.filename, one.lineno))
    return data


def deliver(outcome: Outcome, action: str, where: str) -> object:
    """
    Return the value in *outcome*, or raise the exception in it.

    Args:
        outcome: What `perform` returned.
        action: The call, such as ``f in box db``.
        where: The box, such as ``box db``.

    Raises:
        CannotCarry: The value or exception could not be pickled or unpickled.
    """
    __tracebackhide__ = True
    _warn(outcome.warnings)
    why = outcome.why
    if outcome.data is not None:
        try:
            value = _unpickled(outcome.data)
        except Exception as error:  # noqa: BLE001 - whatever a user's __init__ raises
            why = f"pickle.loads() raises {_brief(error)}"
        else:
            if isinstance(outcome, Returned):
                return value
            if isinstance(value, BaseException):
                _raise(value, outcome)
            why = f"its pickle is of type {type(value).__name__}"
    unable = _unable(outcome, action, where, why)
    if isinstance(outcome, Raised):
        _raise(unable, outcome)
    raise unable


def _unable(outcome: Outcome, action: str, where: str, why: str) -> CannotCarry:
    """
    Return the error for an outcome that could not be carried, with the reason *why*.
    """
    if isinstance(outcome, Returned):
        verb = "returned"
        fix = "return what pickle.dumps() takes, or write it to a file outside the box"
    else:
        verb = "raised"
        fix = (
            "raise an exception that pickle.loads() can make again: its args must be "
            "the arguments of its class"
        )
    what = f"{action} {verb} a {outcome.type}, which cannot leave {where}"
    return CannotCarry(Explanation(what=what, why=why, fix=fix))


def _raise(error: BaseException, raised: Raised) -> NoReturn:
    __tracebackhide__ = True
    raise error from RemoteTraceback(raised.traceback)


def _warn(told: list[str]) -> None:
    for one in told:
        try:
            message, category, filename, lineno = _unpickled(one)
        except Exception:  # noqa: BLE001, S112 - as above; a warning is no result
            continue
        warnings.warn_explicit(message, category, filename, lineno)


def _unpickled(data: str) -> Any:  # noqa: ANN401 - as pickle itself
    return pickle.loads(base64.b64decode(data))  # noqa: S301 - see above


def _dumps(value: object) -> bytes:
    file = io.BytesIO()
    _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


class _Pickler(pickle.Pickler):
    """
    A pickler that also takes exception classes that cannot be imported by name.

    These are classes that a test function defines, and pytest's skip, fail and xfail,
    which claim to be in the module builtins but are not.
    """

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401 - as pickle itself
        if isinstance(value, type) and issubclass(value, BaseException):
            names = (value.__module__, value.__qualname__)
            if not _is_importable(value):
                return find_class, names
        return NotImplemented


def _is_importable(kind: type) -> bool:
    found: object = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is kind


def find_class(module: str, name: str) -> type[BaseException]:
    """
    Return the exception class *name* of *module*; if there are several, the newest.

    Raises:
        LookupError: There is none.
    """
    found: type[BaseException] | None = None
    kinds: list[type[BaseException]] = [BaseException]
    for kind in kinds:
        # Subclasses are in the order of definition. Source: docs of
        # type.__subclasses__().
        kinds += [one for one in kind.__subclasses__() if one not in kinds]
        if (kind.__module__, kind.__qualname__) == (module, name):
            found = kind
    if found is None:
        raise LookupError(f"{module}.{name} was defined in the box")
    return found


def _brief(error: Exception) -> str:
    text = safe_repr(error)
    return text if len(text) <= 300 else f"{text[:300]}…"  # noqa: PLR2004 - as a line
