"""
Interrupts while a guest runs: Ctrl-C is recorded, and acted on at the channel.

An exception at an arbitrary point of the supervisor could lose a message that it has
read, or a guest that it has just forked. In what Python calls around a fork, the
exception would be swallowed.
"""

from __future__ import annotations

# The module signal makes an object of each number and handler, which takes longer.
import _signal  # type: ignore[import-not-found]
import threading
from types import TracebackType

from pytest_nsisolate.guest.entry import InFork
from pytest_nsisolate.linux.descriptors import Pipe
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model.errors import Refused


class Interrupts:
    """
    A context that records SIGINT. On exit it raises what was not taken.

    It does nothing outside the main thread, which gets the signals, or if someone has
    set another handler.
    """

    def __init__(self) -> None:
        #: Readable when there is an interrupt.
        self.fd = self._note_fd = -1
        self._is_set = False

    def __enter__(self) -> None:
        """
        Start to record. The first time, open the pipe for it.

        Raises:
            Refused: The pipe cannot be opened.
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
            and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
        ):
            _signal.signal(_signal.SIGINT, self._note)
            self._is_set = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        # In a fork, these interrupts are not for it.
        if not isinstance(error, InFork) and self.take():
            raise KeyboardInterrupt

    def stop(self) -> None:
        """
        Make SIGINT raise `KeyboardInterrupt` again.
        """
        if self._is_set:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
            self._is_set = False

    def take(self) -> int:
        """
        Return how many interrupts there were, and forget them.
        """
        try:
            return len(os.read(self.fd, 64))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """
        Stop recording, and close the pipe.
        """
        self.stop()
        if self.fd >= 0:
            os.close(self.fd)
            os.close(self._note_fd)

    def _note(self, *_: object) -> None:
        os.write(self._note_fd, b"!")
