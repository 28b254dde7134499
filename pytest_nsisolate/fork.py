"""
The fork of a guest: what the supervisor does for it, and takes back if it cannot be.
"""

from __future__ import annotations

import contextlib
import signal

from pytest_nsisolate import launcher, linux
from pytest_nsisolate.channel import Reader
from pytest_nsisolate.entry import Entered, Entry
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.guest import Guest
from pytest_nsisolate.sandbox import Sandbox
from pytest_nsisolate.untouched import os


def fork_guest(sandbox: Sandbox) -> Guest:
    """
    Fork a guest into *sandbox*, where it waits to be let go.

    Args:
        sandbox: Where to. It is the guest's from here on.

    Raises:
        Entered: In the guest.
        Refused: The supervisor could not fork.
        LauncherGone: The sandbox is dead.
    """
    # A handler that raises, as that of SIGINT, must not lead a guest astray.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        process = _fork(sandbox, mask)
    except Entered:
        raise
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return process


def _fork(sandbox: Sandbox, mask: set[int]) -> Guest:
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        # On any way out but the last line, both are closed, and the sandbox with them.
        ours.callback(sandbox.close)
        try:
            read, write = _pipe(ours, theirs)
            gate_read, gate_write = _pipe(theirs, ours)
            entry = Entry(sandbox, write, (gate_read, gate_write), mask)
            if sandbox.identity == launcher.PLAIN:
                pid, status = entry.fork_once(), None
            else:
                pid, status = entry.fork_twice()
            if status is not None:
                ours.callback(os.close, status)
            ours.callback(_bury, sandbox, pid)
            pidfd = linux.named("pidfd_open()", os.pidfd_open, pid)
        except Entered:
            # What is the supervisor's to end; only its descriptors are to be closed.
            ours.pop_all()
            theirs.pop_all()
            os.close(read)
            sandbox.forget()
            raise
        except OSError as error:
            raise sandbox.judge(Refused.from_os_error(error, "fork()")) from None
        for fd in (read, gate_write):
            os.set_blocking(fd, False)
        ours.pop_all()
    return Guest(
        sandbox=sandbox,
        pid=pid,
        pidfd=pidfd,
        inlet=Reader(read),
        status=status,
        gate=gate_write,
    )


def _bury(sandbox: Sandbox, pid: int) -> None:
    """
    End the fork *pid*, without which *sandbox* does not end.
    """
    sandbox.kill()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _pipe(
    reader: contextlib.ExitStack, writer: contextlib.ExitStack
) -> tuple[int, int]:
    """
    Return a pipe, each end of which is closed by the stack of who has it.
    """
    read, write = linux.named("pipe2()", os.pipe)
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write
