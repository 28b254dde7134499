"""
pytest-timeout: one time limit for a whole test that runs in two processes.

The plugin sets a timer when a test begins, in the process where it begins. Here that is
the supervisor, where the timer would end the wait for the test and not the test. So for
an isolated test the supervisor has a timer only while it sets up or tears down borrowed
fixtures. The guest has a timer for the rest of the limit, and its handler shows the
stack of the test.

If the guest cannot run that handler, for example because it hangs in a call into C, the
supervisor ends it a little later.

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

from pytest_nsisolate.guest import absent
from pytest_nsisolate.linux.stdlib import time
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.settings.marker import BadMarker
from pytest_nsisolate.settings.resolve import resolve_spec

#: How long the guest's own timer may be overdue, in seconds.
GRACE = 2.0

#: Title of the section that names the threads.
TITLE = "nsisolate threads"

#: The state of the guest's timer, in a byte that it shares with the supervisor.
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
        self._state: mmap.mmap | None = None
        #: In the guest, whether the limit was hit in a phase that has no report yet.
        self._has_fired = False

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> object:
        if isinstance(settings.timeout, _Limit):
            return None
        if self._inside:
            return self._set_inside(item, settings)
        spec = resolve_spec(item)
        if spec is None or isinstance(spec, BadMarker):
            return None
        if self._state is None:
            self._state = mmap.mmap(-1, 1)
        self._state[0] = _UNSET
        self._item, self._settings = item, settings
        self._deadline = time.monotonic() + settings.timeout
        self._stand_by()
        return True

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> None:
        if self._inside:
            self._tell(_CANCELLED, unless=_OVER)
        elif item is self._item and not self._own:
            # The test is over or has failed, and the plugin lifts the limit.
            self._item = None
            _stop_alarm()

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(self) -> None:
        if self._inside:
            self._tell(_OVER)

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
        # The clock inside may be ahead of that by which the deadline was set.
        shifts: Any = spec.time or ()
        self._deadline += dict(shifts).get("monotonic", 0)
        plugin: Any = sys.modules.get("pytest_timeout")
        for name in ("timeout_sigalrm", "timeout_timer"):
            if hasattr(plugin, name):
                setattr(plugin, name, self._telling(getattr(plugin, name)))

    def _set_inside(self, item: pytest.Item, settings: Any) -> object:
        self._tell(_ARMED)
        if item is not self._item or settings.func_only:
            return None
        return self._set(item, self._settings, self._left())

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
        assert self._state is not None
        state = self._state[0]
        return state == _OVER or (state == _ARMED and self._left() <= 0)

    def _tell(self, state: int, unless: int | None = None) -> None:
        if self._state is not None and self._state[0] != unless:
            self._state[0] = state

    def _telling(self, function: Callable[..., None]) -> Callable[..., None]:
        def fire(item: pytest.Item, settings: Any) -> None:
            __tracebackhide__ = True
            self._tell(_OVER)
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
        if self._state is not None and self._state[0] == _ARMED and self._left() <= 0:
            _stop_alarm()
            message = sys.modules["pytest_timeout"].PYTEST_FAILURE_MESSAGE
            # The guest was forked from this process, which has them.
            lines = [message % self._settings.timeout, absent.sentence(absent.others())]
            pytest.fail("\n".join(filter(None, lines)), pytrace=False)


def _stop_alarm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
