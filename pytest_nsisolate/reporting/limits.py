"""
The resource limits of a test in pytest: applied in its phases, named when reached.
"""

from __future__ import annotations

import errno
import math
import signal
from collections.abc import Generator

import pytest

from pytest_nsisolate.guest.messages import LimitRefused
from pytest_nsisolate.guest.rlimits import Confinement
from pytest_nsisolate.model.ending import Exited, Killed
from pytest_nsisolate.model.errors import Unlimited
from pytest_nsisolate.model.limits import CPU, MEMORY, NOFILE, NPROC, Limit
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.reporting.chain import attribute, chain
from pytest_nsisolate.settings.resolve import resolve_spec

#: Title of the section in the report of a phase that failed at a limit.
TITLE = "nsisolate limit"

#: The part of the limit that must have been used before it is named. The kernel counts
#: clock ticks, which on a busy machine exceed the time that it reports later.
_PART = 0.25

#: The Python names of calls that start a process.
_STARTERS = frozenset({"fork", "forkpty", "fork_exec", "_fork_exec"}) | {
    "posix_spawn",
    "posix_spawnp",
}


def confine(item: pytest.Item) -> None:
    """
    Apply, in the guest of *item*, its limits in all phases from here on.

    Raises:
        Unlimited: One of them cannot be applied.
    """
    limits = _limits_of(item)
    if limits:
        # Registered here and not in the supervisor: most tests have no limits.
        watch = Watch(Confinement(limits))
        item.config.pluginmanager.register(watch, "nsisolate-limits")


def refusal(error: Unlimited) -> LimitRefused:
    """
    Return *error* as a message to the supervisor.
    """
    return LimitRefused(what=str(error), why=error.why, fix=error.fix)


class Watch:
    """
    The plugin in a guest that applies its limits in each phase.

    Args:
        confinement: The limits, lifted.
    """

    def __init__(self, confinement: Confinement) -> None:
        self._confinement = confinement

    # The innermost wrapper: what other plugins do around a phase is not limited.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        with self._confinement.holding():
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        with self._confinement.holding():
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        with self._confinement.holding():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        # A report of a subtest is made in the middle of a phase.
        with self._confinement.lifted():
            report = yield
        if report.failed and call.excinfo is not None:
            lines = self._name(call.excinfo.value)
            if lines:
                report.sections.append((TITLE, "\n".join(lines)))
        return report

    def _name(self, error: BaseException) -> list[str]:
        """
        Return a line on each limit that may have caused *error*.
        """
        names = {name for one in chain(error) for name in _limits_behind(one)}
        return [
            f"{limit} was reached ({name} is {_in_units(limit, values[name])})"
            for values in [self._confinement.values]
            for name, limit in self._confinement.limits.items()
            if name in names
        ]


def _in_units(limit: Limit, value: int) -> str:
    if limit.name == MEMORY:
        return f"{value} bytes"
    if limit.name == NPROC and value != limit.value:
        others = value - limit.value
        return f"{value}, {others} of them for others in the user namespace"
    return str(value)


def _limits_behind(error: BaseException) -> set[str]:
    """
    Return the names of the limits that may have caused *error*.
    """
    if isinstance(error, MemoryError):
        return {MEMORY}
    if isinstance(error, RuntimeError) and "new thread" in str(error):
        return {NPROC}
    match attribute(error, "errno"):
        case errno.ENOMEM:
            return {MEMORY}
        case errno.EMFILE:
            return {NOFILE}
        case errno.EAGAIN if _was_starting(error):
            return {NPROC}
    return set()


def _was_starting(error: BaseException) -> bool:
    """
    Say whether *error* comes from starting a process: EAGAIN has many sources.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and not _STARTERS.isdisjoint(
        trace.tb_frame.f_code.co_names
    )


def why_killed(item: pytest.Item, ended: Exited | Killed, used: float) -> str | None:
    """
    Say which limit ended the guest of *item*; None if none did.

    Args:
        item: The test.
        ended: How its guest ended.
        used: The processor time of the guest, in seconds.
    """
    limit = next((one for one in _limits_of(item) if one.name == CPU), None)
    if limit is None or not isinstance(ended, Killed):
        return None
    # SIGKILL comes at the hard limit. Source: setrlimit(2), RLIMIT_CPU.
    seconds: dict[int, int] = {
        signal.SIGXCPU: limit.value,
        signal.SIGKILL: limit.value + 1,
    }
    if used < seconds.get(ended.number, math.inf) * _PART:
        return None
    return (
        f"at {limit} the kernel sends this signal ({CPU} is {limit.value}, its hard "
        f"limit {limit.value + 1}), and its guest had used {used:.1f} s"
    )


def _limits_of(item: pytest.Item) -> tuple[Limit, ...]:
    spec = resolve_spec(item)
    return spec.limits() if isinstance(spec, Spec) else ()
