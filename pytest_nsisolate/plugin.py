"""
The pytest plugin: only hooks, in the order in which pytest calls them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

# The first: all others are imported as it says.
from pytest_nsisolate.compat.plain_import import as_at_the_start

# isort: split
from pytest_nsisolate import hookspecs
from pytest_nsisolate.compat import internal_error
from pytest_nsisolate.linux import at_fork  # noqa: F401 - before others register
from pytest_nsisolate.model import frames
from pytest_nsisolate.model.spec import KEYWORDS
from pytest_nsisolate.reporting import refusals
from pytest_nsisolate.runner import factory_fixtures, roles
from pytest_nsisolate.settings import marker, options
from pytest_nsisolate.settings.options import Options
from pytest_nsisolate.settings.resolve import (
    asks,
    is_host_flavour,
    lacks_sandbox,
    refuse_called_early,
    resolve_spec,
)

if TYPE_CHECKING:
    from pytest_nsisolate.settings.isolation import Isolation

# ruff: noqa: PLC0415 - what few sessions need is imported late


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    form: str | None = config.getoption("nsisolate_doctor")
    if form is None:
        return None
    with as_at_the_start():
        from pytest_nsisolate.diagnosis import doctor

    return doctor.run(form)


def pytest_configure(config: pytest.Config) -> None:
    arguments = ", ".join(f"{one.name}=None" for one in KEYWORDS)
    for name in marker.NAMES:
        config.addinivalue_line(
            "markers",
            f"{name}({arguments}): run the test in Linux namespaces of its own; see "
            "pytest-nsisolate",
        )
    chosen = config.stash[options.key] = Options.of(config)
    register = config.pluginmanager.register
    roles.begin(config)
    register(refusals.Marks(), "nsisolate-refusal-marks")
    # With pytest-xdist, the process that has the terminal sees the reports of all.
    if not hasattr(config, "workerinput"):
        register(refusals.Summary(), "nsisolate-refused")
    if chosen.flavours:
        with as_at_the_start():
            from pytest_nsisolate.reporting import differences
            from pytest_nsisolate.settings import flavours

        register(flavours.Copies(chosen.flavours), "nsisolate-flavours")
        if len(chosen.flavours) > 1:
            register(differences.Table(chosen.flavours), "nsisolate-differences")
    if "beside" in chosen.flavours:
        with as_at_the_start():
            from pytest_nsisolate.runner import jobs

        jobs.refuse_one(config)
        register(flavours.Blocks(chosen.flavours), "nsisolate-blocks")
    if chosen.leaks_asked:
        with as_at_the_start():
            from pytest_nsisolate.reporting import leak_policy

        register(leak_policy.Table(), "nsisolate-left")
    if chosen.defaults.watches_files():
        with as_at_the_start():
            from pytest_nsisolate.reporting import leak_policy

        register(leak_policy.Files(), "nsisolate-files")
    if chosen.usage is not None:
        with as_at_the_start():
            from pytest_nsisolate.reporting import usage

        register(usage.Table(chosen.usage), "nsisolate-used")
    if chosen.timeline is not None:
        with as_at_the_start():
            from pytest_nsisolate.reporting import timeline, witness

        page = config.stash[witness.key] = timeline.Timeline(config, chosen.timeline)
        register(page, "nsisolate-timeline")
    register(factory_fixtures, "nsisolate-factory")


def pytest_report_header(config: pytest.Config) -> str | None:
    return _header(config) if _is_in_header(config) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    chosen = config.stash[options.key]
    if chosen.off:
        return
    with as_at_the_start():
        from pytest_nsisolate.runner import remote

    remote.load_there(config)
    if chosen.jobs == 1:
        return
    with as_at_the_start():
        from pytest_nsisolate.runner import jobs
        from pytest_nsisolate.runner.durations import Durations

    # The processes that run tests do not see the reports of others.
    if jobs.number_of_jobs(config) > 1:
        config.pluginmanager.register(Durations(config), "nsisolate-durations")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - of pytest-xdist
    chosen = node.config.stash[options.key]
    if chosen.off:
        return
    with as_at_the_start():
        from pytest_nsisolate.runner import remote

    remote.require(node)
    if chosen.jobs == 1:
        return
    with as_at_the_start():
        from pytest_nsisolate.runner import jobs

    jobs.tell(node)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: Iterable[pytest.Item]
) -> None:
    marker.check(config, items)
    if "beside" in config.stash[options.key].flavours:
        from pytest_nsisolate.runner import jobs

        # A conftest file that was loaded meanwhile may be a reason for one job.
        jobs.refuse_one(config)


def pytest_collection_finish(session: pytest.Session) -> None:
    refuse_called_early(session)


def pytest_report_collectionfinish(
    config: pytest.Config, items: Sequence[pytest.Item]
) -> str | None:
    is_silent = config.get_verbosity() < 0 or _is_in_header(config)
    return None if is_silent or not _may_isolate(config, items) else _header(config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    if _may_isolate(session.config, session.items):
        # Before any test: it and the integrations watch what is set up for tests on the
        # host, which isolated ones may borrow.
        roles.supervisor_of(session.config)


def _may_isolate(config: pytest.Config, items: Iterable[pytest.Item]) -> bool:
    """
    Say whether one of *items* asks for isolation, or a plugin's hook may do so for it.
    """
    if _only_lists(config) or config.stash[options.key].off:
        return False
    return bool(config.hook.pytest_nsisolate_spec.get_hookimpls()) or any(
        map(asks, items)
    )


def _is_in_header(config: pytest.Config) -> bool:
    """
    Say whether the line stands there, and not below the number of tests.
    """
    chosen = config.stash[options.key]
    is_told = chosen.off or chosen.every or config.get_verbosity() > 0
    return is_told and not _only_lists(config)


def _only_lists(config: pytest.Config) -> bool:
    """
    Say whether the session collects tests and runs none.
    """
    listing = ("collectonly", "showfixtures", "show_fixtures_per_test")
    return any(config.getoption(name, default=False) for name in listing)


def _header(config: pytest.Config) -> str:
    chosen = config.stash[options.key]
    if chosen.off:
        return "nsisolate: off, isolated tests run on the host (--no-nsisolate)"
    with as_at_the_start():
        from pytest_nsisolate.runner import jobs
        from pytest_nsisolate.settings import header

    line = header.line(chosen, roles.supervisor_of(config).scheduler.pool)
    return line + jobs.words(config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> object:
    config = item.config
    if roles.guest_key in config.stash:
        # In a guest, pytest's own protocol runs the test.
        return None
    if roles.supervisor_key not in config.stash and resolve_spec(item) is None:
        return None
    supervisor = roles.supervisor_of(config)
    from pytest_nsisolate.guest.entry import InFork

    try:
        return supervisor.run(item, nextitem) or None
    except InFork as forked:
        fork = forked.with_traceback(None)
    try:
        guest, inside = supervisor.become(fork)
    except BaseException as error:  # noqa: BLE001 - this process must not go on as pytest
        fork.fail(error)
    config.stash[roles.guest_key] = guest
    del config.stash[roles.supervisor_key]
    return inside.live(guest.run)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    if roles.guest_key not in item.config.stash and lacks_sandbox(item):
        # Another plugin has begun to run it. Here it would pass on the host.
        raise refusals.on_host(item, is_late=resolve_spec(item) is None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[object]) -> None:
    if call.excinfo is not None:
        frames.cut_callers(call.excinfo.value)


@pytest.fixture
def isolation(request: pytest.FixtureRequest) -> Isolation:
    """
    Isolate the test, and say which namespaces it is in: an `Isolation`.
    """
    guest = request.config.stash.get(roles.guest_key, None)
    if guest is not None:
        return guest.isolation()
    with as_at_the_start():
        from pytest_nsisolate.settings.isolation import came_too_late, isolation_by

    if not request.config.stash[options.key].off and not is_host_flavour(request.node):
        pytest.fail(str(came_too_late(request.node.name)), pytrace=False)
    return isolation_by((), os.getpid())


@pytest.hookimpl(tryfirst=True)
def pytest_internalerror(
    excrepr: object, excinfo: pytest.ExceptionInfo[BaseException]
) -> None:
    if frames.cut_callers(excinfo.value):
        internal_error.renew_text(excrepr, excinfo.value)


@pytest.hookimpl(tryfirst=True)
def pytest_keyboard_interrupt(
    excinfo: pytest.ExceptionInfo[BaseException],
) -> None:
    frames.cut_all_callers(excinfo.value)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    supervisor = session.config.stash.get(roles.supervisor_key, None)
    if supervisor is not None:
        supervisor.end_session()


def pytest_unconfigure(config: pytest.Config) -> None:
    if roles.supervisor_key in config.stash:
        config.stash[roles.supervisor_key].close()
        del config.stash[roles.supervisor_key]
