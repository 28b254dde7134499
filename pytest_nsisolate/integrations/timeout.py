"""
pytest-timeout: one time limit for a whole test that runs in two processes.

The plugin sets a timer when a test begins, in the process where it begins. Here that is
the supervisor, where the timer would end the wait for the test and not the test. So for
an isolated test the supervisor has a timer only while it sets up or tears down borrowed
fixtures. The guest has a timer for the rest of the limit, and its handler shows the
stack of the test.

If the guest cannot run that handler, for example because it hangs in a call into C, the
supervisor ends it a little later.

A test that runs before its turn has the whole limit, from its start. While it waits for
its turn, its timer stands still.

In each case the threads of pytest are named that do not exist in the guest, since the
test may have waited for one of them.
"""

from __future__ import annotations

import contextlib
import mmap
import signal
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from pytest_nsisolate.guest import absent, standstill
from pytest_nsisolate.linux.stdlib import time
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.settings.marker import BadMarker
from pytest_nsisolate.settings.resolve import resolve_spec
from pytest_nsisolate.settings.scopes import NONE, number_of

#: How long the guest's own timer may be overdue, in seconds.
GRACE = 2.0

#: Title of the section that names the threads.
TITLE = "nsisolate threads"

#: The state of the timer of a test's guest, in a byte that it shares with the
#: supervisor.
_UNSET, _ARMED, _CANCELLED, _OVER = range(4)


class _Limit(float):
    """
    The rest of a limit, which the plugin's message shows as the whole limit.
    """

    whole: object

    def __str__(self) -> str:
        return str(self.whole)


class Integration:
    """
    Applies the limit of a test to the supervisor and the guest together.
    """

    def __init__(self) -> None:
        self._item: pytest.Item | None = None
        self._settings: Any = None
        self._deadline = 0.0
        self._inside = False
        #: Whether this object itself is calling a hook of the plugin.
        self._own = False
        #: One for each test, in the order of the session, and one for all others.
        self._states: mmap.mmap | None = None
        #: In the guest, whether the limit was hit in a phase that has no report yet.
        self._has_fired = False
        #: In a guest whose timer is the plugin's own, the test, its settings and when
        #: it is over.
        self._own_timer: tuple[pytest.Item, Any, float] | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        if self._states is None:
            # Before the first fork.
            self._states = mmap.mmap(-1, len(item.session.items) + 1)

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> object:
        if isinstance(settings.timeout, _Limit):
            return None
        if self._inside:
            return self._set_inside(item, settings)
        spec = resolve_spec(item)
        if spec is None or isinstance(spec, BadMarker):
            return None
        if self._state_of(item) != _ARMED:
            # It has not started before its turn.
            self._tell(item, _UNSET)
        self._item, self._settings = item, settings
        self._deadline = time.monotonic() + settings.timeout
        self._stand_by()
        return True

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> None:
        if self._inside:
            if not self._own:
                self._own_timer = None
                self._tell(item, _CANCELLED, unless=_OVER)
        elif item is self._item and not self._own:
            # The test is over or has failed, and the plugin lifts the limit.
            self._item = None
            _stop_alarm()

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector) -> None:
        if self._inside and isinstance(node, pytest.Item):
            self._tell(node, _OVER)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        line = absent.sentence(absent.left_behind())
        if self._has_fired and report.failed and line:
            report.sections.append((TITLE, line))
        self._has_fired = False
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        with self._limited(item):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        with self._limited(item):
            return (yield)

    @pytest.hookimpl
    def pytest_nsisolate_enter(self, spec: Spec) -> None:
        self._inside = True
        standstill.stops.append(self._stop)
        # The clock inside may be ahead of that by which the deadline was set.
        shifts: Any = spec.time or ()
        self._deadline += dict(shifts).get("monotonic", 0)
        plugin: Any = sys.modules.get("pytest_timeout")
        for name in ("timeout_sigalrm", "timeout_timer"):
            if hasattr(plugin, name):
                setattr(plugin, name, self._telling(getattr(plugin, name)))

    def _set_inside(self, item: pytest.Item, settings: Any) -> object:
        self._tell(item, _ARMED)
        if item is not self._item or settings.func_only:
            self._own_timer = item, settings, time.monotonic() + settings.timeout
            return None
        return self._set(item, self._settings, self._left())

    def _stop(self) -> Callable[[], object]:
        """
        Stop the timer in a thread, if there is one; return what starts it again.
        """
        if (
            self._own_timer is None
            or self._own_timer[1].method != "thread"
            # It is over, and its thread waits here before it shows the stacks.
            or self._has_fired
        ):
            return lambda: None
        item, settings, end = self._own_timer
        left = end - time.monotonic()
        self._own = True
        item.config.hook.pytest_timeout_cancel_timer(item=item)
        self._own = False

        def start() -> None:
            self._own_timer = item, settings, time.monotonic() + left
            self._set(item, settings, left)

        return start

    def _set(self, item: pytest.Item, settings: Any, left: float) -> object:
        # Zero would mean no limit.
        limit = _Limit(max(left, 0.001))
        limit.whole = settings.timeout
        return item.config.hook.pytest_timeout_set_timer(
            item=item, settings=settings._replace(timeout=limit)
        )

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    @contextlib.contextmanager
    def _limited(self, item: pytest.Item) -> Generator[None, None, None]:
        """
        In the supervisor: limit the time spent on *item* here.
        """
        if self._inside or item is not self._item or self._is_over():
            yield
            return
        self._set(item, self._settings, self._left())
        try:
            yield
        finally:
            self._own = True
            try:
                item.config.hook.pytest_timeout_cancel_timer(item=item)
            finally:
                self._own = False
            if item is self._item:
                self._stand_by()

    def _is_over(self) -> bool:
        """
        Return whether the limit no longer applies: it was hit, or the test failed.
        """
        state = self._state_of(self._item)
        return state == _OVER or (state == _ARMED and self._left() <= 0)

    def _tell(self, item: pytest.Item, state: int, unless: int | None = None) -> None:
        if self._states is not None and self._state_of(item) != unless:
            self._states[self._place_of(item)] = state

    def _state_of(self, item: pytest.Item | None) -> int:
        return _UNSET if self._states is None else self._states[self._place_of(item)]

    def _place_of(self, item: pytest.Item | None) -> int:
        assert self._states is not None
        number, last = number_of(item), len(self._states) - 1
        return last if number == NONE else min(int(number), last)

    def _telling(self, function: Callable[..., None]) -> Callable[..., None]:
        def fire(item: pytest.Item, settings: Any) -> None:
            __tracebackhide__ = True
            self._tell(item, _OVER)
            self._has_fired = True
            if threading.current_thread() is not threading.main_thread():
                # The method `thread` prints what was captured, and ends the guest.
                line = absent.sentence(absent.left_behind())
                sys.stderr.write(f"{line}\n" if line else "")
            function(item, settings)

        return fire

    def _stand_by(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, max(self._left(), 0) + GRACE, GRACE)

    def _look(self, *_: object) -> None:
        """
        End the test if its guest has not done so in time.
        """
        __tracebackhide__ = True
        if self._state_of(self._item) == _ARMED and self._left() <= 0:
            _stop_alarm()
            message = sys.modules["pytest_timeout"].PYTEST_FAILURE_MESSAGE
            # The guest was forked from this process, which has them.
            lines = [message % self._settings.timeout, absent.sentence(absent.others())]
            pytest.fail("\n".join(filter(None, lines)), pytrace=False)


def _stop_alarm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
