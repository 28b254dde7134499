"""
The time line of a run, which ``--nsisolate-timeline`` writes as a page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Generator
from typing import Any

import pytest

from pytest_nsisolate.compat import fixtures
from pytest_nsisolate.guest.handle import Guest
from pytest_nsisolate.linux.stdlib import os, time
from pytest_nsisolate.model.errors import Explanation
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.reporting import timeline_page
from pytest_nsisolate.reporting.record import (
    PHASES,
    Fixture,
    Outcome,
    Outside,
    Record,
    Run,
    Stop,
    Why,
    loaded,
)
from pytest_nsisolate.reporting.witness import Witness
from pytest_nsisolate.settings.options import TIMELINE
from pytest_nsisolate.settings.resolve import resolve_spec
from pytest_nsisolate.settings.scopes import node_of, share_of

#: Where a process of pytest-xdist leaves its record for the one that has the terminal.
_LEFT = "nsisolate_timeline"

#: A phase outside that took less, in seconds, and set up and finalised nothing, is not
#: worth a mark.
_SHORT = 0.001


class Timeline(Witness):
    """
    Records the run of a session, and writes the page when it ends.

    In guests its hooks are called too. What they record there ends with the guest.

    Args:
        config: The configuration of the session.
        path: The file to write.
    """

    def __init__(self, config: pytest.Config, path: str) -> None:
        self._config = config
        self._path = path
        self._pid = os.getpid()
        #: What the monotonic clock lacks. Spans on it never overlap by mistake.
        self._epoch = time.time() - time.monotonic()
        self._record = Record(self._now())
        #: Those of the processes of pytest-xdist, and the processes that left none.
        self._others: list[Record] = []
        self._lost: list[str] = []
        #: By the time at which their guests were released, on the monotonic clock.
        self._guests: dict[float | None, Run] = {}
        #: By node id, the latest run whose turn has come.
        self._latest: dict[str, Run] = {}
        #: The test whose turn it is, or was last, and when that came.
        self._item: pytest.Item | None = None
        self._turn = 0.0
        #: Since when no test may start, if so, and why not.
        self._stop: tuple[float, Why, str, str] | None = None
        #: The fixtures that are set up outside.
        self._up: dict[int, object] = {}
        #: When the latest step of a setup or teardown outside was over.
        self._mark = 0.0
        self._error: Explanation | None = None

    def _now(self) -> float:
        return self._epoch + time.monotonic()

    # What the supervisor tells.

    def begin(self, jobs: int) -> None:
        """
        As for `Witness`.
        """
        self._record.jobs = jobs

    def started(self, item: pytest.Item, guest: Guest) -> None:
        """
        As for `Witness`.
        """
        run = self._guests.get(guest.since)
        if run is None:
            self._end_stop(self._now())
            share = share_of(item)
            run = Run(
                item.nodeid,
                kind="guest" if share is None else "shared",
                start=self._epoch + (guest.since or 0.0),
                shares="" if share is None else share.name,
            )
            self._guests[guest.since] = run
            self._record.runs.append(run)
        if item is self._item:
            run.turn, self._latest[item.nodeid] = self._turn, run

    def held(self, guest: Guest) -> None:
        """
        As for `Witness`.
        """
        run = self._guests.get(guest.since)
        if run is not None and run.held is None:
            run.held = self._now()

    def over(self, guest: Guest) -> None:
        """
        As for `Witness`.
        """
        run = self._guests.get(guest.since)
        if run is not None and run.over is None:
            run.over = self._now()

    def none_starts(self, item: pytest.Item | None, shares: Collection[str]) -> None:
        """
        As for `Witness`.
        """
        nodeid = "" if item is None else item.nodeid
        stop = (self._why(item, shares), nodeid, ", ".join(sorted(shares)))
        if self._stop is None or self._stop[1:] != stop:
            now = self._now()
            self._end_stop(now)
            self._stop = (now, *stop)

    def _why(self, item: pytest.Item | None, shares: Collection[str]) -> Why:
        if item is None:
            return "end"
        if shares:
            return "group"
        spec = resolve_spec(item)
        if spec is None:
            return "host"
        if not isinstance(spec, Spec):
            return "marker"
        if spec.alone:
            return "alone"
        return "turn" if spec.nproc is None else "nproc"

    def _end_stop(self, now: float) -> None:
        if self._stop is not None:
            start, why, nodeid, shares = self._stop
            self._record.stops.append(Stop(start, now, why, nodeid, shares))
            self._stop = None

    # What pytest tells.

    def pytest_collection_finish(self) -> None:
        """
        Note that the tests are collected.
        """
        self._record.collected = self._now()

    # Before the supervisor, which runs the test.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """
        Note that it is the turn of *item*.
        """
        self._item, self._turn = item, self._now()
        if self._stop is not None and self._stop[2] == item.nodeid:
            self._end_stop(self._turn)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """
        Note that the turn of a test is over.
        """
        now = self._now()
        run = self._latest.get(nodeid)
        if run is not None and run.over is None:
            run.over = now
        if self._stop is not None and self._stop[2] == nodeid:
            self._end_stop(now)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """
        Note what is set up outside for *item*.
        """
        __tracebackhide__ = True
        start = self._mark = self._now()
        try:
            return (yield)
        finally:
            self._note_outside(start, "setup", item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """
        Note what is finalised outside after *item*.
        """
        __tracebackhide__ = True
        start = self._mark = self._now()
        try:
            return (yield)
        finally:
            self._note_outside(start, "teardown", item)

    def _note_outside(self, start: float, phase: str, item: pytest.Item) -> None:
        now, made = self._now(), self._record.fixtures
        if resolve_spec(item) is None:
            return
        if now - start >= _SHORT or (made and made[-1].stop >= start):
            self._record.outside.append(Outside(start, now, phase, item.nodeid))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        """
        Note the setup of a fixture that is wider than the guest of the test.
        """
        __tracebackhide__ = True
        item = self._item
        if item is None or not _is_outside(item, request):
            return (yield)
        start = self._now()
        try:
            return (yield)
        finally:
            self._up[id(fixturedef)] = fixturedef
            self._note_fixture(start, "set up", fixturedef, item)

    def pytest_fixture_post_finalizer(
        self, fixturedef: pytest.FixtureDef[object]
    ) -> None:
        """
        Note that a fixture, if it was set up outside, has been finalised.
        """
        # pytest may call it when there was nothing to finalise.
        if self._up.pop(id(fixturedef), None) is not None and self._item is not None:
            self._note_fixture(self._mark, "finalised", fixturedef, self._item)

    def _note_fixture(
        self,
        start: float,
        action: Any,  # noqa: ANN401 - one of two words
        fixturedef: pytest.FixtureDef[object],
        item: pytest.Item,
    ) -> None:
        self._mark = self._now()
        name, scope = fixtures.label(fixturedef), fixturedef.scope
        self._record.fixtures.append(
            Fixture(start, self._mark, action, name, scope, item.nodeid)
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Note when a phase began and ended, and what became of the test.
        """
        run, item = self._latest.get(report.nodeid), self._item
        if item is not None and item.nodeid == report.nodeid:
            if run is None or run.turn != self._turn:
                # It has no guest.
                is_host = resolve_spec(item) is None
                kind: Any = "host" if is_host else "none"
                run = Run(report.nodeid, kind, self._turn, turn=self._turn)
                self._record.runs.append(run)
                self._latest[report.nodeid] = run
        elif run is None:
            # With pytest-xdist, of another process, which records it itself.
            return
        # That of a subtest is about a part of the call.
        if type(report) is pytest.TestReport and report.when in PHASES:
            # By the other clock, which may have been set meanwhile.
            ahead = time.time() - self._now()
            phase = (report.when, report.start - ahead, report.stop - ahead)
            run.phases.append(phase)
        outcome = _outcome(report)
        if _WEIGHT[outcome] >= _WEIGHT[run.outcome]:
            run.outcome = outcome

    # The innermost: it is over before the terminal's summary, and comes after all that
    # the supervisor reports at the end.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, Any, Any]:
        """
        Write the page, whatever has ended the session.
        """
        try:
            return (yield)
        finally:
            # A test may have forked pytest.
            if os.getpid() == self._pid:
                self._finish()

    def _finish(self) -> None:
        own = self._record
        own.end = self._now()
        self._end_stop(own.end)
        left: Any = getattr(self._config, "workeroutput", None)
        if left is not None:
            own.process = str(getattr(self._config, "workerinput")["workerid"])  # noqa: B009
            left[_LEFT] = own.dumped()
            return
        records = [own, *self._others] if own.runs or not self._others else self._others
        text = timeline_page.page(own, records, self._lost)
        try:
            _write(self._path, text)
        except OSError as error:
            self._error = Explanation(
                what=f"cannot write {self._path}: {error.strerror}",
                why="it could be written when the session began",
                fix=f"write {TIMELINE}/tmp/timeline.html",  # noqa: S108 - for people
            )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - of pytest-xdist
        """
        Take the record of a process of pytest-xdist, which has ended.
        """
        text = getattr(node, "workeroutput", {}).get(_LEFT)
        if text is None:
            self._lost.append(node.gateway.id)
        else:
            self._others.append(loaded(text))

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """
        Say where the page is.
        """
        if self._error is not None:
            terminalreporter.section("time line", red=True)
            terminalreporter.write_line(str(self._error))
        else:
            terminalreporter.write_line(f"time line: {self._path}")


def _is_outside(item: pytest.Item, request: pytest.FixtureRequest) -> bool:
    """
    Say whether the fixture of *request* is wider than the sandbox of *item*.
    """
    if resolve_spec(item) is None:
        return request.scope != "function"
    return node_of(item) not in request.node.listchain()


#: The heavier outcome of two reports is that of the test.
_WEIGHT: dict[Outcome, int] = {
    "dropped": 0,
    "passed": 1,
    "rerun": 2,
    "skipped": 2,
    "xfailed": 2,
    "xpassed": 2,
    "error": 3,
    "failed": 4,
}


def _outcome(report: pytest.TestReport) -> Outcome:
    is_expected = hasattr(report, "wasxfail")
    if report.outcome == "passed":
        return "xpassed" if is_expected else "passed"
    if report.outcome == "skipped":
        return "xfailed" if is_expected else "skipped"
    if report.outcome == "failed":
        return "failed" if report.when == "call" else "error"
    return "rerun"


def _write(path: str, text: str) -> None:
    """
    Write *text* to the file at *path*: all of it, or nothing.
    """
    draft = f"{path}.{os.urandom(4).hex()}.tmp"
    try:
        # As any file that is new, so not by the module tempfile.
        with open(draft, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
