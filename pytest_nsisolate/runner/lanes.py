"""
Lanes: the places in which guests run, one at a time in each.

Without ``--nsisolate-jobs`` there is one. With it, there are `SideLanes`, too.
"""

from __future__ import annotations

from pytest_nsisolate.guest.crash_output import CrashOutput
from pytest_nsisolate.guest.handle import Guest


class Lane:
    """
    A place in which one guest runs at a time, while other lanes run theirs.

    Args:
        crash_output: Keeps what a guest of this lane printed before it crashed.
        number: Its place among the lanes beside; None for the only lane that shares
            pytest's own files for captured output.
    """

    def __init__(self, crash_output: CrashOutput, number: int | None = None) -> None:
        self.crash_output = crash_output
        self.number = number
        #: The guest that was released last: it is running or dying.
        self.guest: Guest | None = None

    def start(self, guest: Guest, word: str, *, alone: bool = False) -> None:
        """
        Release *guest* with *word*, as soon as nothing is left of the one before.

        Args:
            guest: A guest that waits at its gate.
            word: What to send it through the gate.
            alone: Whether to reap the one before first.
        """
        # From here on `settle` finds and ends this guest, whatever happens.
        before, self.guest = self.guest, guest
        if before is not None:
            before.settle()
            if alone:
                before.reap()
        guest.release(word)
        if before is not None:
            before.reap()

    def resume(self, guest: Guest, word: str) -> None:
        """
        Send *word* to *guest*, which waits between two tests, so that it goes on.
        """
        self.settle()
        self.guest = guest
        guest.go_on(word)

    def vacate(self) -> None:
        """
        Hand the guest, which waits for its next test, to the `Group` that keeps it.
        """
        self.guest = None

    def settle(self) -> None:
        """
        End the guest that was released last, and wait until nothing is left of it.
        """
        guest, self.guest = self.guest, None
        if guest is not None:
            guest.settle()
            guest.reap()

    def close_inherited(self) -> None:
        """
        Close, in a guest, the supervisor's descriptors for another guest.
        """
        if self.guest is not None:
            self.guest.close_inherited()
