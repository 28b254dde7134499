"""
The output of a guest that survives its crash: its stack, and what Python captured.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import tempfile

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os

#: The signal that makes a guest write the stack of each of its threads and then end.
#: Tests do not use this one: the C library takes some from SIGRTMIN on, and valgrind
#: takes SIGRTMAX. A system without real-time signals has no namespaces either.
STACK_SIGNAL = int(getattr(signal, "SIGRTMAX", 0)) - 1


class CrashOutput:
    """
    The stack that `faulthandler` wrote, and the output that only Python captured.

    By default pytest captures descriptors, into a file that the supervisor shares. With
    ``--capture=sys`` it captures into the guest's own memory.

    Args:
        keep_output: Whether to copy what the guest writes to `sys.stdout` and
            `sys.stderr`.
        captures: Whether pytest is to capture into files of this object: see `files`.

    Raises:
        OSError: There is no memory, or no descriptors are left. It names the call.
    """

    def __init__(self, *, keep_output: bool, captures: bool = False) -> None:
        names = ["faulthandler", *(["stdout", "stderr"] if keep_output else [])]
        self._fds: dict[str, int] = {}
        #: By the name of the stream, descriptors of the files to capture into.
        self.files: dict[str, int] = {}
        try:
            for name in names:
                self._fds[name] = syscalls.named(
                    "memfd_create()",
                    os.memfd_create,
                    f"nsisolate-{name}",
                    os.MFD_CLOEXEC,
                )
            make = tempfile.TemporaryFile
            for name in ("stdout", "stderr") if captures else ():
                with syscalls.named("open() of a temporary file", make) as file:
                    self.files[name] = os.dup(file.fileno())
        except OSError:
            self.close()
            raise

    def clear(self) -> None:
        """
        Discard the content: a guest begins, or has just reported it.
        """
        for fd in self._fds.values():
            _empty(fd)

    def begin(self) -> None:
        """
        Discard everything: another guest begins, and nothing is left of the last.
        """
        for fd in (*self._fds.values(), *self.files.values()):
            _empty(fd)

    def take_over(self) -> None:
        """
        In a guest: let `faulthandler` write here, of crashes only if it is enabled.
        """
        fd = self._fds["faulthandler"]
        if faulthandler.is_enabled():
            faulthandler.enable(file=fd)
        # The signal handler writes the stack, without the GIL. By chaining, the default
        # action then ends the guest: once it is dead, the stack is written.
        faulthandler.register(STACK_SIGNAL, file=fd, all_threads=True, chain=True)

    def copy_output(self) -> None:
        """
        In a guest, while pytest captures: also write here what it captures.
        """
        for name in self._fds.keys() & {"stdout", "stderr"}:
            _copy_writes(getattr(sys, name), self._fds[name])

    def read(self) -> dict[str, str]:
        """
        Return the content, by its name in the titles of pytest's sections.
        """
        return {name: _read(fd) for name, fd in (self._fds | self.files).items()}

    def close(self) -> None:
        """
        Free the memory.
        """
        for fd in (*self._fds.values(), *self.files.values()):
            os.close(fd)


def _empty(fd: int) -> None:
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)


def _copy_writes(stream: object, fd: int) -> None:
    write = getattr(stream, "write", None)
    if write is None:
        return

    def write_both(text: str) -> int:
        os.write(fd, text.encode("utf-8", "surrogatepass"))
        return int(write(text))

    # Set on the instance, since pytest restores the same object after it has paused
    # capturing.
    setattr(stream, "write", write_both)  # noqa: B010 - a method cannot be assigned to


def _read(fd: int) -> str:
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0).decode("utf-8", "replace")
