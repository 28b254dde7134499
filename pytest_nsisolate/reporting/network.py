"""
The network of a test with ``net=True``, named where the test fails to reach something.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Generator, Iterable
from typing import get_args

import pytest

from pytest_nsisolate.compat import fixtures
from pytest_nsisolate.model.chain import attribute, chain
from pytest_nsisolate.model.spec import Scope

#: Title of the section in the report of a phase that failed to reach something.
TITLE = "nsisolate network"

#: What the kernel answers where nothing listens, or where there is no way or no such
#: address. Source: connect(2), bind(2), ip(7).
_ANSWERS = (
    errno.ECONNREFUSED,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EADDRNOTAVAIL,
    errno.ENETDOWN,
)

#: The same as text: exceptions of clients written in C have nothing else, nor has the
#: one in which asyncio joins those of several addresses.
_TEXTS = (
    *[os.strerror(number) for number in _ANSWERS],
    *[f"[Errno {number}]" for number in _ANSWERS],
    # Of getaddrinfo(3), which Python does not give without making it fail.
    "Temporary failure in name resolution",
    "Name or service not known",
)


def watch(config: pytest.Config, outside: Iterable[pytest.FixtureDef[object]]) -> None:
    """
    In a guest with ``net=True``: add the section to the reports from here on.

    Args:
        config: The configuration of the session.
        outside: The fixtures that the supervisor has set up.
    """
    # Registered here and not in the supervisor: most tests have no network of their
    # own.
    config.pluginmanager.register(Watch(outside), "nsisolate-network")


class Watch:
    """
    The plugin in a guest that adds the section.

    Args:
        outside: The fixtures that the supervisor has set up.
    """

    def __init__(self, outside: Iterable[pytest.FixtureDef[object]]) -> None:
        self._outside = {
            one.argname: (label, one.scope)
            for one in outside
            if (label := _label(one)) is not None
        }

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """
        Add the section, if *call* failed to reach something.
        """
        report = yield
        if (
            report.failed
            and call.excinfo is not None
            and any(map(_is_unreachable, chain(call.excinfo.value)))
        ):
            report.sections.append((TITLE, self._explain(item)))
        return report

    def _explain(self, item: pytest.Item) -> str:
        """
        Return the lines about *item*, whose network is its own.
        """
        own = (
            "net=True of the marker: the test has a network of its own, from which "
            "nothing outside can be reached"
        )
        names = fixtures.requested(item)
        used = [self._outside[name] for name in names if name in self._outside]
        if not used:
            return own
        listed = ", ".join(f"{label} ({scope})" for label, scope in used)
        widest = max((scope for _, scope in used), key=get_args(Scope).index)
        fix = (
            "start the server in a fixture of function scope, or write "
            f'@pytest.mark.isolated(net=True, scope="{widest}")'
        )
        return f"{own}\nset up outside: {listed}\nfix: {fix}"


def _label(fixturedef: pytest.FixtureDef[object]) -> str | None:
    """
    Return what to call *fixturedef*; None if it is of pytest or has not been set up.
    """
    result = fixturedef.cached_result
    if result is None or result[2] is not None:
        return None
    label = fixtures.label(fixturedef)
    # A callable object may have no module.
    module = str(getattr(fixturedef.func, "__module__", None))
    is_own = label == fixturedef.argname and module.partition(".")[0] == "_pytest"
    return None if is_own else label


def _is_unreachable(error: BaseException) -> bool:
    """
    Say whether *error* may come from a network in which something is missing.
    """
    if attribute(error, "errno") in _ANSWERS:
        return True
    # Names are resolved by servers, which are outside.
    if isinstance(error, socket.gaierror | socket.herror):
        return True
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - whatever an exception's __str__ raises
        return False
    return any(one in text for one in _TEXTS)
