"""
The fork of a guest: what the supervisor does for it, and takes back if it cannot be.
"""

from __future__ import annotations

import contextlib
import signal

from pytest_nsisolate import linux
from pytest_nsisolate.channel import Reader
from pytest_nsisolate.entry import Entered, Entry
from pytest_nsisolate.errors import Refused
from pytest_nsisolate.guest import Guest
from pytest_nsisolate.messages import OF_GUEST
from pytest_nsisolate.process import GuestProcess
from pytest_nsisolate.sandbox import Sandbox
from pytest_nsisolate.untouched import os
from pytest_nsisolate.user_namespace import UserNamespace


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
            for fd in (read, gate_write):
                os.set_blocking(fd, False)
            entry = Entry(sandbox, write, (gate_read, gate_write), mask)
            if sandbox.user_namespace is UserNamespace.NONE:
                forked = GuestProcess.of(entry.fork_once(), None)
            else:
                forked = GuestProcess.of(*entry.fork_twice())
        except Entered:
            # What is the supervisor's to end; only its descriptors are to be closed.
            ours.pop_all()
            theirs.pop_all()
            os.close(read)
            sandbox.forget()
            raise
        except OSError as error:
            raise sandbox.judge(Refused.from_os_error(error, "fork()")) from None
        ours.pop_all()
    return Guest(
        sandbox=sandbox,
        fork=forked,
        inlet=Reader(read, OF_GUEST),
        gate=gate_write,
    )


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
