"""
Guests one after the other: when each is forked, let go, and buried.

The death of one is overlapped with the fork of the next, and where `ahead` says that it
is safe, that fork with its test. A guest is let go only when nothing is left of the one
before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeAlias

import pytest

from pytest_nsisolate import ahead
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.guest import Guest
from pytest_nsisolate.pool import Pool
from pytest_nsisolate.sandbox import Sandbox
from pytest_nsisolate.spec import Spec

#: Forks the guest of an item into a sandbox.
Fork: TypeAlias = Callable[[pytest.Item, Sandbox], Guest]


class Succession:
    """
    The guests of one session.

    Args:
        fork: What forks them.
    """

    def __init__(self, fork: Fork) -> None:
        self.pool = Pool()
        self._fork = fork
        #: The guest that was let go last.
        self._current: Guest | None = None
        #: The one that waits for its test to come, which, and how many had failed.
        self._ahead: tuple[pytest.Item, int, Guest] | None = None
        #: What outlives a test: guests that wait for their next, and lent sandboxes.
        self.kept: list[Guest | Sandbox] = []

    def begin(
        self, item: pytest.Item, spec: Spec, word: str, lent: Sandbox | None = None
    ) -> Guest:
        """
        Return the guest of *item*, in a sandbox for *spec*, let go with *word*.

        Args:
            item: The test.
            spec: What it asks for.
            word: What its guest is told.
            lent: A sandbox for it that is to outlive it.

        Raises:
            Refused: It cannot be had.
        """
        process = self._take_ahead(item) or self._fork(
            item, lent or self.pool.take(spec)
        )
        process.lent = lent is not None
        # From here on it is found and ended whatever happens.
        before, self._current = self._current, process
        if before is not None:
            before.settle()
            if spec.nproc is not None:
                # Until it is reaped it counts.
                before.reap()
        process.let_go(word)
        if before is not None:
            before.reap()
        return process

    def go_on(self, process: Guest, word: str) -> None:
        """
        Let go *process*, which was kept, with *word*.
        """
        self.settle()
        self.kept.remove(process)
        self._current = process
        process.go_on(word)

    def keep(self, process: Guest) -> None:
        """
        Have *process*, which was let go last, wait for another test.
        """
        self._current = None
        self.kept.append(process)

    def begin_next(self, item: pytest.Item, nextitem: pytest.Item, spec: Spec) -> None:
        """
        Do for *nextitem* what can be done while the guest of *item* runs.
        """
        self.pool.prepare(spec)
        if ahead.is_safe(item, nextitem):
            with contextlib.suppress(Refused):
                failed = nextitem.session.testsfailed
                process = self._fork(nextitem, self.pool.take(spec))
                self._ahead = (nextitem, failed, process)
                if spec.nproc is None:
                    # Tests in a row mostly ask for the same.
                    self.pool.prepare(spec)

    def settle(self) -> None:
        """
        Wait until nothing is left of the guest that was let go last.
        """
        current, self._current = self._current, None
        if current is not None:
            current.settle()
            current.reap()

    def leave_to_host(self) -> None:
        """
        End everything that a test on the host would see.
        """
        self.settle()
        self._drop_ahead()
        if not self.kept:
            self.pool.rest()

    def forget(self) -> None:
        """
        Let go of everything in a guest, whose business it is not.
        """
        self.pool.forget()
        if self._current is not None:
            self._current.forget()
        if self._ahead is not None:
            self._ahead[2].forget()
        for one in self.kept:
            one.forget()

    def _take_ahead(self, item: pytest.Item) -> Guest | None:
        """
        Return the guest that was forked ahead for *item*, if it still will do.
        """
        if self._ahead is not None:
            meant, failed, process = self._ahead
            failed_since = failed != item.session.testsfailed
            # Dead already, it was killed by someone: its test has not begun.
            if meant is item and not failed_since and process.is_alive():
                self._ahead = None
                return process
            self._drop_ahead()
        return None

    def _drop_ahead(self) -> None:
        if self._ahead is not None:
            process = self._ahead[2]
            self._ahead = None
            process.settle()
            process.reap()
