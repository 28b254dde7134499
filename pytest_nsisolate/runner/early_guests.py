"""
Early guests: those that run before their turns, and what they say until then.

What they say is kept, and acted on when their turns come: see `guest.handle.Early`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from pytest_nsisolate.compat import builtin_plugins
from pytest_nsisolate.guest.deadline import Deadline
from pytest_nsisolate.guest.handle import Early, Guest
from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import select
from pytest_nsisolate.model.ending import Finished, NeverStarted
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.reporting.witness import Witness
from pytest_nsisolate.runner.lanes import Lane
from pytest_nsisolate.sandbox.sandbox import LauncherGone
from pytest_nsisolate.settings import options


class Runner(NamedTuple):
    """
    A guest that runs before its turn.
    """

    guest: Guest
    lane: Lane
    others: int
    """How many ran when it started."""


class EarlyGuests:
    """
    The guests whose turns have not come.

    Args:
        config: The configuration of the session.
        witness: Is told what they do.
    """

    def __init__(self, config: pytest.Config, witness: Witness) -> None:
        self._config = config
        self._witness = witness
        self._grace = config.stash[options.key].grace
        self._guests: dict[pytest.Item, Guest] = {}
        #: Those of them that are not over.
        self._running: dict[pytest.Item, Runner] = {}
        #: How many bytes the others have said.
        self.kept = 0
        self._epoll: select.epoll | None = None

    def open(self) -> None:
        """
        Make what `fd` is of, before the first of them starts.

        Raises:
            OSError: The system refused it.
        """
        self._epoll = syscalls.named("epoll_create1()", select.epoll)

    @property
    def fd(self) -> int:
        """A descriptor that is readable when one of them has something to say."""
        assert self._epoll is not None
        return self._epoll.fileno()

    @property
    def running(self) -> int:
        """How many of them are not over."""
        return len(self._running)

    def patience(self) -> float | None:
        """
        Return how long they can be left alone, in milliseconds; None if for ever.
        """
        times = [one.guest.patience_early() for one in self._running.values()]
        return min((one for one in times if one is not None), default=None)

    def lanes_in_motion(self) -> list[Lane]:
        """
        Return the lanes of those that go on.

        Those that wait for their turn would do so for ever.
        """
        return [one.lane for one in self._running.values() if not one.guest.is_held]

    def add(
        self, item: pytest.Item, spec: Spec, guest: Guest, lane: Lane, others: int
    ) -> None:
        """
        Listen to *guest*, which has started.

        Args:
            item: Its test.
            spec: What the test asks for.
            guest: The guest.
            lane: The lane in which it runs.
            others: How many run beside it.
        """
        guest.early = Early(
            deadline=Deadline(spec.timeout or None, guest.since),
            grace=self._grace if spec.is_audited() else None,
        )
        self._guests[item] = guest
        self._running[item] = Runner(guest, lane, others)
        self._witness.started(item, guest)
        assert self._epoll is not None
        for fd in guest.process.watched():
            self._epoll.register(fd, select.EPOLLIN)

    def overhear(self) -> Iterator[tuple[pytest.Item, Refused, int]]:
        """
        Take in what they say.

        Yields:
            Each test whose guest was refused something on its way into the sandbox:
            what that was, and how many others ran.
        """
        for item, one in [*self._running.items()]:
            guest = one.guest
            assert guest.early is not None
            if not guest.overhear(self._basetemp):
                if guest.early.is_held:
                    self._witness.held(guest)
                if guest.early.is_silent or guest.early.is_held:
                    assert self._epoll is not None
                    with contextlib.suppress(FileNotFoundError):
                        self._epoll.unregister(guest.process.inlet.fd)
                continue
            self._ignore(guest)
            del self._running[item]
            self.kept += guest.process.inlet.received
            guest.conclude_early()
            self._witness.over(guest)
            match guest.early.ending:
                case NeverStarted(LauncherGone()):
                    # Something has killed its sandbox. There is another at its turn.
                    continue
                case NeverStarted(refused):
                    yield item, refused, one.others
                case Finished():
                    continue
                case _:
                    guest.early.output = one.lane.crash_output.read()

    def take(self, item: pytest.Item) -> Guest | None:
        """
        Return the guest of *item*, whose turn has come; None if it has not started.
        """
        guest = self._guests.pop(item, None)
        if self._running.pop(item, None) is not None:
            assert guest is not None
            self._ignore(guest)
            guest.catch_up()
        elif guest is not None:
            self.kept -= guest.process.inlet.received
        return guest

    def abandon(self) -> None:
        """
        End them, and forget what they said.
        """
        for one in self._running.values():
            self._ignore(one.guest)
            one.guest.settle()
            one.guest.reap()
            self._witness.over(one.guest)
        self._running.clear()
        self._guests.clear()
        self.kept = 0

    def close(self) -> None:
        """
        Close the descriptor, if there is one; none of them runs any more.
        """
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None

    def _ignore(self, guest: Guest) -> None:
        """
        Wait no more for what *guest* says.
        """
        assert self._epoll is not None
        for fd in guest.process.watched():
            with contextlib.suppress(FileNotFoundError):
                self._epoll.unregister(fd)

    def _basetemp(self) -> str | None:
        return builtin_plugins.basetemp(self._config)
