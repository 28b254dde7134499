"""
The threads that a fork leaves behind: fork(2) copies only the one that calls it.

Python marks the others as ended in the fork, so that `Thread.join` would return at once
although their work is not done there. So in a test it raises `LeftBehind` instead.

What libraries have registered for a fork, or for the end of a process, is made for that
and often joins threads. There, as in a fork that the test makes, it returns at once.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from pytest_nsisolate.linux import at_fork
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model.errors import Explanation, LeftBehind
from pytest_nsisolate.model.spec import Scope

#: By thread, the label and scope of the fixture that started it.
_origins: weakref.WeakKeyDictionary[threading.Thread, tuple[str, str]]
_origins = weakref.WeakKeyDictionary()

#: In a fork, the threads that are not there.
_left_behind: list[threading.Thread] = []

#: Whether the guest runs its test, in which it is an error to join one of them.
_in_test = False

#: How many forks this process is about to make. In those forks it stays above zero.
_forks = 0

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


@contextlib.contextmanager
def at_the_fork() -> Iterator[list[threading.Thread]]:
    """
    Yield a list that gets, when this thread forks, the threads that are left behind.

    Libraries may end threads, and start some, as late as when they are called then.
    """
    threads: list[threading.Thread] = []
    with at_fork.innermost(before=lambda: threads.extend(others())):
        yield threads


def leave_behind(threads: Iterable[threading.Thread]) -> None:
    """
    In a guest: note that *threads* are not here, and so are not to be joined.
    """
    global _forks  # noqa: PLW0603 - of the process, as the threads are
    _forks = 0
    # A library may have made one of them anew and started it.
    threads = [one for one in threads if not _is_here(one)]
    if threads and not _left_behind:
        # What is registered last is called first before a fork, and last after it.
        os.register_at_fork(before=_begin_fork, after_in_parent=_end_fork)
    _left_behind.extend(one for one in threads if one not in _left_behind)
    for thread in threads:
        # On the instance: the test's own threads keep the methods of their class.
        vars(thread)["join"] = functools.partial(_join, thread)
        vars(thread)["start"] = functools.partial(_start, thread)


def _is_here(thread: threading.Thread) -> bool:
    try:
        return thread.is_alive()
    except Exception:  # noqa: BLE001 - its class may refuse to be asked in a fork
        return False


def refuse_joins() -> None:
    """
    In a guest whose test begins: let `Thread.join` of what is not here raise an error.
    """
    global _in_test  # noqa: PLW0603 - see above
    _in_test = True


def allow_joins() -> None:
    """
    In a guest whose test is over: let `Thread.join` return at once again.
    """
    global _in_test  # noqa: PLW0603 - see above
    _in_test = False


def _begin_fork() -> None:
    global _forks  # noqa: PLW0603 - see above
    _forks += 1


def _end_fork() -> None:
    global _forks  # noqa: PLW0603 - see above
    _forks -= 1


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


def _join(
    thread: threading.Thread, *args: float | None, **keywords: float | None
) -> None:
    """
    Do what `Thread.join` of *thread*, which is not here, does in this process.
    """
    __tracebackhide__ = True
    if not _in_test or _forks:
        type(thread).join(thread, *args, **keywords)
        return
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


def _start(thread: threading.Thread) -> None:
    """
    Start *thread*, which was not here, if its object was made anew.
    """
    __tracebackhide__ = True
    type(thread).start(thread)
    del vars(thread)["join"], vars(thread)["start"]
    _left_behind.remove(thread)
