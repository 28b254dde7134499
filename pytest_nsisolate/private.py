"""
The one module that imports ``_pytest``.

Each use says since which version it has been as it is used here, and what public API
would take its place.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

# Since 4.6. Public would be: session.testsuite_properties and item.xml_attributes.
from _pytest.junitxml import xml_key

# Since 3.0. Public would be: a hook that runs one phase and returns its report.
from _pytest.runner import call_and_report

# Since 6.1. Public would be: an attribute of the item.
from _pytest.skipping import Xfail, xfailed_key

if TYPE_CHECKING:
    # Since 3.2. Public would be: read_global_capture() on a documented plugin.
    from _pytest.capture import CaptureManager

    # Since 7.0. Public would be: session.setup_state.
    from _pytest.runner import SetupState


#: A record that cannot be formatted, which shows as its heading.
_NO_TEXT: dict[str, object] = {"msg": "%d", "args": ("",)}

_kept = pytest.StashKey["list[object]"]()


def run_phase(
    item: pytest.Item, when: Literal["setup", "teardown"], **kwargs: object
) -> pytest.TestReport:
    """
    Run the hooks of a phase of *item* and return the report, which is not logged.

    Args:
        item: Whose phase.
        when: Which.
        kwargs: *nextitem* for teardown.
    """
    return call_and_report(item, when, log=False, **kwargs)


def fill_wide_fixtures(item: pytest.Item) -> None:
    """
    Set up the fixtures of *item*.

    A `pytest_fixture_setup` must `pass_over` those that hang on *item*: pytest walks
    through them all the same, so that also what only an overriding fixture requests is
    found, in pytest's own order.
    """
    # Since 7.0: items with fixtures have these two. Public would be:
    # request.setup_wider_fixtures().
    request: Any = getattr(item, "_request", None)
    if request is None:
        return
    case = _make_test_case(item)
    for name in getattr(item, "fixturenames", ()):
        request._get_active_fixturedef(name)
    if case:
        vars(item)["_testcase"] = None


def _make_test_case(item: pytest.Item) -> bool:
    """
    Make the instance that fixtures of a `unittest.TestCase` method are bound to.

    Only until 8.1, where setup() makes it, which is left to the guest.
    """
    if "_testcase" not in vars(type(item)) or not isinstance(item, pytest.Function):
        return False
    maker: Any = item.parent
    vars(item)["_testcase"] = maker.obj(item.name)
    return True


def tears_down_all(session: pytest.Session) -> bool:
    """
    Say whether the teardown of a test is that of everything, as the session is to end.
    """
    # pytest's changelog, 8.2.0: issue 11706.
    ends = bool(session.shouldstop or session.shouldfail)
    return ends and pytest.version_tuple >= (8, 2)


def is_all_set_up(item: pytest.Item) -> bool:
    """
    Say whether *item* needs nothing that is wider than itself to be set up.

    Without looking into what would happen: where that is not plain, say no.
    """
    stack = _stack(item.session)
    if list(stack) != item.listchain()[:-1]:
        return False
    if any(error is not None for _, error in stack.values()):
        return False
    # Since 3.0 on items with fixtures.
    info: Any = getattr(item, "_fixtureinfo", None)
    known = () if info is None else info.name2fixturedefs.values()
    inside = {"function"}
    if item.getparent(pytest.Class) is None:
        inside.add("class")
    return not any(
        one.scope not in inside
        and (one.params is not None or not one.cached_result or one.cached_result[2])
        for fixturedefs in known
        for one in fixturedefs
    )


def pass_over(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> bool:
    """
    Have pytest take *fixturedef* for set up, with a value that no one looks at.

    Returns:
        What `pytest_fixture_setup` returns for a fixture that it has set up.
    """
    # Since 2.4; a fixture without it is never finished since 9.0.
    key = fixturedef.cache_key(request)  # type: ignore[arg-type]
    fixturedef.cached_result = (None, key, None)
    return True


def unwind_item(
    item: pytest.Item, passed_over: Iterable[pytest.FixtureDef[object]]
) -> None:
    """
    Take *item* off the stack of what is set up; its collectors stay.

    Its fixtures, which were passed over, are not finished: they have not begun.
    """
    _stack(item.session).pop(item)
    for fixturedef in passed_over:
        fixturedef.cached_result = None
        fixturedef._finalizers.clear()


def forget_borrowed(session: pytest.Session) -> None:
    """
    In a guest: let its teardown finalise only what it sets up itself.

    What the supervisor has set up is finalised there, once. Its finalizers are kept:
    with the last reference to a generator its ``finally`` would run here.
    """
    state = _setup_state(session)
    # Hooks get to know which test comes next, but nothing is kept for it here.
    tear_down = state.teardown_exact
    vars(state)["teardown_exact"] = lambda _: tear_down(None)
    kept = session.stash.setdefault(_kept, [])
    for finalizers, _ in state.stack.values():
        kept += finalizers
        finalizers.clear()
    if pytest.version_tuple < (8, 2):
        # Each request for a fixture, and not only the first, schedules its end there.
        manager: Any = session._fixturemanager
        for fixturedefs in manager._arg2fixturedefs.values():
            for fixturedef in fixturedefs:
                kept += fixturedef._finalizers
                fixturedef._finalizers.clear()


def tear_down_rest(session: pytest.Session) -> None:
    """
    Tear down whatever is set up, as at the end of a session.
    """
    _setup_state(session).teardown_exact(None)


def stays_set_up(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """
    Say whether *nextitem* needs every collector that *item* has left set up.
    """
    have = list(_stack(item.session))
    need = nextitem.listchain() if nextitem is not None else []
    return have == need[: len(have)]


def refresh_request(item: pytest.Item) -> None:
    """
    Have `runtestprotocol` begin with fresh fixture values, as for a rerun.
    """
    # Since 7.0: runtestprotocol() itself does this. Public would be: item.reset().
    if hasattr(item, "_request"):
        item._request = False
        item.funcargs = None  # type: ignore[attr-defined]


def captured_so_far(config: pytest.Config) -> tuple[str, str]:
    """
    Return and forget what has been captured on stdout and stderr.
    """
    manager: CaptureManager | None = config.pluginmanager.get_plugin("capturemanager")
    if manager is None or not manager.is_globally_capturing():
        return "", ""
    out, err = manager.read_global_capture()
    return _text(out), _text(err)


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


def end_current_test_variable() -> None:
    """
    Take ``PYTEST_CURRENT_TEST`` out of the environment, as the end of a test does.
    """
    os.environ.pop("PYTEST_CURRENT_TEST", None)


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
        if handler._when != when:
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
    expected = item.stash.get(xfailed_key, None)
    return expected is not None and expected.run


def stash_of_xfail(*, expected: bool) -> pytest.Stash:
    """
    Return what a test has as its stash that is *expected* to fail, or is not.
    """
    stash = pytest.Stash()
    if expected:
        stash[xfailed_key] = Xfail(reason="", run=True, strict=False, raises=None)
    return stash


def take_xml_additions(
    item: pytest.Item,
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """
    Return and forget what was added for the JUnit XML in this process.

    Returns:
        The attributes that *item* added to itself, and properties of the test suite.
    """
    xml: Any = item.config.stash.get(xml_key, None)
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
    xml: Any = item.config.stash[xml_key]
    xml.node_reporter(_id(item)).attrs.update(attributes)
    xml.global_properties += [(name, value) for name, value in properties]


def _id(item: pytest.Item) -> Any:
    # An object of its own since 9.2, the node id as a string before.
    return getattr(item, "id", item.nodeid)


def _setup_state(session: pytest.Session) -> SetupState:
    return session._setupstate


def _stack(
    session: pytest.Session,
) -> dict[Any, tuple[list[Callable[[], object]], Any]]:
    return _setup_state(session).stack


def _text(captured: str | bytes) -> str:
    if isinstance(captured, bytes):
        return captured.decode("utf-8", "replace")
    return captured
