"""
allure-pytest: one result file for each test, and containers that name their tests.

The plugin has an object for each test and each fixture, and writes it to a file when
the test or fixture ends. A guest writes the containers of the fixtures that it sets up
itself, and attachments. It sends the result of its test to the supervisor, because a
borrowed fixture may still fail there.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any, cast

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "allure"

#: For each attribute of a result or a step, the class of its parts.
_PARTS = {
    "steps": "TestStepResult",
    "parameters": "Parameter",
    "attachments": "Attachment",
    "labels": "Label",
    "links": "Link",
    "statusDetails": "StatusDetails",
}


class Integration:
    """
    Carries over results, with the borrowed fixtures that they belong to.
    """

    def __init__(self) -> None:
        #: In a guest: the supervisor's notes on the test from before the fork.
        self._before: Any = None
        #: In a guest: the containers of borrowed fixtures, and the result.
        self._borrowed: dict[str, Any] = {}
        self._result: Any = None
        #: In the supervisor: the guest's result, kept until teardown is reported.
        self._come: Any = None
        self._is_guest = False
        #: Whether each test has an id.
        self._are_known = False
        self._config: Any = None
        self._attaches = False

    @pytest.hookimpl
    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config
        self._attaches = config.getoption("attach_capture", default=False)

    @property
    def _listener(self) -> Any:
        # It has had this name since 2.5 and these attributes since 2.8.
        return self._config.pluginmanager.get_plugin("allure_listener")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        if self._listener is not None and not self._are_known:
            # A test that starts before its turn has its id, too, from before the fork.
            self._are_known = True
            for one in item.session.items:
                self._listener._cache.push(one.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        if self._listener is not None:
            _forget_unused(self._listener)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            borrowing: Any = self._config.pluginmanager.get_plugin(
                "nsisolate-borrowing"
            )
            if self._listener is not None and borrowing.passes_over(request):
                uuid = self._listener._cache.pop(fixturedef)
                self._listener.allure_logger._items.pop(uuid)

    @pytest.hookimpl
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        self._is_guest = True
        listener = self._listener
        if listener is None:
            return
        _forget_unused(listener)
        logger = listener.allure_logger
        self._before = logger.get_test(listener._cache.get(item.nodeid))
        self._borrowed = dict(_containers(logger))
        logger.close_test = self._keep
        # The supervisor attaches it, with the output of borrowed fixtures.
        self._config.option.attach_capture = False

    def _keep(self, uuid: str) -> None:
        self._result = self._listener.allure_logger._items.pop(uuid)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            if self._is_guest and self._before is not None:
                self._take_before(item)

    def _take_before(self, item: pytest.Item) -> None:
        """
        Add the labels and links that borrowed fixtures gave the test.
        """
        listener = self._listener
        result = listener.allure_logger.get_test(listener._cache.get(item.nodeid))
        for name in ("labels", "links"):
            mine = getattr(result, name)
            mine[:0] = [one for one in getattr(self._before, name) if one not in mine]
        self._before = None

    @pytest.hookimpl
    def pytest_nsisolate_collect(
        self, report: pytest.TestReport | None, payload: Payload
    ) -> None:
        result, self._result = self._result, None
        if report is None and result is not None:
            attr: Any = sys.modules["attr"]
            used = [
                uuid
                for uuid, container in self._borrowed.items()
                if result.uuid in container.children
            ]
            payload[_NAME] = [attr.asdict(result), cast("list[object]", used)]

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, payload: Payload) -> None:
        if _NAME not in payload:
            return
        fields, used = cast("tuple[dict[str, Any], list[str]]", payload[_NAME])
        logger = self._listener.allure_logger
        self._come = _made("TestResult", fields)
        for uuid in used:
            container = logger.get_item(uuid)
            if self._come.uuid not in container.children:
                container.children.append(self._come.uuid)
        # The plugin changes this status if teardown fails.
        logger.get_test(self._come.uuid).status = "passed"
        self._config.option.attach_capture = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        result, listener = self._come, self._listener
        if result is None or report.when != "teardown":
            return
        self._come = None
        here = listener.allure_logger.get_test(result.uuid)
        if result.status == "passed" and here.status != "passed":
            result.status, result.statusDetails = here.status, here.statusDetails
        listener.allure_logger._items[result.uuid] = result
        self._config.option.attach_capture = self._attaches
        if self._attaches:
            text = sys.modules["allure_commons.types"].AttachmentType.TEXT
            for name, output in (
                ("log", report.caplog),
                ("stdout", report.capstdout),
                ("stderr", report.capstderr),
            ):
                if output:
                    listener.attach_data(output, name, text, None)


def _containers(logger: Any) -> list[tuple[str, Any]]:
    module: Any = sys.modules["allure_commons.model2"]
    items = logger._items.thread_context.items()
    return [one for one in items if isinstance(one[1], module.TestResultContainer)]


def _forget_unused(listener: Any) -> None:
    """
    Remove the containers of fixtures that were never set up.

    The plugin makes a container for each fixture of a test.
    """
    unused = {
        uuid
        for uuid, container in _containers(listener.allure_logger)
        if not container.befores
    }
    for uuid in unused:
        listener.allure_logger._items.pop(uuid)
    known = listener._cache._items
    for number in [number for number, uuid in known.items() if uuid in unused]:
        del known[number]


def _made(name: str, fields: dict[str, Any]) -> Any:
    """
    Return an object of the plugin's class *name*, with these *fields*.
    """
    made: Any = getattr(sys.modules["allure_commons.model2"], name)()
    for field, value in fields.items():
        part = _PARTS.get(field)
        if part is None or value is None:
            setattr(made, field, value)
        elif isinstance(value, list):
            setattr(made, field, [_made(part, one) for one in value])
        else:
            setattr(made, field, _made(part, value))
    return made
