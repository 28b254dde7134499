"""
The supervisor's side of isolated tests: gets sandboxes, forks guests, reports.
"""

from __future__ import annotations

import faulthandler
import functools
from collections.abc import Callable
from typing import NoReturn

import pytest

from pytest_nsisolate import (
    account,
    builtin,
    cover,
    crash,
    factory,
    isolation,
    leak_policy,
    private,
    relay,
    terminal,
)
from pytest_nsisolate.borrow import Borrowing
from pytest_nsisolate.conversation import Conversation
from pytest_nsisolate.deadline import Deadline
from pytest_nsisolate.ending import Ending, Finished, NeverStarted
from pytest_nsisolate.entry import Entered, Outlet
from pytest_nsisolate.errors import Explanation, Refused
from pytest_nsisolate.fork import fork_guest
from pytest_nsisolate.groups import Groups
from pytest_nsisolate.guest import Guest
from pytest_nsisolate.inside import Inside
from pytest_nsisolate.interrupt import Interrupts
from pytest_nsisolate.isolation import Isolation
from pytest_nsisolate.options import Options
from pytest_nsisolate.output import flush
from pytest_nsisolate.outside import Outside
from pytest_nsisolate.remains import Remains
from pytest_nsisolate.sandbox import LauncherGone, Sandbox
from pytest_nsisolate.scopes import node_of, share_of
from pytest_nsisolate.spec import Spec
from pytest_nsisolate.succession import Succession
from pytest_nsisolate.untouched import os


class Supervisor:
    """
    Runs isolated tests, one at a time.

    Args:
        config: That of the session.
        options: What the session is asked for.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.succession = Succession(self._fork)
        self.borrowing = Borrowing()
        self._relay = relay.Relay(config)
        config.pluginmanager.register(self._relay, "nsisolate-relay")
        config.pluginmanager.register(self.borrowing, "nsisolate-borrowing")
        #: In a guest, its end of the channel; None in the supervisor.
        self.outlet: Outlet | None = None
        self._identity: str | None = None
        self._has_net = False
        self._options = options
        self._account = account.Account(options)
        self._remains: Remains | None = None
        self._interrupts = Interrupts()
        self.groups = Groups(
            self.succession, self._interrupts, self._account, options.grace
        )
        self._outside = Outside(self.borrowing, self.succession, self.groups)
        self._is_shared = False

    def run(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        spec: Spec,
        next_spec: Spec | None,
    ) -> None:
        """
        Run the test *item* in a sandbox for *spec*.

        Args:
            item: The test.
            nextitem: What pytest runs next, which decides what is torn down.
            spec: What the test asks for.
            next_spec: The same of *nextitem*; its sandbox is made meanwhile.
        """

        def run(stays: Callable[[], bool]) -> list[pytest.TestReport]:
            return self._run_once(item, nextitem, spec, next_spec, stays)

        hook = item.ihook
        if not hook.pytest_nsisolate_repeat(item=item, nextitem=nextitem, run=run):
            hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            self._run_once(item, nextitem, spec, next_spec)
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _run_once(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        spec: Spec,
        next_spec: Spec | None,
        stays: Callable[[], bool] | None = None,
    ) -> list[pytest.TestReport]:
        """
        Run *item* once, and return its reports.

        Args:
            item: As for `run`, as the next three.
            nextitem: The same.
            spec: The same.
            next_spec: The same.
            stays: If given, the reports are not logged, and this says in the end
                whether what is borrowed is to stay, for the test to be run again.
        """
        private.renew_request(item)
        account.forget(item)
        before = private.number_of_sections(item)
        talk = Conversation(item, None, stays=stays, before=before)
        talk.borrowed = self._outside.begin(talk, nextitem)
        if talk.borrowed is None or talk.borrowed.passed:
            try:
                try:
                    self._run_guest(talk, spec, nextitem, next_spec)
                except LauncherGone:
                    # Someone has killed the sandbox before the test began.
                    self._run_guest(talk, spec, nextitem, next_spec)
            except Refused as refused:
                crash.report_refusal(talk, refused, self._options.unavailable)
                self._account.tell(talk, NeverStarted(refused), None)
        self._outside.complete(talk, nextitem)
        if stays is not None:
            private.keep_sections(item, talk.reports)
        return talk.reports

    def refuse(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        explanation: Explanation,
    ) -> None:
        """
        Report *item*, which may not run, as an error in its setup.
        """
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self.succession.settle()
        error = crash.refusal(explanation, "fail")
        report = self.borrowing.set_up(item, error)
        crash.never_expected(report)
        self._outside.complete(Conversation(item, report), nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def live(self, entered: Entered) -> NoReturn:
        """
        In a guest: run its test, and end.
        """
        body = Inside(self._relay)
        entered.live(body.run_tests if self._is_shared else body.run_test)

    def facts(self) -> Isolation:
        """
        Return what this process is isolated by.
        """
        pid = os.getpid() if self.outlet is None else self.outlet.pid_on_host
        return isolation.facts(self._identity, pid, net=self._has_net)

    def close(self) -> None:
        """
        End every process that this has started.
        """
        self.groups.leave(None)
        self.succession.leave_to_host()
        self._interrupts.close()
        if self._remains is not None:
            self._remains.close()

    def _run_guest(
        self,
        talk: Conversation,
        spec: Spec,
        nextitem: pytest.Item | None,
        next_spec: Spec | None,
    ) -> None:
        # Before anything that only a machine with namespaces need have.
        self.succession.pool.require(spec)
        # pytest's own watchdog is armed anew in the guest; here it would tell of a
        # wait, and to stop it in a fork hangs: its thread is not there.
        faulthandler.cancel_dump_traceback_later()
        self._get_remains(talk.item.config).clear()
        process = None
        if spec.tmpfs is not None:
            cover.check(spec, talk.item)
        try:
            with self._interrupts:
                process = self.groups.begin(talk, nextitem)
                talk.deadline = Deadline(spec.timeout or None, process.since)
                # What is started beside a test would count against its limit.
                following = next_spec if spec.nproc is None else None
                if nextitem is not None and following is not None:
                    self.groups.begin_next(talk.item, nextitem, following)
                grace = None if spec.leaks == "ignore" else self._options.grace
                ended = process.talk(talk.hear, self._interrupts, talk.deadline, grace)
        except pytest.fail.Exception as error:
            # A signal handler, as that of pytest-timeout, ends the test from here.
            self.succession.settle()
            crash.report(talk, self.borrowing, str(error), self._output_so_far(talk))
            if process is not None:
                self._account.note(talk, process)
                self._account.tell(talk, process.reap(), process)
            return
        finally:
            if talk.terminal:
                terminal.take()
        goes_on = self.groups.keep(talk, nextitem, process, ended)
        self._conclude(talk, spec, process, ended, goes_on=goes_on)

    def _conclude(
        self,
        talk: Conversation,
        spec: Spec,
        process: Guest,
        ended: Ending,
        *,
        goes_on: bool,
    ) -> None:
        """
        Report what came of the guest *process*, and what it has left.

        Raises:
            Refused: It never started.
        """
        item = talk.item
        # A guest that waits for another test has not ended.
        told = self._account.is_wanted(item) and not process.waits
        if told:
            self.succession.settle()
            self._account.note(talk, process)
        output = functools.partial(self._output_so_far, talk)
        crash.report_ending(talk, self.borrowing, process, ended, output)
        if spec.leaks != "ignore" and not (
            goes_on
            or talk.interruption
            or (process.left is None and ended != Finished())
        ):
            share = share_of(item)
            leak_policy.judge(
                talk,
                process.left,
                fails=spec.leaks == "fail",
                sharers=None if share is None else share.name,
            )
        if told:
            self._account.tell(talk, ended, process)

    def _fork(self, item: pytest.Item, sandbox: Sandbox) -> Guest:
        """
        Fork the guest of *item* into *sandbox*, where it then waits.

        Raises:
            Refused: The supervisor could not fork.
        """
        flush(item.config)
        self._relay.prepare(item)
        remains = self._get_remains(item.config)

        try:
            return fork_guest(sandbox)
        except Entered as entered:
            self._interrupts.close()
            self.outlet = item.config.stash[factory.outlet] = entered.outlet
            self._identity, self._has_net = sandbox.identity, sandbox.net
            self.succession.forget()
            remains.take_over()
            self._relay.take_over(item, entered.outlet, remains)
            node = node_of(item)
            self._is_shared = node is not item
            if self._is_shared:
                private.forget_within(node, self.borrowing.set_up_within(node))
            raise

    def _get_remains(self, config: pytest.Config) -> Remains:
        if self._remains is None:
            keep_output = config.getoption("capture", "no") in {"sys", "tee-sys"}
            try:
                self._remains = Remains(keep_output=keep_output)
            except OSError as error:
                raise Refused.from_os_error(error, "memfd_create()") from None
        return self._remains

    def _output_so_far(self, talk: Conversation) -> dict[str, str]:
        config = talk.item.config
        out, err = builtin.captured_so_far(config)
        return {"stdout": out, "stderr": err, **self._get_remains(config).read()}
