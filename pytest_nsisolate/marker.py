"""
The marker `isolated`, and what the markers of one test come to.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence

import pytest

from pytest_nsisolate.errors import Explanation, SpecError, safe_repr
from pytest_nsisolate.spec import Spec

#: The marker and its exact synonym, for where pytest-isolated owns the first.
NAMES = ("isolated", "nsisolated")


def isolated(  # noqa: PLR0913 - the grammar
    *,
    hostname: str | None = None,
    domainname: str | None = None,
    user: str | None = None,
    proc: bool | None = None,
    timeout: float | None = None,
    leaks: str | None = None,
    memory: str | int | None = None,
    cpu: float | None = None,
    nofile: int | None = None,
    nproc: int | None = None,
    tmpfs: Sequence[str | os.PathLike[str]] | None = None,
    env: Mapping[str, str | None] | None = None,
    clear_env: bool | None = None,
    net: bool | None = None,
    scope: str | None = None,
    fork: bool | None = None,
) -> None:
    """
    Run the test in IPC, UTS and PID namespaces of its own.

    Calling this binds the arguments of a marker, so this signature is its grammar.

    Args:
        hostname: Hostname inside, at most 64 bytes; None for the host's.
        domainname: NIS domain name inside, at most 64 bytes; None for the host's.
        user: ``"root"`` for uid 0 inside, with its capabilities; None for who pytest
            runs as.
        proc: False for a sandbox without a fresh ``/proc``, where none can be mounted.
        timeout: Seconds that the test may take, its own fixtures included; 0 for as
            long as it takes; None for what the options say.
        leaks: ``"ignore"``, ``"warn"`` or ``"fail"``: what becomes of the test if it
            leaves processes, IPC objects, files in ``/dev/shm`` or mounts; None for
            what the options say.
        memory: Private writable memory of each process: ``"512M"``, or bytes.
        cpu: Processor time of each process, in seconds, rounded up.
        nofile: Above every number that a descriptor may have inside.
        nproc: Processes and threads of the test, itself included.
        tmpfs: Absolute paths of directories that are fresh and empty inside.
        env: Environment variables inside; None for one that is to be unset.
        clear_env: True for no environment variables inside but those in *env*.
        net: True for a network of its own, with nothing but a loopback interface,
            which is up.
        scope: ``"class"``, ``"module"``, ``"package"`` or ``"session"``, whose tests
            share a sandbox; ``"function"`` for one of the test's own; None for what the
            options say.
        fork: True to run each test that shares a sandbox in a process of its own.

    .. versionadded:: 0.1.0
    """


@dataclasses.dataclass(frozen=True, slots=True)
class BadMarker:
    """
    A marker, or what a hook makes of it, that says nothing that can be done.
    """

    explanation: Explanation


def spec_of(item: pytest.Item) -> Spec | BadMarker | None:
    """
    Return what the markers of *item* ask for, the closest winning by keyword.

    Returns:
        None where there is no marker.
    """
    keywords: dict[str, object] = {}
    marked = False
    for mark in _marks(item):
        marked = True
        try:
            inspect.signature(isolated).bind(*mark.args, **mark.kwargs)
            # Each marker for itself: a bad value is bad also where a closer one wins.
            Spec(**mark.kwargs)
        except SpecError as error:
            return BadMarker(_explain(item, mark, error.why, error.fix))
        except TypeError as error:
            return BadMarker(_explain_grammar(item, mark, error))
        keywords = {**mark.kwargs, **keywords}
    return Spec(**keywords) if marked else None  # type: ignore[arg-type]


def _marks(item: pytest.Item) -> Iterator[pytest.Mark]:
    # pytest lists those of a parameter behind those of its function.
    callspec = getattr(item, "callspec", None)
    closest = list(callspec.marks) if callspec is not None else []
    seen = [id(mark) for mark in closest]
    closest += [mark for mark in item.iter_markers() if id(mark) not in seen]
    return (mark for mark in closest if mark.name in NAMES)


def _explain_grammar(
    item: pytest.Item, mark: pytest.Mark, error: TypeError
) -> Explanation:
    known = list(inspect.signature(isolated).parameters)
    grammar = f"{mark.name} takes the keywords {', '.join(known)}"
    if mark.args:
        given = ", ".join(safe_repr(value) for value in mark.args)
        keyword = f"{known[0]}={given}" if len(mark.args) == 1 else f"{known[0]}=…"
        return _explain(
            item,
            mark,
            f"{grammar} and nothing by position, but got {given}",
            f"write @pytest.mark.{mark.name}({keyword})",
        )
    unknown = [name for name in mark.kwargs if name not in known]
    fixes = [
        f"write {near[0]}= for {name}="
        if (near := difflib.get_close_matches(name, known, n=1))
        else f"leave {name}= out"
        for name in unknown
    ]
    return _explain(
        item,
        mark,
        f"{grammar}, not {', '.join(unknown) or error}",
        "; ".join(fixes),
    )


def place_of(item: pytest.Item) -> str:
    """
    Return where *item* is defined, as ``file:line``.
    """
    path, line, _ = item.location
    return path if line is None else f"{path}:{line + 1}"


def _explain(item: pytest.Item, mark: pytest.Mark, why: str, fix: str) -> Explanation:
    return Explanation(
        what=f"{place_of(item)}: cannot isolate {item.name}: "
        f"bad marker @pytest.mark.{mark.name}",
        why=why,
        fix=fix,
    )
