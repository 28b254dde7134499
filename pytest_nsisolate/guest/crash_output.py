"""
The output of a guest that outlives its crash: its stack, and what Python captured.
"""

from __future__ import annotations

import faulthandler
import signal
import sys

from pytest_nsisolate.linux.stdlib import os

#: Has a guest write the stack of each of its threads, and then ends it. One that tests
#: do not use: SIGRTMIN and some after it are those of the C library, SIGRTMAX is
#: valgrind's. Where there are no such signals there are no namespaces.
STACK_SIGNAL = int(getattr(signal, "SIGRTMAX", 0)) - 1


class CrashOutput:
    """
    The stack that `faulthandler` writes, and output that only Python had captured.

    What pytest captures by descriptor, its default, is in a file that the supervisor
    shares; what it captures with ``--capture=sys`` is in the guest's own memory.

    Args:
        keep_output: Whether to keep a copy of what the guest writes to `sys.stdout` and
            `sys.stderr`.
    """

    def __init__(self, *, keep_output: bool) -> None:
        names = ["faulthandler", *(["stdout", "stderr"] if keep_output else [])]
        self._fds = {
            name: os.memfd_create(f"nsisolate-{name}", os.MFD_CLOEXEC) for name in names
        }

    def clear(self) -> None:
        """
        Empty it: the guest begins, or has just sent a report of what was in it.
        """
        for fd in self._fds.values():
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)

    def take_over(self) -> None:
        """
        In a guest: have its stack written here, of a crash if it is written at all.
        """
        fd = self._fds["faulthandler"]
        if faulthandler.is_enabled():
            faulthandler.enable(file=fd)
        # Written in the signal handler, by a thread that need not have the GIL. Chained
        # to what the signal does by default: that the guest is dead says that it is
        # written.
        faulthandler.register(STACK_SIGNAL, file=fd, all_threads=True, chain=True)

    def copy_output(self) -> None:
        """
        In a guest, while pytest captures: have what it captures written here as well.
        """
        for name in self._fds.keys() & {"stdout", "stderr"}:
            _copy_writes(getattr(sys, name), self._fds[name])

    def read(self) -> dict[str, str]:
        """
        Return what was written, by its name in the titles of pytest's sections.
        """
        return {name: _read(fd) for name, fd in self._fds.items()}

    def close(self) -> None:
        """
        Free the memory.
        """
        for fd in self._fds.values():
            os.close(fd)


def _copy_writes(stream: object, fd: int) -> None:
    go_on = getattr(stream, "write", None)
    if go_on is None:
        return

    def write_both(text: str) -> int:
        os.write(fd, text.encode("utf-8", "surrogatepass"))
        return int(go_on(text))

    # On the instance: pytest puts the same object back after each pause of capturing.
    setattr(stream, "write", write_both)  # noqa: B010 - a method cannot be assigned to


def _read(fd: int) -> str:
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0).decode("utf-8", "replace")
