"""
Tracebacks without the frames of this package that say nothing about an error.

pytest leaves out what has ``__tracebackhide__``, but not with ``--tb=native``, and not
where something else prints a traceback. So the entries themselves are taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import TracebackType

from pytest_nsisolate.model.chain import chain

_OWN = __name__.partition(".")[0]

#: Takes the entries of a traceback, and returns the places of those to take out.
_Choice = Callable[[Sequence[TracebackType]], Collection[int]]


def cut_callers(error: BaseException) -> bool:
    """
    Take out frames of this package that have only called others, where *error* came.

    These have called a hook or have ``__tracebackhide__``. All others stay: the error
    may be theirs.

    Returns:
        Whether there were any.
    """
    return _cut(
        error,
        lambda entries: {
            *_own_above(entries, lambda one: one == "pluggy"),
            *filter(
                lambda place: _is_hidden(entries[place]),
                _own_above(entries, lambda one: one != _OWN),
            ),
        },
    )


def cut_all_callers(error: BaseException) -> None:
    """
    Take out frames of this package, unless *error* was raised there.
    """
    _cut(error, lambda entries: _own_above(entries, lambda one: one != _OWN))


def cut_hidden(error: BaseException) -> None:
    """
    Take out frames of this package that have ``__tracebackhide__``.
    """
    _cut(
        error,
        lambda entries: {
            place
            for place, one in enumerate(entries)
            if _package(one) == _OWN and _is_hidden(one)
        },
    )


def _is_hidden(entry: TracebackType) -> bool:
    return bool(entry.tb_frame.f_locals.get("__tracebackhide__", False))


def _own_above(
    entries: Sequence[TracebackType], is_below: Callable[[str], bool]
) -> Collection[int]:
    packages = [_package(one) for one in entries]
    end = max((place for place, one in enumerate(packages) if is_below(one)), default=0)
    return {place for place in range(end) if packages[place] == _OWN}


def _package(entry: TracebackType) -> str:
    return str(entry.tb_frame.f_globals.get("__name__")).partition(".")[0]


def _cut(error: BaseException, choice: _Choice) -> bool:
    changed = False
    for one in chain(error):
        entries = _entries(one.__traceback__)
        chosen = choice(entries)
        if chosen:
            one.__traceback__ = _joined(entries, chosen)
            changed = True
    return changed


def _entries(trace: TracebackType | None) -> list[TracebackType]:
    entries = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    return entries


def _joined(
    entries: Sequence[TracebackType], chosen: Collection[int]
) -> TracebackType | None:
    """
    Return the traceback of *entries* without those at the places *chosen*.

    The entries themselves are changed: others may hold them already.
    """
    kept: list[TracebackType] = []
    was_kept = True
    for place, entry in enumerate(entries):
        if place not in chosen:
            # pluggy has thrown the error into a wrapper, and got it back.
            if not was_kept and kept and kept[-1].tb_frame is entry.tb_frame:
                kept.pop()
            kept.append(entry)
        was_kept = place not in chosen
    following = None
    for entry in reversed(kept):
        entry.tb_next = following
        following = entry
    return following
