"""
Hooks for plugins that keep something of a test in the process.

Reports, warnings and output of an isolated test come back by themselves. What a plugin
has put into an object of its own stays behind in the guest, which ends with its test;
these hooks carry it over. The modules of the package `carrier` are written on them and
may serve as examples: `coverage`, `subtests` and `benchmark` for a start.

All four are called for isolated tests only. A plugin that works without
pytest-nsisolate too marks its implementations ``@pytest.hookimpl(optionalhook=True)``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_nsisolate.channel import Message


@pytest.hookspec
def pytest_nsisolate_enter(item: pytest.Item, send: Callable[[], None]) -> None:
    """
    Get ready, in a guest, before anything of its test is run there.

    Args:
        item: The test.
        send: What is called where the guest may end at once: it has what is to be
            carried over collected and sent.

    .. versionadded:: 0.1.0
    """


@pytest.hookspec
def pytest_nsisolate_collect(
    item: pytest.Item, report: pytest.TestReport | None, payload: Message
) -> None:
    """
    Collect, in a guest, what is to be carried over.

    Called before each report is sent, and once more when the test is over. A guest that
    crashes gets no further: what was collected by then is all that is carried over.

    Args:
        item: The test.
        report: The report that comes next; None when the test is over and torn down.
        payload: Empty at first, and for an implementation to put something into, under
            the name of its plugin. It travels as JSON; what JSON cannot carry arrives
            as its `repr`.

    .. versionadded:: 0.1.0
    """


@pytest.hookspec
def pytest_nsisolate_hand_over(item: pytest.Item, payload: Message) -> None:
    """
    Hand over, in the supervisor, what was collected in a guest.

    Called with each payload that is not empty. The report that it was collected for has
    not been logged yet. One that was collected at the end comes before the report of
    teardown.

    Args:
        item: The test.
        payload: What implementations of `pytest_nsisolate_collect` put there.

    .. versionadded:: 0.1.0
    """


@pytest.hookspec(firstresult=True)
def pytest_nsisolate_repeat(
    item: pytest.Item,
    nextitem: pytest.Item | None,
    run: Callable[[Callable[[], bool]], list[pytest.TestReport]],
) -> object:
    """
    Run a test, in the supervisor, as often as is wanted.

    For plugins whose `pytest_runtest_protocol` would run it in a loop.

    Args:
        item: The test.
        nextitem: The one that comes next.
        run: Runs it once, in a sandbox of its own, and returns its reports, which have
            not been logged. Its argument is called when the test itself is over, and
            says whether it is to be run again: what it borrows then stays.

    Returns:
        True, or None to leave it to others.

    .. versionadded:: 0.1.0
    """
