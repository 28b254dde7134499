"""
The pytest plugin: only hooks, in the order in which pytest calls them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable

import pytest

from pytest_nsisolate import hookspecs, integrations
from pytest_nsisolate.compat import internal_error
from pytest_nsisolate.guest.entry import InGuest
from pytest_nsisolate.model import frames
from pytest_nsisolate.reporting import leak_policy, refusals, usage
from pytest_nsisolate.runner import guest_side, sandbox_factory
from pytest_nsisolate.runner.supervisor import Supervisor
from pytest_nsisolate.settings import flavours, header, marker, options
from pytest_nsisolate.settings.isolation import Isolation, came_too_late, isolation_by
from pytest_nsisolate.settings.marker import isolated
from pytest_nsisolate.settings.options import Options
from pytest_nsisolate.settings.resolve import is_host_flavour

_supervisor = pytest.StashKey[Supervisor]()


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    form: str | None = config.getoption("nsisolate_doctor")
    if form is None:
        return None
    # Few sessions ask for the doctor, and it takes 5 ms.
    from pytest_nsisolate.diagnosis import doctor  # noqa: PLC0415 - see above

    return doctor.run(form)


def pytest_configure(config: pytest.Config) -> None:
    arguments = ", ".join(
        f"{one.name}=None" for one in inspect.signature(isolated).parameters.values()
    )
    for name in ("isolated", "nsisolated"):
        config.addinivalue_line(
            "markers",
            f"{name}({arguments}): run the test in Linux namespaces of its own; see "
            "pytest-nsisolate",
        )
    config.stash[options.key] = Options.of(config)
    config.stash[_supervisor] = Supervisor(config, config.stash[options.key])
    config.pluginmanager.register(refusals.Boxes(), "nsisolate-refused-boxes")
    # With pytest-xdist, the process that has the terminal sees the reports of all.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(refusals.Summary(), "nsisolate-refused")
    if config.stash[options.key].flavours:
        copies = flavours.Copies(config.stash[options.key].flavours)
        config.pluginmanager.register(copies, "nsisolate-flavours")
    if config.stash[options.key].leaks_asked:
        config.pluginmanager.register(leak_policy.Table(), "nsisolate-left")
    number = config.stash[options.key].usage
    if number is not None:
        config.pluginmanager.register(usage.Table(number), "nsisolate-used")
    integrations.register(config)
    config.pluginmanager.register(sandbox_factory, "nsisolate-factory")


def pytest_report_header(config: pytest.Config) -> str:
    supervisor = config.stash[_supervisor]
    return header.line(config.stash[options.key], supervisor.scheduler.pool)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: Iterable[pytest.Item]
) -> None:
    marker.check(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> object:
    supervisor = item.config.stash.get(_supervisor, None)
    if supervisor is None:
        # In a guest, pytest's own protocol runs the test.
        return None
    try:
        return supervisor.run(item, nextitem) or None
    except InGuest as entered:
        inside = entered.with_traceback(None)
    guest = supervisor.become_guest(inside.channel)
    item.config.stash[guest_side.key] = guest
    del item.config.stash[_supervisor]
    return inside.live(guest.run)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[object]) -> None:
    if call.excinfo is not None:
        frames.cut_callers(call.excinfo.value)


@pytest.fixture
def isolation(request: pytest.FixtureRequest) -> Isolation:
    """
    Isolate the test, and say which namespaces it is in: an `Isolation`.
    """
    guest = request.config.stash.get(guest_side.key, None)
    if guest is not None:
        return guest.isolation()
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
    supervisor = session.config.stash.get(_supervisor, None)
    if supervisor is not None:
        supervisor.end_groups()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _supervisor in config.stash:
        config.stash[_supervisor].close()
        del config.stash[_supervisor]
