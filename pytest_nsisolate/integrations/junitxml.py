"""
JUnit XML: the additions of `record_xml_attribute` and `record_testsuite_property`.

Both fixtures write to the object that makes the file at the end of the session.
"""

from __future__ import annotations

from typing import cast

import pytest

from pytest_nsisolate.compat import builtin_plugins
from pytest_nsisolate.guest.messages import Payload

_NAME = "junitxml"


class Integration:
    """
    Carries over attributes of a test and properties of the test suite.
    """

    @pytest.hookimpl
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        builtin_plugins.take_xml_additions(item)

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, item: pytest.Item, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        if report is None:
            attributes, properties = builtin_plugins.take_xml_additions(item)
            if attributes or properties:
                payload[_NAME] = [attributes, properties]

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, item: pytest.Item, payload: Payload) -> None:
        if _NAME in payload:
            attributes, properties = cast(
                "tuple[dict[str, str], list[tuple[str, str]]]", payload[_NAME]
            )
            builtin_plugins.add_to_xml(item, attributes, properties)
