"""
Whether the next guest may be forked while this one runs.

A fork is a copy of the supervisor as it is then. Made ahead, it lacks what the
supervisor does between two tests; so this is done only where that can be seen to be
nothing that the next test could notice. Where it is not plain, the answer is no, and
all that is lost is time.
"""

from __future__ import annotations

import threading

import pytest

from pytest_nsisolate import private

#: Hooks that the supervisor calls between the start of a test and that of the next.
_BETWEEN = (
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_runtest_protocol",
    "pytest_warning_recorded",
    "pytest_report_from_serializable",
    "pytest_report_teststatus",
    "pytest_nsisolate_hand_over",
    "pytest_nsisolate_ended",
)

#: Packages whose implementations of these change nothing that a test could notice.
_KNOWN = {"_pytest", "pytest_nsisolate"}


def is_safe(item: pytest.Item, nextitem: pytest.Item) -> bool:
    """
    Say whether a fork for *nextitem* made while *item* runs is as good as one later.
    """
    return (
        # A thread, as of a server in a session fixture, goes on changing things.
        threading.active_count() == 1
        and not is_skippable(nextitem)
        and private.is_all_set_up(nextitem)
        and _filters(item) == _filters(nextitem)
        and not is_watched(item)
        and not is_watched(nextitem)
    )


def is_skippable(item: pytest.Item) -> bool:
    """
    Say whether a mark of *item* may have it skipped before it is forked.
    """
    return any(mark.name in {"skip", "skipif"} for mark in item.iter_markers())


def _filters(item: pytest.Item) -> list[tuple[object, ...]]:
    # pytest has those of a test in force all through its protocol, here too.
    return [mark.args for mark in item.iter_markers("filterwarnings")]


def is_watched(item: pytest.Item) -> bool:
    """
    Say whether any plugin or conftest file but pytest's own acts between tests.
    """
    return any(
        impl.function.__module__.partition(".")[0] not in _KNOWN
        for name in _BETWEEN
        for impl in getattr(item.ihook, name).get_hookimpls()
    )
