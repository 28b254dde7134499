"""
Errors, and the three lines that explain them: what, why, fix.
"""

from __future__ import annotations

import dataclasses
import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_nsisolate.model.user_namespace import UserNamespace


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """
    The three lines of every error.

    .. versionadded:: 1.0.0
    """

    what: str
    """What failed: the test, the call, and the symbol of the errno."""
    why: str
    """A fact that was read; if none is known, what was checked."""
    fix: str
    """What to type."""

    def __str__(self) -> str:
        return f"{self.what}\nwhy: {self.why}\nfix: {self.fix}"


class NsIsolateError(Exception):
    """
    The base class of the errors that this package raises.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"


class SpecError(NsIsolateError, ValueError):
    """
    A spec has a wrong value, as given to the marker.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why, fix)
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.why}\nfix: {self.fix}"


class LeakWarning(UserWarning):
    """
    A test left something in its sandbox.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"


class ReprWarning(UserWarning):
    """
    A value of an isolated test, of no builtin type, arrived as its `repr`.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"


class HookWarning(UserWarning):
    """
    A hook of another plugin cannot do its work for an isolated test.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"


class JobsWarning(UserWarning):
    """
    Fewer tests run side by side than were asked for.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"


class Refused(NsIsolateError):
    """
    A sandbox could not be made or entered.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"

    def __init__(self, call: str, number: int) -> None:
        super().__init__(call, number)
        #: The call that was refused, such as ``unshare(CLONE_NEWUSER)``.
        self.call = call
        #: Its errno.
        self.number = number
        #: The user namespace of the sandbox, None if it is not known.
        self.user_namespace: UserNamespace | None = None
        #: The capabilities besides CAP_SYS_ADMIN that the sandbox would have taken
        #: without that user namespace, and that are not in effect.
        self.lacking: tuple[str, ...] = ()

    @classmethod
    def from_os_error(cls, error: OSError, call: str | None = None) -> Refused:
        """
        Return *error* as a refusal of the call that it names, or else of *call*.
        """
        return cls(str(error.filename or call), error.errno or 0)

    def __str__(self) -> str:
        return f"{self.call} failed: {errno_name(self.number)}"


class Known(Refused):
    """
    A refusal that knows its reason. It has no errno that needs an explanation.

    .. versionadded:: 1.0.0
    """

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(what, 0)
        # What makes it again, as from a pickle.
        self.args = (what, why, fix)
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return self.call


class Unlimited(Known):
    """
    A limit that a test asked for cannot be enforced.

    .. versionadded:: 1.0.0
    """


class Hidden(Known):
    """
    A fresh directory that a test asked for would hide something that it needs.

    .. versionadded:: 1.0.0
    """


class BoxError(NsIsolateError):
    """
    A box, a sandbox that a test made, cannot do what it was asked to do.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"

    def __init__(self, explanation: Explanation) -> None:
        super().__init__(str(explanation))
        #: The three lines.
        self.explanation = explanation


class LeftBehind(NsIsolateError, RuntimeError):
    """
    A test waits for a thread that does not exist in its process.

    .. versionadded:: 1.0.0
    """

    __module__ = "pytest_nsisolate"

    def __init__(self, explanation: Explanation) -> None:
        super().__init__(str(explanation))
        #: The three lines.
        self.explanation = explanation


def safe_repr(value: object) -> str:
    """
    Return `repr` of *value*, or a text that says why there is none.
    """
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"<{type(value).__name__} whose repr() raises {type(error).__name__}>"


def errno_name(number: int) -> str:
    """
    Return the symbol of the errno *number*, such as ``EPERM``.
    """
    return errno.errorcode.get(number, f"errno {number}")
