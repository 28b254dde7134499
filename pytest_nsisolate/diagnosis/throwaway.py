"""
A throw-away process, in which an action is tried.
"""

from __future__ import annotations

import contextlib
import errno
import json
import signal
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from pytest_nsisolate.guest.entry import fork
from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.descriptors import Pipe, readable
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model.errors import Refused

#: How long an action may take, in seconds. It usually takes milliseconds.
LIMIT = 10.0

#: Something to try. It raises `Refused` or `OSError` if the kernel refuses it.
Action: TypeAlias = Callable[[], None]


def attempt(action: Action, limit: float = LIMIT) -> Refused | None:
    """
    Do *action* in a fork, which has ended when this returns.

    Args:
        action: What to do.
        limit: How long to wait for it, in seconds.

    Returns:
        The refusal, None if nothing was refused.
    """
    with contextlib.ExitStack() as stack:
        try:
            pipe = stack.enter_context(Pipe())
            pid = fork()
        except OSError as error:
            return Refused.from_os_error(error, "fork()")
        if not pid:
            _act(action, pipe.write)
        pipe.close_write()
        try:
            if not readable(pipe.read, limit):
                return Refused("poll()", errno.ETIMEDOUT)
            return _read_result(pipe.read)
        finally:
            # If SIGCHLD is ignored, the kernel reaps it. Source: wait(2).
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _act(action: Action, fd: int) -> NoReturn:
    result: list[object] = []
    try:
        syscalls.set_parent_death_signal(signal.SIGKILL)
        action()
    except Refused as refused:
        result = [refused.call, refused.number]
    except OSError as error:
        result = [str(error.filename or "a system call"), error.errno or 0]
    except BaseException as error:  # noqa: BLE001 - reported, then the process ends
        result = [f"a step ({error!r})", 0]
    finally:
        # At most PIPE_BUF bytes arrive as a whole. Source: pipe(7).
        os.write(fd, json.dumps(result).encode()[:4096])
        os._exit(0)


def _read_result(fd: int) -> Refused | None:
    try:
        result = json.loads(os.read(fd, 4096))
    except ValueError:
        return Refused("a step that ended early", errno.ECHILD)
    return Refused(*result) if result else None
