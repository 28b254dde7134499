"""
The threads that a fork leaves behind: fork(2) copies only the one that calls it.

Python marks the others as ended in the fork, so that `Thread.join` would return at once
although their work is not done there. So it raises `LeftBehind` instead.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Iterable, Sequence
from typing import NoReturn, get_args

from pytest_nsisolate.model.errors import Explanation, LeftBehind
from pytest_nsisolate.model.spec import Scope

#: By thread, the label and scope of the fixture that started it.
_origins: weakref.WeakKeyDictionary[threading.Thread, tuple[str, str]]
_origins = weakref.WeakKeyDictionary()

#: In a fork, the threads that are not there.
_left_behind: list[threading.Thread] = []


#: The fixture whose set-up began last, and the threads that there were then.
_current: tuple[tuple[str, str], set[threading.Thread]] | None = None


def begin(label: str, scope: str) -> None:
    """
    Note that the set-up of the fixture *label* of *scope* begins.
    """
    global _current  # noqa: PLW0603 - as threads, of the process
    end()
    _current = (label, scope), set(threading.enumerate())


def end() -> None:
    """
    Note that the threads that have started since `begin` are of its fixture.
    """
    global _current  # noqa: PLW0603 - see above
    if _current is not None:
        origin, before = _current
        for thread in threading.enumerate():
            if thread not in before:
                _origins.setdefault(thread, origin)
    _current = None


def others() -> tuple[threading.Thread, ...]:
    """
    Return the threads of this process besides the one that calls.
    """
    end()
    own = threading.current_thread()
    return tuple(one for one in threading.enumerate() if one is not own)


def leave_behind(threads: Iterable[threading.Thread]) -> None:
    """
    In a fork: let `Thread.join` of each of *threads*, which are not here, say so.
    """
    _left_behind.extend(threads)
    for thread in _left_behind:
        # On the instance: the test's own threads keep the method of their class.
        vars(thread)["join"] = functools.partial(_refuse_join, thread)


def left_behind() -> tuple[threading.Thread, ...]:
    """
    In a fork, return the threads that are not here; outside one, none.
    """
    return tuple(_left_behind)


def sentence(threads: Sequence[threading.Thread]) -> str:
    """
    Say that *threads* do not exist in a fork; nothing if there are none.
    """
    if not threads:
        return ""
    does = "thread of pytest does" if len(threads) == 1 else "threads of pytest do"
    return (
        f"{len(threads)} {does} not exist here, since fork(2) copies only the one that "
        f"calls it: {', '.join(map(_name, threads))}"
    )


def way_out(threads: Iterable[threading.Thread]) -> str:
    """
    Return what to type to have *threads* where the test is.
    """
    inside = "start it in {}a fixture of function scope"
    scopes = [_origins[one][1] for one in threads if one in _origins]
    if not scopes:
        return inside.format("the test or in ")
    widest = max(scopes, key=get_args(Scope).index)
    return f'write @pytest.mark.isolated(scope="{widest}"), or {inside.format("")}'


def _name(thread: threading.Thread) -> str:
    """
    Return the name of *thread*, with the fixture that started it, if one did.
    """
    if thread not in _origins:
        return thread.name
    label, scope = _origins[thread]
    return f"{thread.name} (of {label}, {scope})"


def _refuse_join(thread: threading.Thread, *_: object, **__: object) -> NoReturn:
    __tracebackhide__ = True
    started = "before this process was forked"
    if thread in _origins:
        label, scope = _origins[thread]
        started = f"by the fixture {label} ({scope}), outside the sandbox"
    explanation = Explanation(
        what=f"cannot join the thread {thread.name}: it does not exist here",
        why=f"it was started {started}, and fork(2) copies only the thread that "
        "calls it",
        fix=way_out([thread]),
    )
    raise LeftBehind(explanation)
