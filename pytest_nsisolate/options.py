"""
Command line and ini options.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NoReturn, TypeAlias, cast, get_args

import pytest

from pytest_nsisolate.errors import Explanation
from pytest_nsisolate.spec import Leaks, Scope, is_duration

#: Where a session keeps its `Options`.
key = pytest.StashKey["Options"]()

#: What becomes of a test whose sandbox cannot be had.
Unavailable: TypeAlias = Literal["fail", "skip"]

#: What a test that asks for isolation is run as.
Flavour: TypeAlias = Literal["host", "isolated"]


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
    timeout: float
    """Seconds that an isolated test may take; 0: as long as it takes."""
    leaks: Leaks
    """What becomes of a test that leaves something in its sandbox."""
    grace: float
    """Seconds that processes have to end when their test is over."""
    scope: Scope
    """Whose tests share a sandbox."""
    leaks_asked: bool
    """Whether the command line says `leaks`."""
    flavours: tuple[Flavour, ...]
    """What each isolated test is run as; none: once, and isolated."""
    usage: int | None
    """How many of the heaviest tests are shown; 0: all; None: no one asks."""

    @classmethod
    def of(cls, config: pytest.Config) -> Options:
        """
        Return the options in *config*.

        Raises:
            pytest.UsageError: There is no such value.
        """
        given: bool | None = config.getoption("nsisolate")
        return cls(
            every=bool(config.getini("nsisolate")) if given is None else given,
            off=given is False,
            unavailable=cast(
                "Unavailable",
                _choice(config, "unavailable", get_args(Unavailable), "fail"),
            ),
            timeout=_seconds(config, "timeout", 0.0, "60"),
            leaks=cast("Leaks", _choice(config, "leaks", get_args(Leaks), "warn")),
            grace=_seconds(config, "leak_grace", DEFAULT_GRACE, "0.5"),
            scope=cast("Scope", _choice(config, "scope", get_args(Scope), "function")),
            leaks_asked=config.getoption("nsisolate_leaks") is not None,
            flavours=_flavours(config, off=given is False),
            usage=_number(config, "usage", "10"),
        )


#: What `Options.grace` is where no one says it, in seconds.
DEFAULT_GRACE = 0.2


def _choice(
    config: pytest.Config, name: str, choices: tuple[str, ...], default: str
) -> str:
    value, source = _value(config, name)
    if value is None:
        return default
    if value not in choices:
        known = f"{', '.join(choices[:-1])} and {choices[-1]}"
        _refuse(source, value, f"knows {known}", default)
    return value


def _seconds(config: pytest.Config, name: str, default: float, example: str) -> float:
    value, source = _value(config, name)
    if value is None:
        return default
    try:
        seconds = float(value)
    except ValueError:
        _refuse(source, value, "takes a number of seconds", example)
    if not is_duration(seconds):
        _refuse(source, value, "takes a number of seconds from 0 up", example)
    return seconds


def _flavours(config: pytest.Config, *, off: bool) -> tuple[Flavour, ...]:
    value, source = _value(config, "flavours")
    if value is None:
        return ()
    names = [name.strip() for name in value.split(",")]
    if len({*names}) < len(names) or not {*names} <= {*get_args(Flavour)}:
        takes = "takes host, isolated, or both with a comma between"
        _refuse(source, value, takes, "host,isolated")
    if not off:
        return cast("tuple[Flavour, ...]", tuple(names))
    if source.startswith("-"):
        raise pytest.UsageError(
            Explanation(
                what=f"cannot use {source}{value}",
                why="--no-nsisolate is given too, by which no test is isolated",
                fix="leave one of the two out",
            )
        )
    return ()


def _number(config: pytest.Config, name: str, example: str) -> int | None:
    value, source = _value(config, name)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal()):
        _refuse(source, value, "takes a number of tests from 0 up", example)
    return int(value)


def _value(config: pytest.Config, name: str) -> tuple[str | None, str]:
    """
    Return what is said of the option *name*, if anything is, and where.
    """
    given = config.getoption(f"nsisolate_{name}")
    if given is not None:
        return given, f"--nsisolate-{name.replace('_', '-')}="
    return config.getini(f"nsisolate_{name}") or None, f"nsisolate_{name} = "


def _refuse(source: str, value: str, takes: str, example: str) -> NoReturn:
    where = "on the command line" if source.startswith("-") else "in the ini file"
    kind = "" if source.startswith("-") else "ini "
    raise pytest.UsageError(
        Explanation(
            what=f"cannot use {source}{value}",
            why=f"the {kind}option {source.rstrip('= ')} {takes}",
            fix=f"write {source}{example} {where}",
        )
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
    parser.addini(
        "nsisolate", "Isolate every test, marked or not", type="bool", default=False
    )
    group.addoption(
        "--no-nsisolate",
        action="store_false",
        dest="nsisolate",
        help="Isolate no test: all run on the host",
    )
    for name, (metavar, text) in _WITH_VALUE.items():
        option = f"--nsisolate-{name.replace('_', '-')}"
        group.addoption(option, metavar=metavar, default=None, help=text)
        parser.addini(f"nsisolate_{name}", text, default="")
    for name, (form, what) in _DOCTORS.items():
        group.addoption(
            name,
            action="store_const",
            const=form,
            dest="nsisolate_doctor",
            help=f"Say whether tests can be isolated here, as {what}, and exit",
        )


_DOCTORS = {
    "--nsisolate-doctor": ("table", "table"),
    "--nsisolate-doctor-json": ("json", "JSON"),
}


_WITH_VALUE = {
    "unavailable": (
        "{fail,skip}",
        "What becomes of a test whose sandbox cannot be had (default: fail)",
    ),
    "timeout": (
        "SECONDS",
        "How long an isolated test may take (default: as long as it takes)",
    ),
    "leaks": (
        "{ignore,warn,fail}",
        "What becomes of a test that leaves something behind (default: warn)",
    ),
    "leak_grace": (
        "SECONDS",
        f"How long its processes may take to end after it (default: {DEFAULT_GRACE})",
    ),
    "flavours": (
        "FLAVOURS",
        "Run each isolated test as host, isolated, or host,isolated: as both",
    ),
    "usage": (
        "N",
        "Show the N isolated tests that used most processor time and memory (0: all)",
    ),
    "scope": (
        "{function,class,module,package,session}",
        "Whose tests share a sandbox (default: function, each has its own)",
    ),
}
