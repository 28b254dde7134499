"""
Ctrl-C while a guest is about: noted, and acted on where the channel is read.

An exception raised wherever the supervisor happens to be would lose a message that it
has read, or a guest that it has just forked; raised in what Python calls around a fork
it would be swallowed.
"""

from __future__ import annotations

import signal
import threading
from types import TracebackType

from pytest_nsisolate.linux.descriptors import Pipe
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model.errors import Refused


class Interrupts:
    """
    A context in which SIGINT is noted; on leaving it, what no one has taken is raised.

    Only the main thread gets signals, and a handler that someone has set stays.
    """

    def __init__(self) -> None:
        #: Becomes readable when there is one.
        self.fd = self._note_fd = -1
        self._is_set = False

    def __enter__(self) -> None:
        """
        Open the pipe in which they are noted, the first time.

        Raises:
            Refused: It cannot be had.
        """
        if self.fd < 0:
            try:
                pipe = Pipe()
            except OSError as error:
                raise Refused.from_os_error(error) from None
            self.fd, self._note_fd = pipe.take_read(), pipe.take_write()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._note_fd, False)
        self.take()
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._note)
            self._is_set = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        # A guest leaves by an exception, and what is noted is not for it to take.
        if error is None and self.take():
            raise KeyboardInterrupt

    def stop(self) -> None:
        """
        Let SIGINT raise `KeyboardInterrupt` again.
        """
        if self._is_set:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._is_set = False

    def take(self) -> int:
        """
        Return and forget how many there were.
        """
        try:
            return len(os.read(self.fd, 64))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """
        Note no more of them, and close the pipe in which they are noted.
        """
        self.stop()
        if self.fd >= 0:
            os.close(self.fd)
            os.close(self._note_fd)

    def _note(self, *_: object) -> None:
        os.write(self._note_fd, b"!")


def forget_key() -> None:
    """
    In a guest: forget a Ctrl-C that came to the supervisor's group.

    What the supervisor has sent on is kept.

    Source: sigaction(2): si_code is above zero for what the kernel sends by itself.
    """
    came = signal.sigtimedwait([signal.SIGINT], 0)
    if came is not None and came.si_code <= 0:
        signal.raise_signal(signal.SIGINT)
