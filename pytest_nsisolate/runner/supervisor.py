"""
The supervisor: runs isolated tests, each in six steps.

Resolve what the test asks for, borrow its wide fixtures, take a guest, listen to it,
conclude, and tear down.
"""

from __future__ import annotations

import faulthandler
import gc
from collections.abc import Callable

import pytest

from pytest_nsisolate.compat import builtin_plugins, fixtures, items, setup_state
from pytest_nsisolate.guest import terminal
from pytest_nsisolate.guest.channel import GuestChannel
from pytest_nsisolate.guest.deadline import Deadline
from pytest_nsisolate.guest.handle import Guest
from pytest_nsisolate.guest.interrupt import Interrupts
from pytest_nsisolate.model.ending import (
    Ending,
    Exited,
    Finished,
    Killed,
    NeverStarted,
    TimedOut,
)
from pytest_nsisolate.model.errors import Explanation, Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.reporting import crash, leak_policy, usage
from pytest_nsisolate.reporting import report as reports
from pytest_nsisolate.reporting.test_run import TestRun
from pytest_nsisolate.reporting.usage import EndingReporter
from pytest_nsisolate.runner.borrowing import Borrowing
from pytest_nsisolate.runner.guest_side import GuestSide
from pytest_nsisolate.runner.relay import Relay
from pytest_nsisolate.runner.scheduler import Group, Scheduler, is_skippable
from pytest_nsisolate.sandbox.pool import persist
from pytest_nsisolate.settings import hidden_paths
from pytest_nsisolate.settings.marker import BadMarker
from pytest_nsisolate.settings.options import Options
from pytest_nsisolate.settings.resolve import resolve_spec
from pytest_nsisolate.settings.scopes import END, node_of, others, share_of


class Supervisor:
    """
    Runs isolated tests, in the order in which pytest has them.

    Args:
        config: The session's.
        options: What the session was asked for.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._relay = Relay(config)
        self.borrowing = Borrowing()
        self.scheduler = Scheduler(config, self._relay)
        config.pluginmanager.register(self._relay, "nsisolate-relay")
        config.pluginmanager.register(self.borrowing, "nsisolate-borrowing")
        self._config = config
        self._options = options
        self._endings = EndingReporter(options)
        self._interrupts = Interrupts()

    def run(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """
        Run the test *item* isolated; say whether that was to be done.

        Args:
            item: The test.
            nextitem: The one that pytest runs next, which decides what is torn down.

        Returns:
            False if the test runs on the host, and nothing was done.

        Raises:
            InGuest: In a guest.
        """
        self.leave(item)
        spec = resolve_spec(item)
        if spec is None:
            self.scheduler.quiesce()
            return False
        if isinstance(spec, BadMarker):
            self._refuse(item, nextitem, spec.explanation)
            return True
        if nextitem is not None:
            # Plugins alter a spec before the test before it runs.
            resolve_spec(nextitem)

        def run_once(stays: Callable[[], bool]) -> list[pytest.TestReport]:
            return self._run_once(item, nextitem, spec, stays)

        hook = item.ihook
        if not hook.pytest_nsisolate_repeat(item=item, nextitem=nextitem, run=run_once):
            hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            self._run_once(item, nextitem, spec)
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _run_once(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        spec: Spec,
        stays: Callable[[], bool] | None = None,
    ) -> list[pytest.TestReport]:
        """
        Run *item* once, in a sandbox for *spec*.

        Args:
            item: The test.
            nextitem: The one that pytest runs next.
            spec: What the test asks for.
            stays: As for `TestRun`.

        Returns:
            Its reports, if *stays* is given; they have not been logged.
        """
        fixtures.renew_request(item)
        usage.forget(item)
        run = TestRun(item, stays=stays)
        self._borrow(run, nextitem)
        if run.is_ready:
            try:
                persist(lambda: self._run_guest(run, nextitem, spec))
            except Refused as refused:
                explanation = crash.explain_refusal(item, refused)
                run.refuse(crash.refusal(explanation, self._options.unavailable))
                self._endings.call_hook(run, NeverStarted(refused), None)
        self._tear_down(run, nextitem)
        if stays is not None:
            items.keep_sections(item, run.reports)
        return run.reports

    def _borrow(self, run: TestRun, nextitem: pytest.Item | None) -> None:
        """
        Set up what the test borrows.

        Where nothing is to be set up nor torn down, this calls no hooks. A test that
        may be skipped has them called, to be skipped without a fork.
        """
        item = run.item
        stays = setup_state.stays_set_up(item, nextitem)
        if self.scheduler.has_guest(item):
            if not stays:
                self.scheduler.settle()
                report = self.borrowing.set_up(item)
                # What fails or skips it here does so inside.
                if report.passed:
                    run.borrow(report)
        elif not (
            stays
            and node_of(item) is item
            and not is_skippable(item)
            and fixtures.is_all_set_up(item)
        ):
            self.scheduler.settle()
            later = others(item, nextitem)
            run.borrow(self.borrowing.set_up(item, log=run.log, others=later))

    def _run_guest(
        self, run: TestRun, nextitem: pytest.Item | None, spec: Spec
    ) -> None:
        """
        Take a guest, listen to it until it has ended, and conclude what came of that.

        Raises:
            Refused: The guest cannot be had, or never started.
            LauncherGone: Its sandbox was killed before the test began.
            InGuest: In the guest.
        """
        guest = None
        try:
            with self._interrupts:
                guest = self._take_guest(run, nextitem, spec)
                ended = self._listen(run, nextitem, spec, guest)
        except pytest.fail.Exception as error:
            # A signal handler, as that of pytest-timeout, ends the test from here.
            self.scheduler.settle()
            self._fail(run, str(error), self._output_so_far())
            if guest is not None:
                self._endings.add_usage(run, guest)
                self._endings.call_hook(run, guest.reap(), guest)
            return
        finally:
            if run.has_terminal:
                terminal.take()
        self._conclude(run, nextitem, spec, guest, ended)

    def _take_guest(
        self, run: TestRun, nextitem: pytest.Item | None, spec: Spec
    ) -> Guest:
        """
        Return the guest of the test, released.
        """
        # pytest's own watchdog is armed anew in the guest; here it would tell of a
        # wait, and to stop it in a fork hangs: its thread is not there.
        faulthandler.cancel_dump_traceback_later()
        if spec.tmpfs is not None:
            hidden_paths.check(spec, run.item)
        guest = self.scheduler.take(run.item, nextitem, spec)
        run.attach(guest, spec.timeout)
        return guest

    def _listen(
        self,
        run: TestRun,
        nextitem: pytest.Item | None,
        spec: Spec,
        guest: Guest,
    ) -> Ending:
        """
        Listen to *guest* until it ends, and return how; prepare the next one meanwhile.
        """
        following = None if nextitem is None else resolve_spec(nextitem)
        # What is started beside a test would count against its limit.
        if nextitem is not None and isinstance(following, Spec) and spec.nproc is None:
            self.scheduler.prepare_next(run.item, nextitem, following)
        grace = None if spec.leaks == "ignore" else self._options.grace
        return guest.listen(run.hear, self._interrupts, run.deadline, grace)

    def _conclude(
        self,
        run: TestRun,
        nextitem: pytest.Item | None,
        spec: Spec,
        guest: Guest,
        ended: Ending,
    ) -> None:
        """
        Report what came of *guest*, and what it has left.

        Raises:
            Refused: It never started.
        """
        item = run.item
        goes_on = self.scheduler.keep(item, nextitem, guest, ended, self._options.grace)
        if isinstance(ended, NeverStarted):
            raise ended.refused
        # A guest that waits for another test has not ended.
        told = self._endings.is_wanted(item) and not guest.waits
        if told:
            self.scheduler.settle()
            self._endings.add_usage(run, guest)
        self._report_ending(run, guest, ended)
        if spec.leaks != "ignore" and not (
            goes_on
            or run.was_interrupted
            or (guest.left is None and ended != Finished())
        ):
            share = share_of(item)
            leak_policy.apply(
                run,
                guest.left,
                fails=spec.leaks == "fail",
                sharers=None if share is None else share.name,
            )
        if told:
            self._endings.call_hook(run, ended, guest)

    def _report_ending(
        self,
        run: TestRun,
        guest: Guest,
        ended: Finished | Exited | Killed | TimedOut,
    ) -> None:
        """
        Report how *guest* ended, unless it finished and the test was reported.
        """
        match ended:
            case Finished():
                if run.broken is not None or not run.is_complete:
                    self._fail(run, crash.explain_broken(run), {})
            case TimedOut():
                output = self._output_so_far()
                stack = output.pop("faulthandler", "")
                self._fail(run, crash.explain_time_out(run, ended, stack), output)
            case Exited() | Killed():
                if run.was_interrupted:
                    return
                if guest.garbled:
                    text = crash.explain_garbled(run, guest.garbled)
                else:
                    text = crash.explain_end(run, ended, guest.process.cpu)
                self._fail(run, text, self._output_so_far())

    def _tear_down(self, run: TestRun, nextitem: pytest.Item | None) -> None:
        """
        Tear down what is borrowed and no longer needed; complete the teardown report.
        """
        item = run.item
        if not run.is_ready and run.borrowed is not None:
            run.log(run.borrowed)
        run.raise_interruption()
        if setup_state.tears_down_all(item.session):
            nextitem = None
        if run.runs_again:
            nextitem = item
        if run.holds_report and setup_state.stays_set_up(item, nextitem):
            setup_state.end_current_test_variable()
            run.log_held()
        else:
            self.scheduler.settle()
            if run.borrowed is None:
                # A failure has just decided that this test is the last: -x.
                self.borrowing.set_up(item)
            with self.borrowing.telling(run.complete_teardown):
                report = setup_state.run_phase(item, "teardown", nextitem=nextitem)
            run.complete_teardown(report)
        run.stop_session()
        fixtures.refresh_request(item)

    def _refuse(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        explanation: Explanation,
    ) -> None:
        """
        Report *item*, which may not run, as an error in its setup.
        """
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self.scheduler.settle()
        run = TestRun(item)
        report = self.borrowing.set_up(item, crash.refusal(explanation, "fail"))
        reports.never_expected(report)
        run.borrow(report)
        self._tear_down(run, nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _fail(self, run: TestRun, text: str, output: dict[str, str]) -> None:
        """
        Report that the guest of a test ended before its time: `TestRun.fail`.
        """
        if run.borrowed is None:
            # For pytest to look at the marks of the test.
            run.borrow(self.borrowing.set_up(run.item))
        run.fail(text, output)

    def _output_so_far(self) -> dict[str, str]:
        """
        Return what a guest has printed in the phase in which it ended, by stream.
        """
        out, err = builtin_plugins.captured_so_far(self._config)
        return {"stdout": out, "stderr": err, **self.scheduler.crash_output()}

    def leave(self, item: pytest.Item | None) -> None:
        """
        End what tests shared that are over, since *item* comes next; without one, all.
        """
        for group in self.scheduler.left_behind(item):
            self._end_group(group)

    def _end_group(self, group: Group) -> None:
        """
        End *group* between two tests, and report what goes wrong as of its last one.
        """
        item = group.last
        spec = resolve_spec(item)
        assert isinstance(spec, Spec)
        run = TestRun(item)
        ended: Ending = Finished()
        guest = None
        with self._interrupts:
            if isinstance(group.kept, Guest):
                guest = self.scheduler.resume(group, END)
                deadline = Deadline(spec.timeout or None)
                grace = self._options.grace
                ended = guest.listen(run.hear, self._interrupts, deadline, grace)
                left = guest.left
            else:
                left = group.kept.audit(self._options.grace)
                self.scheduler.bury(group)
        if ended != Finished() or run.broken:
            text = crash.explain_group(group.share.name, run, ended)
            error = pytest.fail.Exception(text, pytrace=False)
            run.log(reports.failed_report(item, "teardown", error))
        elif spec.leaks != "ignore":
            fails = spec.leaks == "fail"
            leak_policy.apply(run, left, fails=fails, sharers=group.share.name)
        if guest is not None and self._endings.is_wanted(item):
            self.scheduler.settle()
            self._endings.call_hook(run, ended, guest)
        run.log_held()

    def become_guest(self, channel: GuestChannel) -> GuestSide:
        """
        In a guest, whose fork has just gone in: return the object that takes over.

        Args:
            channel: The guest's end of the channel.
        """
        forking = self.scheduler.forking
        assert forking is not None
        item = forking.item
        # All that was made before the fork becomes old, at no cost: a collection of
        # what the test makes then leaves the pages alone that both processes share.
        gc.freeze()
        gc.unfreeze()
        self._interrupts.close()
        self.scheduler.close_inherited()
        crash_output = forking.lane.crash_output
        crash_output.take_over()
        node = node_of(item)
        is_shared = node is not item
        self._relay.take_over(item, channel, crash_output, is_shared=is_shared)
        if is_shared:
            setup_state.forget_within(node, self.borrowing.set_up_within(node))
        return GuestSide(
            item,
            channel,
            self._relay,
            forking.sandbox,
            is_shared=is_shared,
        )

    def close(self) -> None:
        """
        End every process that this has started.
        """
        self.leave(None)
        self.scheduler.close()
        self._interrupts.close()
