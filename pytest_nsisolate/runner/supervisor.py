"""
The supervisor, which runs each isolated test in six steps.

1. **Resolve**: find out what the test asks for (`Supervisor.run`).
2. **Borrow**: set up the fixtures that are wider than its sandbox (`_borrow`).
3. **Take a guest**: have a fork of pytest enter a sandbox (`_take_guest`).
4. **Listen**: log the reports that the guest sends, until it ends (`_listen`).
5. **Conclude**: report how the guest ended and what it left (`_conclude`).
6. **Tear down**: finalise the borrowed fixtures that the next test does not need, and
   log the report of teardown (`_tear_down`).

If a test is refused, crashes or times out, the steps that no longer apply are left out;
step 6 never is. The methods of `Supervisor` stand in this order.
"""

from __future__ import annotations

import faulthandler
import functools
import gc
from collections.abc import Callable
from contextlib import nullcontext
from pickle import loads
from typing import cast

import pytest

from pytest_nsisolate.compat import builtin_plugins, fixtures, items, setup_state
from pytest_nsisolate.guest import (
    absent,
    deadlock,
    inherited,
    standstill,
    terminal,
)
from pytest_nsisolate.guest.deadline import Deadline
from pytest_nsisolate.guest.entry import InFork, InGuest
from pytest_nsisolate.guest.handle import Guest
from pytest_nsisolate.guest.interrupt import Interrupts
from pytest_nsisolate.guest.messages import TerminalTaken, TestMessage, Texts
from pytest_nsisolate.guest.zygote import InZygote
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
from pytest_nsisolate.reporting import (
    crash,
    interaction,
    leak_policy,
    memory,
    network,
    refusals,
    usage,
    witness,
)
from pytest_nsisolate.reporting import report as reports
from pytest_nsisolate.reporting.refusals import Reason
from pytest_nsisolate.reporting.test_run import TestRun
from pytest_nsisolate.reporting.usage import EndingReporter
from pytest_nsisolate.reporting.witness import Witness
from pytest_nsisolate.runner.borrowing import Borrowing
from pytest_nsisolate.runner.guest_side import GuestSide
from pytest_nsisolate.runner.lanes import Lane
from pytest_nsisolate.runner.relay import Relay
from pytest_nsisolate.runner.scheduler import Errand, Fork, Group, Scheduler
from pytest_nsisolate.runner.surroundings import Surroundings
from pytest_nsisolate.runner.window import is_skippable
from pytest_nsisolate.sandbox.pool import persist
from pytest_nsisolate.settings import directories
from pytest_nsisolate.settings.marker import BadMarker
from pytest_nsisolate.settings.options import Options
from pytest_nsisolate.settings.resolve import keep_spec, resolve_spec
from pytest_nsisolate.settings.scopes import END, node_of, others, share_of


class Supervisor:
    """
    Runs the isolated tests of a session, in pytest's order.

    Args:
        config: The configuration of the session.
        options: The options of the session.
        surroundings: What is noted from the start of the session.
    """

    def __init__(
        self, config: pytest.Config, options: Options, surroundings: Surroundings
    ) -> None:
        self._relay = Relay(config)
        self.borrowing = Borrowing()
        self._interrupts = Interrupts()
        self._witness = config.stash.get(witness.key, Witness())
        self.scheduler = Scheduler(config, self._relay, self._interrupts, self._witness)
        config.pluginmanager.register(self._relay, "nsisolate-relay")
        config.pluginmanager.register(self.borrowing, "nsisolate-borrowing")
        config.pluginmanager.register(setup_state.taker, "nsisolate-taker")
        self._surroundings = surroundings
        self._config = config
        self._options = options
        self._endings = EndingReporter(options)

    def run(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """
        Run *item*, if it asks for isolation. Step 1: resolve what it asks for.

        Args:
            item: The test.
            nextitem: The test that pytest runs next: it decides what is torn down.

        Returns:
            False if the test is one for the host, and has not been run.

        Raises:
            InGuest: In a guest, which so leaves the code of the supervisor.
        """
        self.end_groups(before=item)
        spec = resolve_spec(item)
        if spec is None:
            self.scheduler.quiesce()
            return False
        if isinstance(spec, BadMarker):
            self._refuse(item, nextitem, spec.explanation)
            return True
        if nextitem is not None:
            # Now, before *item* runs, plugins may change what the next test asks for.
            resolve_spec(nextitem)

        def run_once(stays: Callable[[], bool]) -> list[pytest.TestReport]:
            return self._run_once(item, nextitem, spec, stays)

        hook = item.ihook
        if not hook.pytest_nsisolate_repeat(item=item, nextitem=nextitem, run=run_once):
            hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            self._run_once(item, nextitem, spec)
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _refuse(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        explanation: Explanation,
    ) -> None:
        """
        Report an error in the setup of *item*, whose marker is wrong.
        """
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self.scheduler.give_way()
        run = TestRun(item)
        error = crash.refusal(explanation, "fail")
        report = self.borrowing.set_up(item, error, log=run.log)
        if refusals.never_expected(report):
            # pytest tells nobody of a failure that is expected.
            run.log(report, interaction.call_of(error, "setup"))
        run.borrow(report)
        self._tear_down(run, nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _run_once(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        spec: Spec,
        stays: Callable[[], bool] | None = None,
    ) -> list[pytest.TestReport]:
        """
        Run *item* once, in a sandbox for *spec*: steps 2 to 6.

        Args:
            item: The test.
            nextitem: The test that pytest runs next.
            spec: What the test asks for.
            stays: As for `TestRun`.

        Returns:
            With *stays*, the reports of the test, which have not been logged; without
            it, an empty list.
        """
        fixtures.renew_request(item)
        usage.forget(item)
        leak_policy.forget(item)
        run = TestRun(item, stays=stays)
        self._borrow(run, nextitem)
        if run.is_ready:
            try:
                self._run_in_room(run, nextitem, spec)
            except Refused as refused:
                explanation = crash.explain_refusal(item, refused)
                error = crash.refusal(explanation, self._options.unavailable)
                run.refuse(error, Reason.of(refused, explanation))
                self._endings.call_hook(run, NeverStarted(refused), None)
        else:
            self.scheduler.forgo(item)
        self._tear_down(run, nextitem)
        if stays is not None:
            items.keep_sections(item, run.reports)
        return run.reports

    def _borrow(self, run: TestRun, nextitem: pytest.Item | None) -> None:
        """
        Step 2: set up what the test borrows.

        If there is nothing to set up or tear down, no hook is called. The hooks are
        always called for a test that a mark may skip: skipping it here saves the fork.
        """
        item = run.item
        stays = setup_state.stays_set_up(item, nextitem)
        if self.scheduler.has_guest(item):
            if not stays:
                self.scheduler.give_way()
                report = self._set_up_untold(item)
                # What fails or skips the test here will do so again in the guest.
                if report.passed:
                    run.borrow(report)
        elif not (
            stays
            and node_of(item) is item
            and not is_skippable(item)
            and fixtures.is_all_set_up(item)
        ):
            self.scheduler.give_way()
            later = others(item, nextitem)
            run.borrow(self.borrowing.set_up(item, log=run.log, others=later))

    def _run_in_room(
        self, run: TestRun, nextitem: pytest.Item | None, spec: Spec
    ) -> None:
        """
        Take steps 3 to 5; once more without others if there was no room beside them.

        Raises:
            As for `_run_guest`.
        """

        def run_guest() -> None:
            self._run_guest(run, nextitem, spec)

        try:
            persist(run_guest)
        except Refused as refused:
            if not self.scheduler.make_way(run.item, spec, refused):
                raise
            persist(run_guest)
        self.scheduler.confirm(run.item)

    def _run_guest(
        self, run: TestRun, nextitem: pytest.Item | None, spec: Spec
    ) -> None:
        """
        Take a guest, listen to it, and conclude: steps 3 to 5.

        Raises:
            Refused: There is no sandbox for the guest, or the guest never started.
            LauncherGone: Something killed the sandbox before the test began.
            InGuest: In the guest.
        """
        guest = None
        try:
            with self._interrupts:
                guest = self._take_guest(run, nextitem, spec)
                ended = self._listen(run, nextitem, spec, guest)
        except pytest.fail.Exception as error:
            # A signal handler such as pytest-timeout's failed the test in here.
            if guest is None:
                self.scheduler.settle()
            # Before its lane is settled, which then knows nothing of it.
            output = self._output_so_far(guest)
            self.scheduler.settle()
            self._fail(run, str(error), output)
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
        Step 3: return the guest of the test, which has begun to run it.
        """
        # pytest's own watchdog starts again in the guest. Here it would report that
        # pytest waits; and stopping it in a fork hangs, since its thread is not there.
        faulthandler.cancel_dump_traceback_later()
        if spec.has_directories():
            directories.check(spec, run.item)
        guest = self.scheduler.take(run.item, nextitem, spec)
        run.attach(guest, spec.timeout)
        self._witness.started(run.item, guest)
        return guest

    def _listen(
        self,
        run: TestRun,
        nextitem: pytest.Item | None,
        spec: Spec,
        guest: Guest,
    ) -> Ending:
        """
        Step 4: listen to *guest* until it ends, and return how it ended.

        Meanwhile the scheduler may prepare the guest of the next test.
        """
        grace = self._options.grace if spec.is_audited() else None
        others = self.scheduler.beside(run.item, spec, guest)
        following = None if nextitem is None else resolve_spec(nextitem)
        if (
            nextitem is not None
            and isinstance(following, Spec)
            # A process started now would count against this limit of the test.
            and spec.nproc is None
            # The others have been started beside.
            and (others is None or share_of(nextitem) is not None)
        ):
            self.scheduler.prepare_next(run.item, nextitem, following)
        if others is None:
            return guest.listen(run.hear, self._interrupts, run.deadline, grace)
        hear = functools.partial(self._hear, run)
        return guest.listen(hear, self._interrupts, run.deadline, grace, others)

    def _hear(
        self, run: TestRun, message: TestMessage, *, synchronous: bool, texts: Texts
    ) -> str | None:
        """
        Act on *message* as `TestRun.hear`, of a test that others run beside.
        """
        if isinstance(message, TerminalTaken):
            # Whoever types there wants the machine for this test.
            self.scheduler.drain()
        return run.hear(message, synchronous=synchronous, texts=texts)

    def _conclude(
        self,
        run: TestRun,
        nextitem: pytest.Item | None,
        spec: Spec,
        guest: Guest,
        ended: Ending,
    ) -> None:
        """
        Step 5: report how *guest* ended, what it used and what it left.

        Raises:
            Refused: The guest never started.
        """
        item = run.item
        self._witness.over(guest)
        goes_on = self.scheduler.keep(item, nextitem, guest, ended, self._options.grace)
        if isinstance(ended, NeverStarted):
            raise ended.refused
        # A guest that waits for its next test has not ended.
        is_reported = self._endings.is_wanted(item) and not guest.waits
        if is_reported:
            self.scheduler.settle()
            self._endings.add_usage(run, guest)
        self._report_ending(run, guest, ended)
        if spec.is_audited() and not (
            goes_on
            or run.was_interrupted
            or (guest.left is None and ended != Finished())
        ):
            share = share_of(item)
            leak_policy.apply(
                run,
                guest.left,
                spec,
                sharers=None if share is None else share.name,
            )
        if is_reported:
            self._endings.call_hook(run, ended, guest)

    def _report_ending(
        self,
        run: TestRun,
        guest: Guest,
        ended: Finished | Exited | Killed | TimedOut,
    ) -> None:
        """
        Fail the test, unless its *guest* finished and reported every phase.
        """
        match ended:
            case Finished():
                if run.broken is not None or not run.is_complete:
                    self._fail(run, crash.explain_broken(run), {})
            case TimedOut():
                output = self._output_so_far(guest)
                stack = output.pop("faulthandler", "")
                self._fail(
                    run, crash.explain_time_out(run, ended, stack, guest.absent), output
                )
            case Exited() | Killed():
                if run.was_interrupted:
                    return
                if guest.garbled:
                    text = crash.explain_garbled(run, guest.garbled)
                else:
                    text = crash.explain_end(run, ended, guest.process.cpu)
                self._fail(run, text, self._output_so_far(guest))

    def _tear_down(self, run: TestRun, nextitem: pytest.Item | None) -> None:
        """
        Step 6: tear down what *nextitem* does not borrow; log the report of teardown.
        """
        item = run.item
        if not run.is_ready and run.borrowed is not None:
            run.log(run.borrowed)
        run.raise_interruption()
        if setup_state.tears_down_all(item.session):
            self.scheduler.abandon()
            nextitem = None
        if run.runs_again:
            nextitem = item
        if run.holds_report and setup_state.stays_set_up(item, nextitem):
            setup_state.end_current_test_variable()
            run.log_held()
        else:
            self.scheduler.give_way()
            if run.borrowed is None:
                # A failure has just made this test the last one: -x.
                self._set_up_untold(item)
            with self.borrowing.telling(run.complete_teardown):
                # The hook has made the guest's report, and makes no other one.
                silence = run.holds_report and memory.untouched(self._config)
                report = setup_state.run_phase(
                    item, "teardown", silence or nullcontext(), nextitem=nextitem
                )
            run.complete_teardown(report)
        run.stop_session()
        fixtures.refresh_request(item)

    def _fail(self, run: TestRun, text: str, output: dict[str, str]) -> None:
        """
        Fail a test whose guest ended too early: see `TestRun.fail`.
        """
        if run.borrowed is None:
            # Only then has pytest evaluated the marks of the test, such as xfail.
            run.borrow(self._set_up_untold(run.item))
        run.fail(text, crash.without_own_frames(output))

    def _set_up_untold(self, item: pytest.Item) -> pytest.TestReport:
        """
        Set up what *item* borrows; if that fails, the guest tells or has told of it.
        """
        with interaction.untold(self._config):
            return self.borrowing.set_up(item)

    def _output_so_far(self, guest: Guest | None) -> dict[str, str]:
        """
        Return what *guest* printed in the phase in which it ended, by stream.
        """
        out, err = builtin_plugins.captured_so_far(self._config)
        return {"stdout": out, "stderr": err, **self.scheduler.crash_output(guest)}

    def end_groups(self, before: pytest.Item | None = None) -> None:
        """
        End the groups that the test *before* is not in; without a test, all groups.
        """
        if before is None:
            self.scheduler.abandon()
        for group in self.scheduler.groups_without(before):
            self._end_group(group)

    def end_session(self) -> None:
        """
        End all groups, and tell why fewer tests ran side by side than were asked for.
        """
        self.end_groups()
        if self.scheduler.shortage is not None:
            self.scheduler.shortage.tell()

    def _end_group(self, group: Group) -> None:
        """
        End *group*, and report what goes wrong as an error of its last test.
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
            failed = reports.failed_report(item, "teardown", error)
            run.log(failed, interaction.call_of(error, "teardown"))
        elif spec.is_audited():
            leak_policy.apply(run, left, spec, sharers=group.share.name)
        if guest is not None and self._endings.is_wanted(item):
            self.scheduler.settle()
            self._endings.call_hook(run, ended, guest)
        run.log_held()

    def become(self, fork: InFork) -> tuple[GuestSide, InGuest]:
        """
        Turn the supervisor's state into a guest's, and return the guest side.

        Called in a guest, right after it entered its sandbox, and in a zygote, which
        stays in here, while its guests return.

        Args:
            fork: What this process is.
        """
        forking = self.scheduler.forking
        assert forking is not None
        item, sandbox = forking.item, forking.sandbox
        self._become_fork(forking)
        is_shared = node_of(item) is not item
        synchronous = self._relay.synchronous and forking.lane.number is None
        lane = forking.lane
        match fork:
            case InGuest():
                inside = fork
            case InZygote():
                sandbox.close_inherited()
                spec = resolve_spec(item)
                inside, sandbox, errand = fork.serve()
                number, synchronous, own_spec, place = cast("Errand", errand)
                if place is not None:
                    lane = self.scheduler.lane(place)
                item = item.session.items[int(number)]
                if own_spec is not None:
                    spec = loads(own_spec)  # noqa: S301 - from the supervisor
                keep_spec(item, spec)
        if lane.number is not None:
            self._use(lane)
            setup_state.leave_for(item)
            inside.channel.is_early = True
            if builtin_plugins.watchdogs(item.config):
                standstill.stops.append(standstill.stop_watchdog)
        self._relay.begin(item, inside.channel, synchronous=synchronous)
        spec = resolve_spec(item)
        if isinstance(spec, Spec) and spec.memory is not None:
            # What it takes would count.
            inside.hot_pages = None
        if isinstance(spec, Spec) and spec.net:
            network.watch(item.config, self._surroundings.fixtures_within(item.session))
        side = GuestSide(
            item,
            inside.channel,
            self._relay,
            sandbox,
            surroundings=self._surroundings,
            is_shared=is_shared,
            is_early=lane.number is not None,
        )
        return side, inside

    def _become_fork(self, forking: Fork) -> None:
        """
        Drop what is only for the supervisor.
        """
        # All that was made before the fork becomes old, at no cost: a collection of
        # what the test makes then leaves the pages alone that both processes share.
        gc.freeze()
        gc.unfreeze()
        self._interrupts.close()
        self.scheduler.close_inherited()
        if forking.lane.number is None:
            self._use(forking.lane)
        deadlock.take_over(builtin_plugins.watchdogs(self._config))
        self._surroundings.become_guest()
        self._relay.take_over()
        node = node_of(forking.item)
        if node is not forking.item:
            setup_state.forget_within(node, self._surroundings.fixtures_within(node))
        setup_state.forget_borrowed(forking.item.session)
        inherited.forget_multiprocessing()
        inherited.forget_exit_handlers()
        absent.refuse_joins()

    def _use(self, lane: Lane) -> None:
        """
        Keep the output of this guest, or of all guests of this zygote, in *lane*.
        """
        output = lane.crash_output
        output.take_over()
        self._relay.keep_output_in(output)
        if output.files:
            builtin_plugins.redirect_capture(
                self._config, output.files, self._relay.await_turn
            )
            builtin_plugins.redirect_log_file(self._config, self._relay.send_file_log)
        self.scheduler.close_other_lanes(lane)

    def close(self) -> None:
        """
        End every process that the supervisor has started.
        """
        self.end_groups()
        self.scheduler.close()
        self._interrupts.close()
