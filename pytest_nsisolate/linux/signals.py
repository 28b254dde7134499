"""
The signal mask of a process while it forks.
"""

from __future__ import annotations

# The module signal makes an object of each number, and touches dozens in each fork.
import _signal  # type: ignore[import-not-found]

# Windows does not have it, nor guests.
_ALL = _signal.valid_signals() if hasattr(_signal, "pthread_sigmask") else set()


class Blocked:
    """
    A context that blocks all signals, and restores the mask at its end.

    So no handler that raises, such as that of SIGINT, can divert a fork.
    """

    def __init__(self) -> None:
        #: The signals that were blocked before.
        self.before: set[int] = set()
        self._is_kept = False

    def __enter__(self) -> Blocked:
        self.before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _ALL)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_kept:
            self.restore()

    def restore(self) -> None:
        """
        Restore the mask. A handler of a pending signal may raise now.
        """
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self.before)

    def discard(self) -> None:
        """
        Discard the pending signals, which in a fork were sent to its process group.

        Source: fork(2) says that none are inherited; since Linux 4.19, copy_process()
        gives a fork those that are sent to its group while it is made.
        """
        while _signal.sigtimedwait(_ALL, 0) is not None:
            pass

    def keep(self) -> None:
        """
        Keep signals blocked in a fork, also after the context, until `restore`.
        """
        self._is_kept = True
