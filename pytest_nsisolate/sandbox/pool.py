"""
The pool: where the supervisor gets sandboxes, made by its launchers.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from typing import TypeVar

from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.launcher_client import Launcher, user_namespace_for
from pytest_nsisolate.sandbox.sandbox import LauncherGone, Sandbox

_T = TypeVar("_T")

#: How often something is tried: after a dead sandbox may come a dead launcher.
_TRIES = 4


def persist(action: Callable[[], _T]) -> _T:
    """
    Return what *action* returns; do it again where a launcher or an init was killed.

    Raises:
        LauncherGone: They were killed again and again.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(LauncherGone):
            return action()
    return action()


class Pool:
    """
    Sandboxes for one session, from one launcher for each kind of user namespace.
    """

    def __init__(self) -> None:
        self._launchers: dict[UserNamespace, Launcher] = {}
        #: Those that are dead, or as good as that, and not waited for yet.
        self._lost: list[Launcher] = []

    def take(self, spec: Spec) -> Sandbox:
        """
        Return a sandbox for *spec*.

        Raises:
            Refused: It cannot be had.
            LauncherGone: The launcher, or the sandbox that it had ready, was killed;
                the next one will do, see `persist`.
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
        Have a sandbox for *spec* made while other things go on.
        """
        with contextlib.suppress(Refused):
            self._launcher(user_namespace_for(spec)).ask(spec)

    def stop(self) -> None:
        """
        End the launchers, which would show among pytest's children; `take` starts anew.
        """
        while self._launchers:
            self._launchers.popitem()[1].close()
        while self._lost:
            self._lost.pop().close()

    def close_inherited(self) -> None:
        """
        Let go of everything in a guest, whose business it is not.
        """
        while self._launchers:
            self._launchers.popitem()[1].close_inherited()
        while self._lost:
            self._lost.pop().close_inherited()

    def _lose(self, kind: UserNamespace) -> None:
        """
        Put a launcher aside, to be waited for when no guest of its sandboxes is left.

        It ends only then: the supervisor, who would wait here, has to reap them first.
        Source: pid_namespaces(7), "The namespace init process".
        """
        for launcher in [one for one in self._lost if one.has_ended()]:
            self._lost.remove(launcher)
            launcher.close()
        self._lost.append(self._launchers.pop(kind))

    def _launcher(self, kind: UserNamespace) -> Launcher:
        if kind not in self._launchers:
            self._launchers[kind] = Launcher(kind)
        return self._launchers[kind]
