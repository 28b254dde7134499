"""
Hooks: what a test asks for, what its process begins with, and how it ended.

Reports, warnings and output of an isolated test come back by themselves. What a plugin
has put into an object of its own stays behind in the guest, which ends with its test;
`pytest_nsisolate_collect` and `pytest_nsisolate_hand_over` carry it over. The modules
of the package `integrations` are written on these hooks and may serve as examples:
`coverage`, `subtests` and `benchmark` for a start.

But for the first, they are called for isolated tests only. A plugin that works without
pytest-nsisolate too marks its implementations ``@pytest.hookimpl(optionalhook=True)``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_nsisolate.guest.messages import Payload
from pytest_nsisolate.model.ending import Ending, Usage
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.leaks import Leaks


@pytest.hookspec
def pytest_nsisolate_spec(item: pytest.Item, spec: Spec | None) -> Spec | None:
    """
    Alter, in the supervisor, what a test asks for.

    Called once for each test, before the one that comes before it runs: its sandbox is
    made meanwhile. Not with ``--no-nsisolate``, nor for a test with a bad marker.

    Args:
        item: The test.
        spec: What it asks for, its options included; None: it runs on the host.

    Returns:
        What it is to ask for instead; None to leave it as it is. What several change
        counts together; of two who change the same, the one called first.

    .. versionadded:: 0.1.0
    """


@pytest.hookspec
def pytest_nsisolate_enter(
    item: pytest.Item, send: Callable[[], None], spec: Spec
) -> None:
    """
    Get ready, in a guest, before anything of its test is run there.

    It is inside: what is done here is done to the sandbox and the process of the test.
    If this raises, the test has failed. Where tests share a guest this is called once.

    Args:
        item: The test, or the first of them.
        send: What is called where the guest may end at once: it has what is to be
            carried over collected and sent.
        spec: What the test asks for.

    .. versionadded:: 0.1.0
    """


@pytest.hookspec
def pytest_nsisolate_collect(
    item: pytest.Item, report: pytest.TestReport | None, payload: Payload
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
def pytest_nsisolate_hand_over(item: pytest.Item, payload: Payload) -> None:
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


@pytest.hookspec
def pytest_nsisolate_ended(
    item: pytest.Item, ending: Ending, usage: Usage | None, left: Leaks | None
) -> None:
    """
    Get to know, in the supervisor, how the guest of a test ended.

    Called once for each guest, before the report of teardown is logged. If this raises,
    the teardown of the test has failed.

    Args:
        item: The test.
        ending: How it ended.
        usage: What it has used; None if it never started, or no one could tell.
        left: What it has left in its sandbox; None if that was not looked for.

    .. versionadded:: 0.1.0
    """
