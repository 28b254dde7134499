"""
The hooks that other plugins can implement.

Reports, warnings and output of an isolated test reach the supervisor by themselves.
What a plugin keeps in an object of its own does not: it is lost when the guest ends,
unless `pytest_nsisolate_collect` and `pytest_nsisolate_hand_over` carry it over. The
modules of the package `integrations` use these hooks and serve as examples: start with
`subtests`, `coverage` and `benchmark`.

All hooks but `pytest_nsisolate_spec` are called for isolated tests only. A plugin that
also works without pytest-nsisolate marks its implementations
``@pytest.hookimpl(optionalhook=True)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_nsisolate.guest.messages import Payload
    from pytest_nsisolate.model.ending import Ending, Usage
    from pytest_nsisolate.model.spec import Spec
    from pytest_nsisolate.sandbox.leaks import Leaks


@pytest.hookspec
def pytest_nsisolate_spec(item: pytest.Item, spec: Spec | None) -> Spec | None:
    """
    Change, in the supervisor, what a test asks for.

    Called once for each test, before the test before it runs, since its sandbox is made
    during that one. Not called with ``--no-nsisolate`` or for a test with a bad marker.

    Args:
        item: The test.
        spec: What the test asks for, options included; None if it runs on the host.

    Returns:
        What the test shall ask for instead; None to change nothing. The changes of
        several plugins are combined; if two change the same field, the plugin that is
        called first wins.

    .. versionadded:: 1.0.0
    """


@pytest.hookspec
def pytest_nsisolate_enter(
    item: pytest.Item,
    send: Callable[[], None],
    spec: Spec,
    borrowed: Sequence[pytest.FixtureDef[object]],
) -> None:
    """
    Get ready, in a guest, before any part of its test runs.

    The guest is in its sandbox: whatever this does, it does to the sandbox and the
    process of the test. If it raises, the test fails. If tests share a guest, it is
    called once for all of them.

    Args:
        item: The test, or the first of those that share the guest.
        send: Collects and sends at once what plugins want carried over. Call it before
            something that may end the guest.
        spec: What the test asks for.
        borrowed: The fixtures that are set up outside. ``cached_result[0]`` is the
            value of one, unless its set-up failed: then it is None.

    .. versionadded:: 1.0.0
    """


@pytest.hookspec
def pytest_nsisolate_collect(
    item: pytest.Item, report: pytest.TestReport | None, payload: Payload
) -> None:
    """
    Collect, in a guest, what a plugin wants carried over to the supervisor.

    Called before each report is sent, and once more when the test is over. If the guest
    crashes, only what was collected until then is carried over.

    Args:
        item: The test.
        report: The report that comes next; None when the test is over and torn down.
        payload: Empty at first. An implementation adds what it wants carried over,
            under the name of its plugin. Values of builtin types arrive as they are,
            and any other as its `repr`.

    .. versionadded:: 1.0.0
    """


@pytest.hookspec
def pytest_nsisolate_hand_over(item: pytest.Item, payload: Payload) -> None:
    """
    Receive, in the supervisor, what was collected in a guest.

    Called with each payload that is not empty, before the report that follows it is
    logged. The payload collected at the end of the test comes before the report of
    teardown.

    Args:
        item: The test.
        payload: What the implementations of `pytest_nsisolate_collect` collected.

    .. versionadded:: 1.0.0
    """


@pytest.hookspec(firstresult=True)
def pytest_nsisolate_repeat(
    item: pytest.Item,
    nextitem: pytest.Item | None,
    run: Callable[[Callable[[], bool]], list[pytest.TestReport]],
) -> object:
    """
    Run a test, in the supervisor, as often as a plugin wants.

    For plugins whose `pytest_runtest_protocol` runs a test in a loop.

    Args:
        item: The test.
        nextitem: The test that comes next.
        run: Runs the test once, in a sandbox of its own, and returns its reports, which
            have not been logged. It calls its argument when the test itself is over, to
            know if the test will run again: then what it borrows stays set up.

    Returns:
        True if this has run the test; None to leave that to other plugins.

    .. versionadded:: 1.0.0
    """


@pytest.hookspec
def pytest_nsisolate_ended(
    item: pytest.Item, ending: Ending, usage: Usage | None, left: Leaks | None
) -> None:
    """
    Act, in the supervisor, on how the guest of a test ended.

    Called once for each guest, before the report of teardown is logged. If this raises,
    the teardown of the test fails.

    Args:
        item: The test, or the last of those that shared the guest.
        ending: How the guest ended.
        usage: What the guest used; None if it never started, or if that is not known.
        left: What the test left in its sandbox; None if nobody looked.

    .. versionadded:: 1.0.0
    """
