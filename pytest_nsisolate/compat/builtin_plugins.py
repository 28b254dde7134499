"""
What pytest's own plugins keep: captured output, live logs, directories, counts.

All of it is reached through the plugin manager, and none of it has a documented way in.
Each use says since when it has been as it is used here, and what would take its place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_nsisolate.guest import inherited

#: A record that cannot be formatted, which shows as its heading.
_NO_TEXT: dict[str, object] = {"msg": "%d", "args": ("",)}


def captured_so_far(config: pytest.Config) -> tuple[str, str]:
    """
    Return and forget what has been captured on stdout and stderr.
    """
    # Since 3.2. Public would be: read_global_capture() on a documented plugin.
    manager: Any = config.pluginmanager.get_plugin("capturemanager")
    if manager is None or not manager.is_globally_capturing():
        return "", ""
    out, err = manager.read_global_capture()
    return _text(out), _text(err)


def is_on_terminal(item: pytest.Item) -> bool:
    """
    Say whether pytest's output goes to a terminal, where a debugger may be asked for.
    """
    # Since 2.0. Public would be: an attribute of the documented TerminalReporter.
    reporter = item.config.pluginmanager.get_plugin("terminalreporter")
    return bool(getattr(reporter, "isatty", False))


def basetemp(config: pytest.Config) -> str | None:
    """
    Return the base temporary directory of the session, which is made if need be.

    Returns:
        None where it cannot be had; who then asks pytest itself is told why.
    """
    factory: Any = getattr(config, "_tmp_path_factory", None)
    try:
        return None if factory is None else str(factory.getbasetemp())
    except Exception:  # noqa: BLE001 - whatever stands in the way
        return None


def redirect_basetemp(config: pytest.Config, ask: Callable[[], str]) -> None:
    """
    In a guest: have the base temporary directory asked for, and not made anew.
    """
    # Since 6.2. Public would be: the factory as an attribute of the session.
    factory: Any = getattr(config, "_tmp_path_factory", None)
    if factory is None or factory._basetemp is not None:
        return
    make = factory.getbasetemp

    def getbasetemp() -> Path:
        if factory._basetemp is None:
            path = Path(ask())
            factory._basetemp = path if path.is_absolute() else make()
        return cast("Path", factory._basetemp)

    factory.getbasetemp = getbasetemp


def forget_captured(config: pytest.Config) -> None:
    """
    Forget what has been captured in this phase so far: output and log records.
    """
    captured_so_far(config)
    logging_plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    if logging_plugin is not None:
        # Since 3.3. Public would be: caplog.clear() without the fixture.
        logging_plugin.report_handler.reset()


def warn_of_unraisable(config: pytest.Config) -> None:
    """
    Have pytest warn of what could not be raised since it last did.
    """
    # Since 8.4; before, a wrapper of each phase saw to it. Public would be: a hook for
    # what could not be raised.
    plugin = config.pluginmanager.get_plugin("unraisableexception")
    collect = getattr(plugin, "collect_unraisable", None)
    if collect is not None:
        collect(config)


def redirect_live_log(
    config: pytest.Config, show: Callable[[str | None, str | None], None]
) -> None:
    """
    In a guest: have *show* called with each record that is to be shown at once.

    It gets the phase, for the heading, and the text; None if there is none, as of a
    record with wrong arguments. Headings are the supervisor's business, which alone
    knows what stands on the terminal.
    """
    handler = _live_log_handler(config)
    if handler is None:
        return

    def emit(record: logging.LogRecord) -> None:
        try:
            text = handler.format(record)
        except Exception:  # noqa: BLE001 - told where pytest captures the record
            text = None
        show(handler._when, text)

    handler.emit = emit


def show_live_log(config: pytest.Config, when: str | None, text: str | None) -> None:
    """
    Show *text*, a record that was logged in the phase *when*.
    """
    handler = _live_log_handler(config)
    if handler is not None:
        # One heading, though the supervisor has a part in this phase, too.
        change = type(handler).set_when
        handler.set_when = lambda one: one == handler._when or change(handler, one)
        handler.set_when(when)
        formatter, handler.formatter = handler.formatter, logging.Formatter()
        record = {"msg": "%s", "args": (text,)} if text is not None else _NO_TEXT
        handler.emit(logging.makeLogRecord(record))
        handler.formatter = formatter


def _live_log_handler(config: pytest.Config) -> Any:
    # Since 3.4. Public would be: a hook that shows a record.
    plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    if plugin is None or not plugin._log_cli_enabled():
        return None
    return plugin.log_cli_handler


def failed_subtests(item: pytest.Item) -> int:
    """
    Return how many subtests of *item* have failed in this process.
    """
    counts = _failed_subtests(item.config)
    return 0 if counts is None else counts.get(_id(item), 0)


def set_failed_subtests(item: pytest.Item, number: int) -> None:
    """
    Have pytest take *number* subtests of *item* for failed.
    """
    counts = _failed_subtests(item.config)
    if counts is not None:
        counts[_id(item)] = number


def _failed_subtests(config: pytest.Config) -> dict[Any, int] | None:
    # Since 9.0. Public would be: an attribute of the report of the test around them.
    plugin = config.pluginmanager.get_plugin("subtests")
    key = getattr(plugin, "failed_subtests_key", None)
    return None if key is None else config.stash.get(key, None)


def may_fail(item: pytest.Item) -> bool:
    """
    Say whether *item* is marked ``xfail`` and run all the same.
    """
    expected: Any = item.stash.get(_skipping(item.config).xfailed_key, None)
    return expected is not None and bool(expected.run)


def is_skipped(item: pytest.Item) -> bool:
    """
    Say whether a mark of *item* has it skipped, or cannot be made out.
    """
    try:
        plugin = _skipping(item.config)
        return plugin is not None and plugin.evaluate_skip_marks(item) is not None
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - a user's condition
        return True


def stash_of_xfail(config: pytest.Config, *, expected: bool) -> pytest.Stash:
    """
    Return what a test has as its stash that is *expected* to fail, or is not.
    """
    stash = pytest.Stash()
    if expected:
        skipping = _skipping(config)
        mark = skipping.Xfail(reason="", run=True, strict=False, raises=None)
        stash[skipping.xfailed_key] = mark
    return stash


def _skipping(config: pytest.Config) -> Any:
    # Since 6.1. Public would be: an attribute of the item.
    return config.pluginmanager.get_plugin("skipping")


def take_xml_additions(
    item: pytest.Item,
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """
    Return and forget what was added for the JUnit XML in this process.

    Returns:
        The attributes that *item* added to itself, and properties of the test suite.
    """
    xml = _xml(item.config)
    if xml is None:
        return {}, []
    reporter = xml.node_reporter(_id(item))
    attributes, reporter.attrs = reporter.attrs, {}
    properties, xml.global_properties = xml.global_properties, []
    return attributes, properties


def add_to_xml(
    item: pytest.Item,
    attributes: dict[str, str],
    properties: list[tuple[str, str]],
) -> None:
    """
    Add to the JUnit XML what `take_xml_additions` returned elsewhere.
    """
    xml = _xml(item.config)
    xml.node_reporter(_id(item)).attrs.update(attributes)
    xml.global_properties += [(name, value) for name, value in properties]


def _xml(config: pytest.Config) -> Any:
    # Since 4.6. Public would be: session.testsuite_properties and item.xml_attributes.
    key = getattr(config.pluginmanager.get_plugin("junitxml"), "xml_key", None)
    return None if key is None else config.stash.get(key, None)


def _id(item: pytest.Item) -> Any:
    # An object of its own since 9.2, the node id as a string before.
    return getattr(item, "id", item.nodeid)


def _text(captured: str | bytes) -> str:
    if isinstance(captured, bytes):
        return captured.decode("utf-8", "replace")
    return captured


def flush(config: pytest.Config) -> None:
    """
    Write out what is buffered, so that a fork does not write it once more.
    """
    inherited.flush_streams()
    if config.pluginmanager.has_plugin("terminalreporter"):
        inherited.flush(config.get_terminal_writer())
