"""
The options of the plugin, on the command line and in the ini file.
"""

from __future__ import annotations

import argparse
import errno
import os
import shlex
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias, cast, get_args

import pytest

from pytest_nsisolate.model.checks import Choice, Directories, Duration
from pytest_nsisolate.model.errors import Explanation
from pytest_nsisolate.model.keywords import Check, Unfit
from pytest_nsisolate.model.spec import KEYWORDS, Spec

#: Where a session keeps its `Options`.
key = pytest.StashKey["Options"]()

#: What happens to a test if its sandbox cannot be made.
Unavailable: TypeAlias = Literal["fail", "skip"]

_UNAVAILABLE = Choice(get_args(Unavailable))

#: How a test that asks for isolation runs.
Flavour: TypeAlias = Literal["host", "isolated", "alone", "beside"]


class Options(NamedTuple):
    """
    The values of all options; the command line overrides the ini file.
    """

    every: bool
    """Isolate every test."""
    off: bool
    """Isolate none."""
    unavailable: Unavailable
    """What happens to a test if its sandbox cannot be made."""
    defaults: Spec
    """The values of the keywords that a test does not give."""
    shares: bool
    """Whether one gives a scope that tests share, even if another overrides it."""
    copies: bool
    """Whether one gives an overlay, even if another overrides it."""
    grace: float
    """Seconds that processes have to end after their test is over."""
    leaks_asked: bool
    """Whether the command line gives ``--nsisolate-leaks``."""
    flavours: tuple[Flavour, ...]
    """The flavours of each isolated test; empty: it runs once, isolated."""
    usage: int | None
    """How many of the heaviest tests to show; 0: all; None: no table."""
    jobs: int | None
    """How many isolated tests may run at the same time; None: one per processor."""
    independent_hooks: frozenset[str]
    """Modules or packages whose `pytest_runtest_makereport` keeps nothing of a test
    that another looks at."""
    timeline: str | None
    """The file for the page that shows where the time went; None: no page."""

    @classmethod
    def of(cls, config: pytest.Config) -> Options:
        """
        Return the options in *config*.

        Raises:
            pytest.UsageError: An option has a value that it does not take.
        """
        given: bool | None = config.getoption("nsisolate")
        return cls(
            every=bool(config.getini("nsisolate")) if given is None else given,
            off=given is False,
            unavailable=_read(config, "unavailable", _UNAVAILABLE, "fail"),
            defaults=Spec(
                **{
                    one.name: _read(
                        config,
                        one.name,
                        one.check,
                        one.option.default,
                        one.option.example,
                    )
                    for one in KEYWORDS
                    if one.option is not None
                }
            ),
            shares=_says(config, "scope", "function"),
            copies=_says(config, "overlay", "false")
            or _says(config, "files", "ignore"),
            grace=_read(config, "leak_grace", Duration(), DEFAULT_GRACE, "0.5"),
            leaks_asked=config.getoption("nsisolate_leaks") is not None,
            flavours=_flavours(config, off=given is False),
            usage=_number(config, "usage", "10"),
            jobs=_jobs(config),
            independent_hooks=_names(config, "independent_hooks"),
            timeline=_timeline(config),
        )


#: The default of `Options.grace`, in seconds.
DEFAULT_GRACE = 0.2


def _read(
    config: pytest.Config,
    name: str,
    check: Check,
    default: object,
    example: str | None = None,
) -> Any:  # noqa: ANN401 - depends on the check
    """
    Return the value of the option *name*.

    Args:
        config: Has the option.
        name: Its name, without the prefix.
        check: Which values it takes.
        default: Its value if it is not given.
        example: What to write instead of a bad value; None: the default.
    """
    value, source = _value(config, name)
    if value is None:
        return default
    try:
        return check.read(value)
    except Unfit as unfit:
        _refuse(source, value, unfit.why, example or str(default))


def _flavours(config: pytest.Config, *, off: bool) -> tuple[Flavour, ...]:
    value, source = _value(config, "flavours")
    if value is None:
        return ()
    names = [name.strip() for name in value.split(",")]
    if len({*names}) < len(names) or not {*names} <= {*get_args(Flavour)}:
        *some, last = get_args(Flavour)
        takes = f"takes {', '.join(some)} and {last}, separated by commas"
        _refuse(source, value, takes, "host,isolated")
    if not off:
        return cast("tuple[Flavour, ...]", tuple(names))
    if source.startswith("-"):
        raise pytest.UsageError(
            Explanation(
                what=f"cannot use {source}{value}",
                why="--no-nsisolate is given too, and isolates no test",
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


def _names(config: pytest.Config, name: str) -> frozenset[str]:
    value, _ = _value(config, name)
    return frozenset((value or "").replace(",", " ").split())


def _jobs(config: pytest.Config) -> int | None:
    """
    Return how many isolated tests may run at the same time, None for one per processor.
    """
    value, source = _value(config, "jobs")
    if not source.startswith("-") and os.environ.get(_JOBS):
        value, source = os.environ[_JOBS], f"{_JOBS}="
    if value is None:
        return 1
    if value == "auto":
        return None
    if not (value.isascii() and value.isdecimal() and int(value)):
        _refuse(source, value, "takes a number from 1 up, or auto", "auto")
    return int(value)


def _timeline(config: pytest.Config) -> str | None:
    """
    Return the path of the file for the time line, which can be written as it seems.
    """
    value: str | None = config.getoption("nsisolate_timeline")
    if value is None or hasattr(config, "workerinput"):
        # With pytest-xdist, the process that has the terminal writes it.
        return value
    given = os.path.expanduser(os.path.expandvars(value))
    # Through symbolic links: what is replaced is what they lead to.
    path = os.path.realpath(os.path.join(config.invocation_params.dir, given))
    folder = os.path.dirname(path)
    example = f"{TIMELINE}timeline.html"
    if os.path.isdir(path):
        why, example = f"{path} is a directory", f"{TIMELINE}{path}/timeline.html"
    elif not os.path.exists(folder):
        why, example = f"there is no directory {folder}", ""
    elif not os.path.isdir(folder):
        why = f"{folder} is not a directory"
    elif os.path.exists(path) and not _is_replaceable(path):
        why = f"{path} is there, and is not a time line that pytest wrote"
    elif (number := _try_file(path)) is not None:
        why = f"no file can be made in {folder}: {errno.errorcode.get(number, number)}"
        example = f"{TIMELINE}/tmp/timeline.html"  # noqa: S108 - for people
    else:
        return path
    raise pytest.UsageError(
        Explanation(
            what=f"cannot use {TIMELINE}{value}",
            why=why,
            fix=f"write {shlex.quote(example)} on the command line"
            if example
            else f"mkdir -p {shlex.quote(folder)}",
        )
    )


def _try_file(path: str) -> int | None:
    """
    Return the errno with which no file can be made beside *path*; None if one can be.
    """
    draft = f"{path}.{os.urandom(4).hex()}.tmp"
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL))
        os.unlink(draft)
    except OSError as error:
        return error.errno
    return None


def _is_replaceable(path: str) -> bool:
    """
    Say whether the file at *path* is empty or a time line.

    Whoever forgets the name of the page names a test file.
    """
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(TIMELINE_BEGINS)) in {b"", TIMELINE_BEGINS}
    except OSError:
        return False


#: The option for it, as one writes it.
TIMELINE = "--nsisolate-timeline="

#: The beginning of each time line.
TIMELINE_BEGINS = b"<!doctype html><!-- pytest --nsisolate-timeline -->"

#: The environment variable that comes before the ini option, not the command line.
_JOBS = "NSISOLATE_JOBS"


def _value(config: pytest.Config, name: str) -> tuple[str | None, str]:
    """
    Return the value of the option *name*, or None, and the source of the value.
    """
    given = config.getoption(f"nsisolate_{name}")
    if given is not None:
        return given, f"--nsisolate-{name.replace('_', '-')}="
    return config.getini(f"nsisolate_{name}") or None, f"nsisolate_{name} = "


def _says(config: pytest.Config, name: str, other: str) -> bool:
    """
    Say whether the command line or the ini file gives the option *name*, but *other*.
    """
    given = {config.getoption(f"nsisolate_{name}"), config.getini(f"nsisolate_{name}")}
    return not given <= {None, "", other}


def _refuse(source: str, value: str, takes: str, example: str) -> NoReturn:
    kind, where = "ini option", "in the ini file"
    if source.startswith("-"):
        kind, where = "option", "on the command line"
    elif source[0].isupper():
        kind, where = "environment variable", "in the environment"
    raise pytest.UsageError(
        Explanation(
            what=f"cannot use {source}{value}",
            why=f"the {kind} {source.rstrip('= ')} {takes}",
            fix=f"write {source}{example} {where}",
        )
    )


#: What may be typed as the value of an option, or what returns it from a beginning.
_Completions: TypeAlias = "tuple[str, ...] | Callable[[str], Iterable[str]]"


class _Value(argparse.Action):
    """
    An option with a value, of which argcomplete can ask what may be typed.

    With ``choices=``, argparse would refuse a bad value before `_refuse` can.

    Args:
        completions: What may be typed.
        others: What argparse passes to each option.
    """

    def __init__(self, *, completions: _Completions, **others: Any) -> None:  # noqa: ANN401 - argparse checks them
        super().__init__(**others)
        self._completions = completions

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        value: object,
        _option: str | None = None,
    ) -> None:
        """
        Keep the *value*.
        """
        setattr(namespace, self.dest, value)

    def completer(self, prefix: str, **_: object) -> Iterable[str]:
        """
        Return what *prefix* may be completed to, and perhaps more; argcomplete chooses.
        """
        found = self._completions
        return found if isinstance(found, tuple) else found(prefix)


def _completions_of(check: Check) -> _Completions:
    if isinstance(check, Choice):
        return check.words
    return _directories if isinstance(check, Directories) else ()


def _directories(prefix: str) -> Iterable[str]:
    from argcomplete.completers import DirectoriesCompleter  # noqa: PLC0415 - it asks

    begin, comma, rest = prefix.rpartition(",")
    return [f"{begin}{comma}{one}" for one in DirectoriesCompleter()(rest)]


def _pages(prefix: str) -> Iterable[str]:
    from argcomplete.completers import FilesCompleter  # noqa: PLC0415 - it asks

    return cast("Iterable[str]", FilesCompleter(allowednames=["html"])(prefix))


def _some_flavours(prefix: str) -> Iterable[str]:
    begin, comma, _ = prefix.rpartition(",")
    given = begin.split(",")
    return [f"{begin}{comma}{one}" for one in get_args(Flavour) if one not in given]


def add_options(parser: pytest.Parser) -> None:
    """
    Declare the options to pytest.
    """
    # A help text is a sentence.
    group = parser.getgroup("nsisolate", "isolation in Linux namespaces")
    group.addoption(
        "--nsisolate",
        action="store_true",
        default=None,
        help="Isolate every test, marked or not.",
    )
    parser.addini(
        "nsisolate", "Isolate every test, marked or not.", type="bool", default=False
    )
    group.addoption(
        "--no-nsisolate",
        action="store_false",
        dest="nsisolate",
        help="Isolate no test: run all on the host.",
    )
    of_keywords = {
        one.name: (one.check.metavar, one.option.help, _completions_of(one.check))
        for one in KEYWORDS
        if one.option is not None
    }
    for name, (metavar, text, completions) in {**of_keywords, **_WITH_VALUE}.items():
        group.addoption(
            f"--nsisolate-{name.replace('_', '-')}",
            action=_Value,
            completions=completions,
            metavar=metavar,
            default=None,
            help=text,
        )
        parser.addini(f"nsisolate_{name}", text, default="")
    group.addoption(
        "--nsisolate-timeline",
        action=_Value,
        completions=_pages,
        metavar="FILE",
        default=None,
        help="Write a page that shows when each test ran, and where time was lost "
        "(default: none).",
    )
    for name, (form, what) in _DOCTORS.items():
        group.addoption(
            name,
            action="store_const",
            const=form,
            dest="nsisolate_doctor",
            help=f"Show {what} whether tests can be isolated here, and exit.",
        )


_DOCTORS = {
    "--nsisolate-doctor": ("table", "in a table"),
    "--nsisolate-doctor-json": ("json", "as JSON"),
}


#: The metavar of each, its help, and what may be typed.
_WITH_VALUE: dict[str, tuple[str, str, _Completions]] = {
    "unavailable": (
        _UNAVAILABLE.metavar,
        "Fail or skip a test if its sandbox cannot be made (default: fail).",
        _UNAVAILABLE.words,
    ),
    "leak_grace": (
        "SECONDS",
        (
            "Give processes this long to end after their test, before they count as "
            f"left behind (default: {DEFAULT_GRACE})."
        ),
        (),
    ),
    "flavours": (
        "FLAVOURS",
        (
            "Run each isolated test in each of these ways: host, isolated, alone, "
            "beside; separated by commas (default: isolated)."
        ),
        _some_flavours,
    ),
    "jobs": (
        "N",
        (
            "Run N isolated tests at the same time; auto: one for each processor "
            f"(default: 1; environment variable: {_JOBS})."
        ),
        ("auto",),
    ),
    "independent_hooks": (
        "MODULES",
        (
            "Let tests run at the same time although these modules, separated by "
            "commas, implement pytest_runtest_makereport() (default: none)."
        ),
        (),
    ),
    "usage": (
        "N",
        (
            "Show the N isolated tests that used the most CPU time and memory; 0: all "
            "(default: no table)."
        ),
        (),
    ),
}
