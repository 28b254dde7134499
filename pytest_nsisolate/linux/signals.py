"""
The signal mask of a process that forks.
"""

from __future__ import annotations

import signal


class Blocked:
    """
    A context in which all signals are blocked; after it the mask is as it was before.

    By that no handler that raises, as that of SIGINT, leads a fork astray.
    """

    def __init__(self) -> None:
        #: Signals that were blocked before.
        self.before: set[int] = set()
        self._is_kept = False

    def __enter__(self) -> Blocked:
        self.before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_kept:
            self.restore()

    def restore(self) -> None:
        """
        Have signals come through as before; a handler of one that came may raise now.
        """
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)

    def keep(self) -> None:
        """
        In a fork: leave them blocked after the context, until `restore` is called.
        """
        self._is_kept = True
