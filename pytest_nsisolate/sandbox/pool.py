"""
The pool, from which the supervisor takes sandboxes that its launchers make.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from typing import TypeVar

from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.launcher_client import (
    Launcher,
    Paths,
    user_namespace_for,
)
from pytest_nsisolate.sandbox.sandbox import LauncherGone, Sandbox

_T = TypeVar("_T")

#: How often to try: a dead sandbox may be followed by a dead launcher.
_TRIES = 4


def persist(action: Callable[[], _T]) -> _T:
    """
    Return what *action* returns, and retry it if a launcher or an init was killed.

    Raises:
        LauncherGone: One was killed each time.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(LauncherGone):
            return action()
    return action()


class Pool:
    """
    The sandboxes of a session, from one launcher per kind of user namespace.

    Args:
        paths: Returns the paths of the session.
    """

    def __init__(self, paths: Callable[[], Paths] = Paths) -> None:
        self._paths = paths
        self._launchers: dict[UserNamespace, Launcher] = {}
        #: Launchers that are dead or dying and were not waited for yet.
        self._lost: list[Launcher] = []

    def take(self, spec: Spec) -> Sandbox:
        """
        Return a sandbox for *spec*.

        Raises:
            Refused: The sandbox cannot be made.
            LauncherGone: The launcher, or the sandbox that it had ready, was killed.
                Try again: see `persist`.
        """
        kind = user_namespace_for(spec)
        try:
            sandbox = self._launcher(kind).take(spec)
        except LauncherGone:
            self._lose(kind)
            raise
        if sandbox.is_alive():
            return sandbox
        sandbox.close()
        raise LauncherGone("a sandbox's init", errno.ESRCH)

    def prepare(self, spec: Spec) -> None:
        """
        Start to make a sandbox for *spec*, and do not wait for it.
        """
        with contextlib.suppress(Refused):
            self._launcher(user_namespace_for(spec)).ask(spec)

    def stop(self) -> None:
        """
        End the launchers, which pytest would have as children; `take` starts new ones.
        """
        while self._launchers:
            self._launchers.popitem()[1].close()
        while self._lost:
            self._lost.pop().close()

    def close_inherited(self) -> None:
        """
        Forget all launchers in a guest, which must not use them.
        """
        while self._launchers:
            self._launchers.popitem()[1].close_inherited()
        while self._lost:
            self._lost.pop().close_inherited()

    def _lose(self, kind: UserNamespace) -> None:
        """
        Put the launcher aside, and wait for it once its sandboxes have no guests left.

        It cannot end before the supervisor has reaped those guests, so this must not
        wait. Source: pid_namespaces(7), "The namespace init process".
        """
        for launcher in [one for one in self._lost if one.has_ended()]:
            self._lost.remove(launcher)
            launcher.close()
        self._lost.append(self._launchers.pop(kind))

    def _launcher(self, kind: UserNamespace) -> Launcher:
        if kind not in self._launchers:
            self._launchers[kind] = Launcher(kind, self._paths)
        return self._launchers[kind]
