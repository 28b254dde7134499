"""
The spec: what one test asked for. It knows nothing of pytest or of processes.
"""

from __future__ import annotations

import dataclasses
import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from pytest_nsisolate.model.checks import (
    Choice,
    Clocks,
    Directories,
    Duration,
    Environment,
    Label,
    Offsets,
    Switch,
    UtsName,
    Variables,
)
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

#: What to do about a test that leaves something in its sandbox.
LeakPolicy: TypeAlias = Literal["ignore", "warn", "fail"]

#: What to do about a test that changes files.
FilePolicy: TypeAlias = Literal["ignore", "report", "warn", "fail"]

#: Which tests share a sandbox, named like the scopes of pytest's fixtures.
Scope: TypeAlias = Literal["function", "class", "module", "package", "session"]


def _is_given(value: object) -> bool:
    return value is not None


def _itself(value: object) -> object:
    return value


def _is_false(value: object) -> bool:
    return value is False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """
    The sandbox that one test asked for.

    Raises:
        SpecError: A value has the wrong type or is not allowed.

    .. versionadded:: 1.0.0
    """

    hostname: str | None = keyword(
        doc="hostname inside; `None`: the host's",
        check=UtsName(),
        example="t1",
        box="hostname inside, at most 64 bytes; default: the caller's",
        requested=True,
        calls=_is_given,
    )
    domainname: str | None = keyword(
        doc="NIS domain name inside; `None`: the host's",
        check=UtsName(),
        example="t1",
        box="NIS domain name inside, at most 64 bytes; default: the caller's",
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
        doc="`False`: no fresh `/proc`, for systems that refuse to mount one; "
        "`True` and `None`: a fresh `/proc`, without which the test does not run",
        check=Switch(),
        example=False,
        box="`False`: no fresh `/proc`",
        requested=True,
        calls=_is_false,
    )
    timeout: float | None = keyword(
        doc="how long the test may take, including its own fixtures; `0`: no limit; "
        "`None`: what the [options](options.md) say",
        check=Duration(),
        example=5,
        box="how many seconds each call of `run` may take",
        option=Option(
            help="End an isolated test that takes longer than this, including its "
            "own fixtures; 0: no limit (default: 0).",
            default=0.0,
            example="60",
        ),
    )
    leaks: LeakPolicy | None = keyword(
        doc="what to do if the test leaves processes, IPC objects, files in "
        "`/dev/shm` or mounts; `None`: what the options say",
        check=Choice(get_args(LeakPolicy)),
        example="fail",
        box='`"ignore"`, `"warn"` or `"fail"`; default: [the options](options.md)',
        option=Option(
            help="What to do if a test leaves something in its sandbox (default: "
            "warn).",
            default="warn",
        ),
    )
    memory: str | int | None = keyword(
        doc="private writable memory of each process, including what pytest uses; "
        "`None`: no limit",
        check=Size(MEMORY, "`str` with `K`, `M` or `G`, or `int` in bytes"),
        example="512M",
        hint=" (or K, G)",
        box="private writable memory of each process; in `run` this includes what "
        "pytest uses",
    )
    cpu: float | None = keyword(
        doc="processor time of each process, rounded up to whole seconds; `None`: no "
        "limit",
        check=Amount(CPU, (int, float), "`int` or `float`, seconds"),
        example=2,
        hint=", in seconds",
        box="processor time of each process, rounded up to whole seconds",
    )
    nofile: int | None = keyword(
        doc="one more than the highest descriptor number inside; `None`: no limit",
        check=Amount(NOFILE, (int,), "`int`"),
        example=64,
        box="one more than the highest descriptor number inside",
    )
    nproc: int | None = keyword(
        doc="processes and threads of the test, including itself; `None`: no limit",
        check=Amount(NPROC, (int,), "`int`"),
        example=20,
        box="processes and threads that each call of `run` or `popen` may have, "
        "including its own process",
    )
    tmpfs: Sequence[str | os.PathLike[str]] | None = keyword(
        doc="directories that are fresh and empty inside; `None` and `[]`: none",
        check=Directories(
            "list or tuple of absolute paths, `str` or `Path`", covers=True
        ),
        example=["/run"],
        box="directories that are fresh and empty inside",
        requested=True,
    )
    overlay: Sequence[str | os.PathLike[str]] | bool | None = keyword(
        doc="directories that are copied on write: what the test changes there goes "
        "with the sandbox; paths without a leading `/` begin at pytest's rootdir; "
        "`True`: all that can be; `[]` and `False`: none; `None`: what the options say",
        check=Directories(
            "list or tuple of paths, `str` or `Path`; or `bool`",
            relative=True,
            switch=True,
        ),
        example=["/etc"],
        box="directories that are copied on write: what is changed there goes with the "
        "box",
        requested=True,
        option=Option(
            help="Copy these directories on write in each sandbox; separated by "
            "commas, true: all (default: none).",
            default=None,
            example="/etc",
        ),
    )
    overlay_size: str | int | None = keyword(
        doc="how much may be written to all directories of `overlay` together; `None`: "
        "half of the machine's memory",
        check=Size(None, "`str` with `K`, `M` or `G`, or `int` in bytes"),
        example="64M",
        hint=" (or K, G)",
        box="how much may be written to all directories of `overlay` together",
        requested=True,
    )
    readonly: Sequence[str | os.PathLike[str]] | None = keyword(
        doc="directories to which nothing inside can write: it fails with EROFS; "
        "paths without a leading `/` begin at pytest's rootdir; `[]`: none; `None`: "
        "what the options say",
        check=Directories("list or tuple of paths, `str` or `Path`", relative=True),
        example=["/etc"],
        box="directories to which nothing in the box can write",
        requested=True,
        option=Option(
            help="Make these directories read-only in each sandbox; separated by "
            "commas (default: none).",
            default=None,
            example="/etc",
        ),
    )
    files: FilePolicy | None = keyword(
        doc="what to do if the test creates, changes or removes files; to know that, "
        'all but `"ignore"` need an `overlay`, and give a test without one '
        "`overlay=True`; `None`: what the options say",
        check=Choice(get_args(FilePolicy)),
        example="fail",
        box='`"ignore"`, `"report"`, `"warn"` or `"fail"`, if files in its `overlay` '
        "are changed; default: [the options](options.md). If given, all but "
        '`"ignore"` give a box without an overlay `overlay=True`',
        requested=True,
        option=Option(
            help="What to do if a test changes files; all but ignore copy them on "
            "write (default: ignore).",
            default="ignore",
        ),
    )
    env: Mapping[str, str | None] | Variables | None = keyword(
        doc="environment variables to set inside, or to unset if the value is `None`; "
        "`None` and `{}`: as outside",
        check=Environment(),
        example={"NAME": "value"},
        box="environment variables to set or unset inside; `env=` of a Popen replaces "
        "them all",
    )
    clear_env: bool | None = keyword(
        doc="`True`: only the environment variables in `env`, `PYTEST_CURRENT_TEST` "
        "and `PYTEST_VERSION`; `False` and `None`: also those from outside",
        check=Switch(),
        example=True,
        box="`True`: only the variables in `env`",
    )
    net: bool | None = keyword(
        doc="`True`: a network of its own, with only a loopback interface, which is "
        "up; `False` and `None`: the host's",
        check=Switch(),
        example=True,
        box="`True`: a network of its own, with a loopback interface",
        calls=bool,
    )
    cgroup: bool | None = keyword(
        doc="`True`: a cgroup namespace of its own, in which its cgroup shows as `/`; "
        "`False` and `None`: the host's",
        check=Switch(),
        example=True,
        box="`True`: a cgroup namespace of its own",
        calls=bool,
    )
    time: Mapping[str, float] | Clocks | bool | None = keyword(
        doc="a time namespace of its own, with `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME` "
        "shifted by so many seconds; `True`: not shifted; `False`, `{}` and `None`: "
        "the host's clocks",
        check=Offsets(),
        example={"monotonic": 86400},
        box="a time namespace of its own, with its clocks shifted from the caller's",
        requested=True,
        # The kernel takes some offsets and refuses others.
        calls=_itself,
    )
    scope: Scope | None = keyword(
        doc='which tests share a sandbox; `"function"`: each has its own; `None`: '
        "what the options say",
        check=Choice(get_args(Scope)),
        example="module",
        option=Option(
            help="Let the isolated tests of a class, module, package or session share "
            "a sandbox (default: function, each has its own).",
            default="function",
        ),
    )
    fork: bool | None = keyword(
        doc="`True`: each test that shares a sandbox has a process of its own; `False` "
        "and `None`: they share one",
        check=Switch(),
        example=True,
    )
    alone: bool | None = keyword(
        doc="`True`: no other test runs [beside](../how-to/run-side-by-side.md) this "
        "one; `False` and `None`: others may",
        check=Switch(),
        example=True,
    )
    group: str | None = keyword(
        doc="what this test shares with others, such as a file or a port of the host: "
        "no two tests of a group run beside each other; `None`: nothing",
        check=Label(),
        example="db",
    )

    def __post_init__(self) -> None:
        for one in KEYWORDS:
            value = getattr(self, one.name)
            if value is not None:
                # What accept() returns can be hashed: specs are keys.
                object.__setattr__(self, one.name, one.accept(value))

    def has_directories(self) -> bool:
        """
        Say whether there are directories that are not the host's.
        """
        return any(getattr(self, name) for name in _DIRECTORIES)

    def watches_files(self) -> bool:
        """
        Say whether it matters which files the test changes.
        """
        return self.files not in {None, "ignore"}

    def is_audited(self) -> bool:
        """
        Say whether it matters what the test leaves, or which files it changes.
        """
        return self.leaks != "ignore" or self.watches_files()

    def without_directories(self) -> Spec:
        """
        Return this spec with the directories of the host.
        """
        if not self.has_directories():
            return self
        return dataclasses.replace(self, **dict.fromkeys(_DIRECTORIES))

    def below(self, rootdir: str) -> Spec:
        """
        Return this spec with absolute paths only, of which some begin at *rootdir*.
        """
        changes: dict[str, Any] = {}
        for name in _RELATIVE:
            paths = getattr(self, name)
            if isinstance(paths, tuple):
                full = (posixpath.join(rootdir, one) for one in paths)
                changes[name] = tuple(map(posixpath.normpath, full)) or None
        is_same = all(getattr(self, name) == paths for name, paths in changes.items())
        return self if is_same else dataclasses.replace(self, **changes)

    def limits(self, of: str = "the marker") -> tuple[Limit, ...]:
        """
        Return the resource limits, given by *of*.
        """
        given = [(one, getattr(self, one.name)) for one in KEYWORDS]
        return tuple(
            Limit(
                one.check.limit, one.check.number(one.name, value), one.name, value, of
            )
            for one, value in given
            if isinstance(one.check, Amount) and one.check.limit and value is not None
        )

    def is_limited(self) -> bool:
        """
        Say whether there are resource limits.
        """
        return any(getattr(self, name) is not None for name in _LIMITED)

    def calls(self) -> tuple[object, ...]:
        """
        Return the values that decide which system calls the sandbox takes.
        """
        return tuple(
            one.calls(getattr(self, one.name)) for one in KEYWORDS if one.calls
        )


#: All keywords, in order.
KEYWORDS = keywords_of(Spec)

#: The names of those that are resource limits.
_LIMITED = tuple(
    one.name for one in KEYWORDS if isinstance(one.check, Amount) and one.check.limit
)

#: The names of those whose values are directories, and of those that may be relative.
_DIRECTORIES = tuple(one.name for one in KEYWORDS if isinstance(one.check, Directories))
_RELATIVE = tuple(
    one.name
    for one in KEYWORDS
    if isinstance(one.check, Directories) and one.check.relative
)
