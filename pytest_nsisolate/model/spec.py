"""
What one test asked for. Knows no pytest and no process.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from pytest_nsisolate.model.checks import Choice, Duration, Switch, UtsName
from pytest_nsisolate.model.keywords import Option, keyword, keywords_of
from pytest_nsisolate.model.limits import (
    CPU,
    MEMORY,
    NOFILE,
    NPROC,
    Amount,
    Limit,
    Size,
)
from pytest_nsisolate.model.tmpfs_env import Directories, Environment, Variables

#: What becomes of a test that leaves something in its sandbox.
LeakPolicy: TypeAlias = Literal["ignore", "warn", "fail"]

#: Whose tests share a sandbox; a fixture's scopes have these names, too.
Scope: TypeAlias = Literal["function", "class", "module", "package", "session"]


def _is_given(value: object) -> bool:
    return value is not None


def _is_false(value: object) -> bool:
    return value is False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """
    The sandbox that one test asked for.

    Raises:
        SpecError: A value is of the wrong type or cannot be.

    .. versionadded:: 0.1.0
    """

    hostname: str | None = keyword(
        doc="hostname inside; `None`: the host's",
        check=UtsName(),
        example="t1",
        box="hostname inside, at most 64 bytes; else that of the caller",
        requested=True,
        calls=_is_given,
    )
    domainname: str | None = keyword(
        doc="NIS domain name inside; `None`: the host's",
        check=UtsName(),
        example="t1",
        box="NIS domain name inside, at most 64 bytes; else that of the caller",
        requested=True,
        calls=_is_given,
    )
    user: Literal["root"] | None = keyword(
        doc='`"root"`: uid 0 inside, with its capabilities; `None`: who pytest runs as',
        check=Choice(("root",)),
        example="root",
        box='`"root"`: uid 0 inside, with its capabilities',
        calls=_is_given,
    )
    proc: bool | None = keyword(
        doc="`False`: a sandbox without a fresh `/proc`, where none can be mounted; "
        "`True` and `None`: a fresh one, or the test is refused",
        check=Switch(),
        example=False,
        box="`False`: no fresh `/proc`",
        requested=True,
        calls=_is_false,
    )
    timeout: float | None = keyword(
        doc="how long the test may take, its own fixtures included; `0`: as long as it "
        "takes; `None`: what the [options](options.md) say",
        check=Duration(),
        example=5,
        box="seconds that each call by `run` may take",
        option=Option(
            help="How long an isolated test may take (default: as long as it takes)",
            default=0.0,
            example="60",
        ),
    )
    leaks: LeakPolicy | None = keyword(
        doc="what becomes of a test that leaves processes, IPC objects, files in "
        "`/dev/shm` or mounts; `None`: what the options say",
        check=Choice(get_args(LeakPolicy)),
        example="fail",
        box='`"ignore"`, `"warn"` or `"fail"`; else what [the options](options.md) say',
        option=Option(
            help="What becomes of a test that leaves something behind (default: warn)",
            default="warn",
        ),
    )
    memory: str | int | None = keyword(
        doc="private writable memory of each process, pytest's own included; "
        "`None`: no limit",
        check=Size(MEMORY, "`str` with `K`, `M` or `G`, or `int` in bytes"),
        example="512M",
        hint=" (or K, G)",
    )
    cpu: float | None = keyword(
        doc="processor time of each process, rounded up to whole seconds; `None`: no "
        "limit",
        check=Amount(CPU, (int, float), "`int` or `float`, seconds"),
        example=2,
        hint=", in seconds",
    )
    nofile: int | None = keyword(
        doc="above every number that a descriptor may have inside; `None`: no limit",
        check=Amount(NOFILE, (int,), "`int`"),
        example=64,
    )
    nproc: int | None = keyword(
        doc="processes and threads of the test, itself included; `None`: no limit",
        check=Amount(NPROC, (int,), "`int`"),
        example=20,
    )
    tmpfs: Sequence[str | os.PathLike[str]] | None = keyword(
        doc="directories that are fresh and empty inside; `None` and `[]`: none",
        check=Directories(),
        example=["/run"],
        box="directories that are fresh and empty inside",
        requested=True,
    )
    env: Mapping[str, str | None] | Variables | None = keyword(
        doc="environment variables inside, `None` for one that is to be unset; `None` "
        "and `{}`: as outside",
        check=Environment(),
        example={"NAME": "value"},
        box="environment variables inside; `env=` of a Popen is all that its process "
        "has",
    )
    clear_env: bool | None = keyword(
        doc="`True`: no environment variables but those in `env`, "
        "`PYTEST_CURRENT_TEST` and `PYTEST_VERSION`; `False` and `None`: as outside",
        check=Switch(),
        example=True,
        box="`True`: no others than those",
    )
    net: bool | None = keyword(
        doc="`True`: a network of its own, with nothing but a loopback interface, "
        "which is up; `False` and `None`: the host's",
        check=Switch(),
        example=True,
        box="`True`: a network of its own, with a loopback interface",
        calls=bool,
    )
    scope: Scope | None = keyword(
        doc='whose tests share the sandbox; `"function"`: each has its own; `None`: '
        "what the options say",
        check=Choice(get_args(Scope)),
        example="module",
        option=Option(
            help="Whose tests share a sandbox (default: function, each has its own)",
            default="function",
        ),
    )
    fork: bool | None = keyword(
        doc="`True`: each test that shares a sandbox has a process of its own; `False` "
        "and `None`: they share one",
        check=Switch(),
        example=True,
    )

    def __post_init__(self) -> None:
        for one in KEYWORDS:
            value = getattr(self, one.name)
            if value is not None:
                # Values that are equal make specs that are equal, and can be a key.
                object.__setattr__(self, one.name, one.accept(value))

    def limits(self) -> tuple[Limit, ...]:
        """
        Return what the processes of the test may use.
        """
        given = [(one, getattr(self, one.name)) for one in KEYWORDS]
        return tuple(
            Limit(one.check.limit, one.check.number(one.name, value), one.name, value)
            for one, value in given
            if isinstance(one.check, Amount) and value is not None
        )

    def calls(self) -> tuple[object, ...]:
        """
        Return what decides which system calls its sandbox takes.
        """
        return tuple(
            one.calls(getattr(self, one.name)) for one in KEYWORDS if one.calls
        )


#: All keywords, in order.
KEYWORDS = keywords_of(Spec)
