"""
The pickled result of a function that ran in a fork: value or exception, and warnings.

Nothing else in the plugin is pickled, because a pickle can run code where it is read.
Here a fork of the reading process makes the pickle, of what the reader's own function
returned; `multiprocessing` does the same. Only code that runs in that function could
forge it, and the reader could have run that function itself.
"""

from __future__ import annotations

import base64
import contextlib
import inspect
import io
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from pytest_nsisolate.guest.messages import Outcome, Raised, Returned
from pytest_nsisolate.guest.rlimits import Confinement
from pytest_nsisolate.model import frames
from pytest_nsisolate.model.errors import BoxError, Explanation, safe_repr

#: Size limit of the pickle of a value or exception, in bytes.
LARGEST = 64 << 20


class CannotCarry(BoxError):
    """
    A value or exception of a function cannot come back from its box.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"


class RemoteTraceback(Exception):
    """
    The traceback of an exception in the box where it was raised.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def perform(function: Callable[[], object], confinement: Confinement) -> Outcome:
    """
    Call *function* in *confinement*, and return its outcome without its output.
    """
    __tracebackhide__ = True
    with warnings.catch_warnings(record=True) as log:
        try:
            with confinement.holding():
                value = function()
        except BaseException as error:  # noqa: BLE001 - whatever is raised is carried
            outcome: Outcome = _raised(error, confinement.reached_by(error))
        else:
            outcome = _returned(value)
    told = [_pickled_warning(one) for one in log]
    carried = [data for data in told if data is not None]
    return outcome._replace(warnings=carried)


def _returned(value: object) -> Returned:
    data, why, fix = None, "", "return what pickle.dumps() takes"
    try:
        data = _pickled(value)
    except _TooLarge as error:
        why, fix = str(error), "return less"
    except Exception as error:  # noqa: BLE001 - whatever a user's __reduce__ raises
        why = _dumps_raises(error)
    fix = f"{fix}, or write it to a file outside the box"
    if inspect.iscoroutine(value):
        fix = "box.run(lambda: asyncio.run(f()))"
    elif inspect.isgenerator(value):
        fix = "box.run(lambda: list(f()))"
    return Returned(
        type=type(value).__name__, data=data, why=why, fix=fix, warnings=[], output=[]
    )


def _raised(error: BaseException, reached: list[str]) -> Raised:
    data, why, fix = None, "", ""
    try:
        data = _pickled(error)
    except _TooLarge as large:
        why = str(large)
        fix = (
            "raise an exception that holds less, or write it to a file outside the box"
        )
    except Exception as unable:  # noqa: BLE001 - as above
        why, fix = _dumps_raises(unable), "raise an exception that pickle.dumps() takes"
        part = _culprit(error)
        if part is not None:
            why = f"{why} because of its {part}"
            fix = f"raise it without its {part}, or with repr() of that instead"
    frames.cut_hidden(error)
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    lines += [f"{one}\n" for one in reached]
    return Raised(
        type=type(error).__name__,
        data=data,
        why=why,
        fix=fix,
        warnings=[],
        output=[],
        traceback="".join(lines),
    )


def _culprit(error: BaseException) -> str | None:
    """
    Return the part of *error* that cannot be pickled; None if it is no single one.
    """
    parts = {f"args[{index}]": one for index, one in enumerate(error.args)}
    parts |= {f"attribute {name}": one for name, one in vars(error).items()}
    return next((name for name, one in parts.items() if not _is_picklable(one)), None)


def _is_picklable(value: object) -> bool:
    try:
        _dumps(value)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


class _TooLarge(Exception):
    """
    A pickle is larger than `LARGEST`.
    """


def _pickled(value: object) -> str:
    """
    Return the pickle of *value* in base 64.

    Raises:
        _TooLarge: It is too large.
        Exception: The value cannot be pickled.
    """
    data = _dumps(value)
    if len(data) > LARGEST:
        raise _TooLarge(f"its pickle has {len(data)} bytes and the limit is {LARGEST}")
    return base64.b64encode(data).decode()


def _dumps_raises(error: Exception) -> str:
    return f"pickle.dumps() raises {_brief(error)}"


def _pickled_warning(one: warnings.WarningMessage) -> str | None:
    text = (str(one.message), UserWarning)
    for message, category in ((one.message, one.category), text):
        with contextlib.suppress(Exception):
            return _pickled((message, category, one.filename, one.lineno))
    return None


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
    verb = "returned" if isinstance(outcome, Returned) else "raised"
    why, fix = outcome.why, outcome.fix
    if outcome.data is not None:
        try:
            value = _unpickled(outcome.data)
        except _Unknown as unknown:
            why = str(unknown)
            fix = "define this class outside the box, before the call"
        except Exception as error:  # noqa: BLE001 - whatever a user's __init__ raises
            why = f"pickle.loads() raises {_brief(error)}"
            fix = _AGAIN[verb]
        else:
            if isinstance(outcome, Returned):
                return value
            if isinstance(value, BaseException):
                _raise(value, outcome)
            why = f"its pickle is of type {type(value).__name__}"
            fix = "make its __reduce__() return what makes the exception again"
    what = f"{action} {verb} a {outcome.type}, which cannot leave {where}"
    unable = CannotCarry(Explanation(what=what, why=why, fix=fix))
    if isinstance(outcome, Raised):
        _raise(unable, outcome)
    raise unable


#: What to do about a result that cannot be made again from its pickle.
_AGAIN = {
    "returned": "return what pickle.loads() can make again, or write it to a file "
    "outside the box",
    "raised": "raise an exception that pickle.loads() can make again: its args must be "
    "the arguments of its class",
}


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


class _Unknown(LookupError):
    """
    A pickle has a class that does not exist here.
    """


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
        raise _Unknown(f"the class {module}.{name} was defined in the box")
    return found


def _brief(error: Exception) -> str:
    text = safe_repr(error)
    return text if len(text) <= 300 else f"{text[:300]}…"  # noqa: PLR2004 - as a line
