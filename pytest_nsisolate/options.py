"""
Command line and ini options.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias, cast, get_args

import pytest

from pytest_nsisolate.errors import Explanation

#: Where a session keeps its `Options`.
key = pytest.StashKey["Options"]()

#: What becomes of a test whose sandbox cannot be had.
Unavailable: TypeAlias = Literal["fail", "skip"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    What the command line and, behind it, the ini file say.
    """

    every: bool
    """Isolate every test."""
    off: bool
    """Isolate none."""
    unavailable: Unavailable
    """What becomes of a test whose sandbox cannot be had."""

    @classmethod
    def of(cls, config: pytest.Config) -> Options:
        """
        Return the options in *config*.

        Raises:
            pytest.UsageError: The ini file has a value that there is not.
        """
        given: bool | None = config.getoption("nsisolate")
        policy = config.getoption("nsisolate_unavailable")
        if policy is None:
            policy = config.getini("nsisolate_unavailable") or "fail"
        if policy not in get_args(Unavailable):
            known = " and ".join(get_args(Unavailable))
            raise pytest.UsageError(
                Explanation(
                    what=f"cannot use nsisolate_unavailable = {policy}",
                    why=f"the ini option nsisolate_unavailable knows {known}",
                    fix="write nsisolate_unavailable = fail in the ini file",
                )
            )
        return cls(
            every=bool(config.getini("nsisolate")) if given is None else given,
            off=given is False,
            unavailable=cast("Unavailable", policy),
        )


def add_options(parser: pytest.Parser) -> None:
    """
    Declare the options to pytest.
    """
    # Help texts: capital letter first; a single phrase has no full stop.
    group = parser.getgroup("nsisolate", "isolation in Linux namespaces")
    group.addoption(
        "--nsisolate",
        action="store_true",
        default=None,
        help="Isolate every test, marked or not",
    )
    group.addoption(
        "--no-nsisolate",
        action="store_false",
        dest="nsisolate",
        help="Isolate no test: all run on the host",
    )
    group.addoption(
        "--nsisolate-unavailable",
        choices=get_args(Unavailable),
        default=None,
        help="What becomes of a test whose sandbox cannot be had (default: fail)",
    )
    for name, form, what in (
        ("--nsisolate-doctor", "table", "table"),
        ("--nsisolate-doctor-json", "json", "JSON"),
    ):
        group.addoption(
            name,
            action="store_const",
            const=form,
            dest="nsisolate_doctor",
            help=f"Say whether tests can be isolated here, as {what}, and exit",
        )
    parser.addini(
        "nsisolate", "Isolate every test, marked or not", type="bool", default=False
    )
    parser.addini(
        "nsisolate_unavailable",
        "What becomes of a test whose sandbox cannot be had: fail or skip",
        default="fail",
    )
