"""
teamcity-messages: what a failed comparison was about, which it keeps with the test.

It sends both sides to TeamCity as the expected and the actual value. Those of an assert
are on the item, and those of `unittest` in a variable of the thread.
"""

from __future__ import annotations

import pprint
from collections.abc import Generator
from typing import Any, cast

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "teamcity"

#: The attribute of an item, since teamcity-messages 1.22.
_ATTRIBUTE = "_teamcity_assertion_failure"


class _Shown:
    """
    A value that is shown by the text of another one.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class Integration:
    """
    Carries over both sides of the comparison, as teamcity-messages shows them.
    """

    def __init__(self) -> None:
        #: In a guest: what has been carried over.
        self._sent: object = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        # It notes this in the same hook, which calls no one after the supervisor.
        reporting = getattr(item.config, "_teamcityReporting", None)
        if reporting is not None:
            reporting.current_test_item = item
        return (yield)

    @pytest.hookimpl
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        self._sent = getattr(item, _ATTRIBUTE, None)

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, item: pytest.Item, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        compared = getattr(item, _ATTRIBUTE, None)
        sides = error = None
        if compared is not None and compared is not self._sent:
            self._sent = compared
            sides = [_to_message(one) for one in compared[1:]]
        if report is not None and report.failed:
            from teamcity import jb_local_exc_store  # noqa: PLC0415 - few have it

            error = cast("Any", jb_local_exc_store.get_exception())
        if sides or error:
            of_error = error and [error.expected, error.actual, error.msg]
            payload[_NAME] = [compared and compared[0], sides, of_error]

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, item: pytest.Item, payload: Payload) -> None:
        if _NAME not in payload:
            return
        op, sides, error = cast("list[Any]", payload[_NAME])
        if sides:
            setattr(item, _ATTRIBUTE, (op, *map(_from_message, sides)))
        if error:
            from teamcity import (  # noqa: PLC0415 - few have it
                diff_tools,
                jb_local_exc_store,
            )

            jb_local_exc_store.store_exception(
                diff_tools.EqualsAssertionError(
                    *error, preformated=True, real_exception=AssertionError()
                )
            )


def _to_message(value: object) -> object:
    # It shows such values in other ways than by pprint.
    if isinstance(value, bool | int | str):
        return value
    return [pprint.pformat(value)]


def _from_message(message: object) -> object:
    return _Shown(*message) if isinstance(message, list) else message
