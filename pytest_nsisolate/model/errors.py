"""
What a person reads when something is wrong: what, why, fix.
"""

from __future__ import annotations

import dataclasses
import errno


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """
    The three lines of every error.

    .. versionadded:: 0.1.0
    """

    what: str
    """What could not be done: the test, the call, the errno by its symbol."""
    why: str
    """A fact that was read; where there is none, what was looked at."""
    fix: str
    """Something to type."""

    def __str__(self) -> str:
        return f"{self.what}\nwhy: {self.why}\nfix: {self.fix}"


class NsIsolateError(Exception):
    """
    Base of the errors that this package raises.

    .. versionadded:: 0.1.0
    """

    __module__ = "pytest_nsisolate"


class SpecError(NsIsolateError, ValueError):
    """
    A spec asks for something that cannot be: the marker has a wrong value.

    .. versionadded:: 0.1.0
    """

    __module__ = "pytest_nsisolate"

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why, fix)
        self.why = why
        self.fix = fix


class LeakWarning(UserWarning):
    """
    A test has left something in its sandbox.

    .. versionadded:: 0.1.0
    """

    __module__ = "pytest_nsisolate"


class Refused(NsIsolateError):
    """
    A sandbox could not be had.

    .. versionadded:: 0.1.0
    """

    __module__ = "pytest_nsisolate"

    def __init__(self, call: str, number: int) -> None:
        super().__init__(call, number)
        #: The call that was refused, ``unshare(CLONE_NEWUSER)``.
        self.call = call
        #: Its errno.
        self.number = number

    @classmethod
    def from_os_error(cls, error: OSError, call: str | None = None) -> Refused:
        """
        Return the refusal that *error* is, of *call* unless the error names one.
        """
        return cls(str(error.filename or call), error.errno or 0)

    def __str__(self) -> str:
        return f"{self.call} failed: {errno_name(self.number)}"


class Known(Refused):
    """
    What is refused, together with the reason: no errno, which would have to be read.

    .. versionadded:: 0.1.0
    """

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(what, 0)
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return self.call


class Unlimited(Known):
    """
    A limit that a test asked for cannot hold.

    .. versionadded:: 0.1.0
    """


class Hidden(Known):
    """
    A fresh directory that a test asked for would hide what it needs.

    .. versionadded:: 0.1.0
    """


class BoxError(NsIsolateError):
    """
    A box, a sandbox that a test has made, cannot do what it was asked for.

    .. versionadded:: 0.1.0
    """

    __module__ = "pytest_nsisolate"

    def __init__(self, explanation: Explanation) -> None:
        super().__init__(str(explanation))
        #: The three lines.
        self.explanation = explanation


def safe_repr(value: object) -> str:
    """
    Return `repr` of *value*, or what is wrong with that.
    """
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - whatever a user's __repr__ raises
        return f"<{type(value).__name__} whose repr() raises {type(error).__name__}>"


def errno_name(number: int) -> str:
    """
    Return the symbol of the errno *number*, ``EPERM``.
    """
    return errno.errorcode.get(number, f"errno {number}")
