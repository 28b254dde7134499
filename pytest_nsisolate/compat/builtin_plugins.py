"""
The state of pytest's own plugins: captured output, live logs, directories, counts.

All of it is reached through the plugin manager, and none of it is documented. A comment
at each use says since which version pytest has had that private part in this form, and
which public API could replace it ("Public would be").
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MethodType
from typing import Any, cast

import pytest

from pytest_nsisolate.compat.items import id_of
from pytest_nsisolate.guest import inherited
from pytest_nsisolate.linux.stdlib import os

#: A record that cannot be formatted: only its heading is shown.
_NO_TEXT: dict[str, object] = {"msg": "%d", "args": ("",)}


def captured_so_far(config: pytest.Config) -> tuple[str, str]:
    """
    Return and clear the output captured so far on stdout and stderr.
    """
    # Since 3.2. Public would be: read_global_capture() on a documented plugin.
    manager: Any = config.pluginmanager.get_plugin("capturemanager")
    if manager is None or not manager.is_globally_capturing():
        return "", ""
    out, err = manager.read_global_capture()
    return _text(out), _text(err)


def redirect_capture(
    config: pytest.Config, files: Mapping[str, int], await_turn: Callable[[], None]
) -> None:
    """
    In a guest: capture into *files*, by the name of the stream, from here on.

    The objects that capture keep their descriptors, which become those of the files.

    Args:
        config: The configuration of the session.
        files: Descriptors of the files.
        await_turn: Called before what is written goes past the capture.
    """
    # Since 6.2. Public would be: a hook that opens the files.
    manager: Any = config.pluginmanager.get_plugin("capturemanager")
    capturing = manager._global_capturing
    for name, capture in (("stdout", capturing.out), ("stderr", capturing.err)):
        os.dup2(files[name], capture.tmpfile.fileno(), inheritable=False)
        if capture._state == "started":
            os.dup2(files[name], capture.targetfd)
    disable, suspend = (
        manager.global_and_fixture_disabled,
        manager.suspend_global_capture,
    )

    def global_and_fixture_disabled(_: Any) -> Any:
        await_turn()
        return disable()

    def suspend_global_capture(_: Any, in_: bool = False) -> None:  # noqa: FBT001, FBT002 - as in pytest
        if in_:
            # pytest itself does so for a debugger. To read what it captured it leaves
            # the input alone.
            await_turn()
        suspend(in_)

    for own in (global_and_fixture_disabled, suspend_global_capture):
        # A traceback may show them, as arguments.
        own.__qualname__ = f"{type(manager).__qualname__}.{own.__name__}"
        setattr(manager, own.__name__, MethodType(own, manager))


def is_on_terminal(item: pytest.Item) -> bool:
    """
    Return whether pytest writes to a terminal, where a user may want a debugger.
    """
    # Since 2.0. Public would be: an attribute of the documented TerminalReporter.
    reporter = item.config.pluginmanager.get_plugin("terminalreporter")
    return bool(getattr(reporter, "isatty", False))


def basetemp(config: pytest.Config) -> str | None:
    """
    Return the base temporary directory of the session, and make it if necessary.

    Returns:
        None if that fails; pytest itself then gives the reason to those who ask it.
    """
    factory: Any = getattr(config, "_tmp_path_factory", None)
    try:
        return None if factory is None else str(factory.getbasetemp())
    except Exception:  # noqa: BLE001 - for whatever reason
        return None


def kept_paths(config: pytest.Config) -> tuple[str, ...]:
    """
    Return the directories that tests write to for pytest, and outlast their sandboxes.

    That are those of `tmp_path` and of the cache, made if necessary.
    """
    found = (basetemp(config), _cache_directory(config))
    return tuple(path for path in found if path is not None and os.path.isdir(path))


def _cache_directory(config: pytest.Config) -> str | None:
    """
    Return the directory of the cache, and make it if necessary; None: there is none.

    pytest makes it with the first value, which a test may set in its sandbox.
    """
    # Since 3.4. Public would be: an attribute of the documented config.cache.
    cache: Any = getattr(config, "cache", None)
    path: Path | None = getattr(cache, "_cachedir", None)
    if path is None:
        return None
    if not path.is_dir():
        # pytest itself says why it cannot be made, at the end.
        with contextlib.suppress(OSError):
            make = getattr(cache, "_ensure_cache_dir_and_supporting_files", None)
            if make is None:
                # Before 8.2.
                path.mkdir(parents=True)
                make = cache._ensure_supporting_files
            make()
    return str(path)


def redirect_basetemp(config: pytest.Config, ask: Callable[[], str]) -> None:
    """
    In a guest: get the base temporary directory from *ask* and make no new one.
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
    Discard the output and log records captured so far in this phase.
    """
    captured_so_far(config)
    logging_plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    if logging_plugin is not None:
        # Since 3.3. Public would be: caplog.clear() without the fixture.
        logging_plugin.report_handler.reset()


def warn_of_unraisable(config: pytest.Config) -> None:
    """
    Make pytest warn about the unraisable exceptions since its last warning.
    """
    __tracebackhide__ = True
    # Since 8.4; before that, a wrapper of each phase warned. Public would be: a hook
    # for unraisable exceptions.
    plugin = config.pluginmanager.get_plugin("unraisableexception")
    collect = getattr(plugin, "collect_unraisable", None)
    if collect is not None:
        collect(config)


def watchdogs(config: pytest.Config) -> int:
    """
    Return how many threads `faulthandler` has during a test, to dump a traceback later.
    """
    # The ini option has existed since 5.0.
    is_on = config.pluginmanager.has_plugin("faulthandler")
    return int(is_on and float(config.getini("faulthandler_timeout") or 0) > 0)


def redirect_live_log(
    config: pytest.Config, show: Callable[[str | None, str | None], None]
) -> None:
    """
    In a guest: pass each record of the live log to *show* instead of the terminal.

    It gets the phase, for the heading, and the text, or None if the record cannot be
    formatted, for example because its arguments are wrong. The supervisor writes the
    headings, because only it knows what is on the terminal.
    """
    handler = _live_log_handler(config)
    if handler is None:
        return

    def emit(record: logging.LogRecord) -> None:
        try:
            text = handler.format(record)
        except Exception:  # noqa: BLE001 - pytest reports it on capture
            text = None
        show(handler._when, text)

    handler.emit = emit


def show_live_log(config: pytest.Config, when: str | None, text: str | None) -> None:
    """
    Show *text*, the record of a guest from the phase *when*.
    """
    handler = _live_log_handler(config)
    if handler is not None:
        # One heading only, although the supervisor also runs a part of this phase.
        change = type(handler).set_when
        handler.set_when = lambda one: one == handler._when or change(handler, one)
        handler.set_when(when)
        _emit_formatted(handler, text)


def _emit_formatted(handler: Any, text: str | None) -> None:
    """
    Have *handler* write *text*, a record that a guest has formatted.
    """
    formatter, handler.formatter = handler.formatter, logging.Formatter()
    record = {"msg": "%s", "args": (text,)} if text is not None else _NO_TEXT
    handler.emit(logging.makeLogRecord(record))
    handler.formatter = formatter


def redirect_log_file(config: pytest.Config, write: Callable[[str], None]) -> None:
    """
    In a guest: pass each record for the file of ``log_file`` to *write*, as text.

    A file that a hook or a test has given to the plugin since, it writes itself.
    """
    # Since 6.0. Public would be: a hook that writes a record.
    plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    handler = getattr(plugin, "log_file_handler", None)
    if handler is None or handler.baseFilename == os.path.abspath(os.devnull):
        return
    stream, emit_itself = handler.stream, handler.emit

    def emit(record: logging.LogRecord) -> None:
        if handler.stream is not stream:
            emit_itself(record)
            return
        try:
            text = handler.format(record)
        except Exception:  # noqa: BLE001 - pytest reports it on capture
            return
        write(text)

    handler.emit = emit


def write_log_file(config: pytest.Config, text: str) -> None:
    """
    Write *text*, the record of a guest, to the file of ``log_file``.
    """
    plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    if plugin is not None:
        _emit_formatted(plugin.log_file_handler, text)


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
    return 0 if counts is None else counts.get(id_of(item), 0)


def set_failed_subtests(item: pytest.Item, number: int) -> None:
    """
    Make pytest count *number* failed subtests for *item*.
    """
    counts = _failed_subtests(item.config)
    if counts is not None:
        counts[id_of(item)] = number


def _failed_subtests(config: pytest.Config) -> dict[Any, int] | None:
    # Since 9.0. Public would be: an attribute of the report of the test around them.
    plugin = config.pluginmanager.get_plugin("subtests")
    key = getattr(plugin, "failed_subtests_key", None)
    return None if key is None else config.stash.get(key, None)


def may_fail(item: pytest.Item) -> bool:
    """
    Return whether *item* is marked ``xfail`` and still runs.
    """
    expected: Any = item.stash.get(_skipping(item.config).xfailed_key, None)
    return expected is not None and bool(expected.run)


def is_skipped(item: pytest.Item) -> bool:
    """
    Return whether a mark skips *item*, or cannot be evaluated.
    """
    try:
        plugin = _skipping(item.config)
        return plugin is not None and plugin.evaluate_skip_marks(item) is not None
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - a user's condition
        return True


def stash_of_xfail(config: pytest.Config, *, expected: bool) -> pytest.Stash:
    """
    Return a stash like that of a test which is, or is not, *expected* to fail.
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


def writes_xml(config: pytest.Config) -> bool:
    """
    Say whether pytest writes JUnit's XML in this process.
    """
    return _xml(config) is not None


def take_xml_additions(
    item: pytest.Item,
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """
    Return and clear the additions to the JUnit XML that were made in this process.

    Returns:
        The attributes that *item* has added to itself, and the suite's properties.
    """
    xml = _xml(item.config)
    if xml is None:
        return {}, []
    reporter = xml.node_reporter(id_of(item))
    attributes, reporter.attrs = reporter.attrs, {}
    properties, xml.global_properties = xml.global_properties, []
    return attributes, properties


def add_to_xml(
    item: pytest.Item,
    attributes: dict[str, str],
    properties: list[tuple[str, str]],
) -> None:
    """
    Add to the JUnit XML what `take_xml_additions` returned in another process.
    """
    xml = _xml(item.config)
    xml.node_reporter(id_of(item)).attrs.update(attributes)
    xml.global_properties += [(name, value) for name, value in properties]


def _xml(config: pytest.Config) -> Any:
    # Since 4.6. Public would be: session.testsuite_properties and item.xml_attributes.
    key = getattr(config.pluginmanager.get_plugin("junitxml"), "xml_key", None)
    return None if key is None else config.stash.get(key, None)


def _text(captured: str | bytes) -> str:
    if isinstance(captured, bytes):
        return captured.decode("utf-8", "replace")
    return captured


def flush(config: pytest.Config) -> None:
    """
    Write out all buffers, so that a fork does not write their content again.
    """
    inherited.flush_streams()
    if config.pluginmanager.has_plugin("terminalreporter"):
        inherited.flush(config.get_terminal_writer())
