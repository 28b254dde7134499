"""
Something tried in a throw-away process, which is gone when that is over.
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

#: How long it may take, in seconds: it takes milliseconds.
LIMIT = 10.0

#: Does it, and raises what refuses it.
Action: TypeAlias = Callable[[], None]


def attempt(action: Action, limit: float = LIMIT) -> Refused | None:
    """
    Do *action* in a fork, which is gone when this returns.

    Args:
        action: What to do there.
        limit: How long to wait, in seconds.

    Returns:
        What was refused, None if nothing was.
    """
    with contextlib.ExitStack() as stack:
        try:
            pipe = stack.enter_context(Pipe())
            pid = fork()
        except OSError as error:
            return Refused.from_os_error(error, "fork()")
        if not pid:
            _do(action, pipe.write)
        pipe.close_write()
        try:
            if not readable(pipe.read, limit):
                return Refused("poll()", errno.ETIMEDOUT)
            return _told(pipe.read)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _do(action: Action, told: int) -> NoReturn:
    said: list[object] = []
    try:
        syscalls.set_parent_death_signal(signal.SIGKILL)
        action()
    except Refused as refused:
        said = [refused.call, refused.number]
    except OSError as error:
        said = [str(error.filename or "a system call"), error.errno or 0]
    except BaseException as error:  # noqa: BLE001 - told, and nothing comes after
        said = [f"a step ({error!r})", 0]
    finally:
        # Less than PIPE_BUF: it comes whole. Source: pipe(7).
        os.write(told, json.dumps(said).encode()[:4096])
        os._exit(0)


def _told(read: int) -> Refused | None:
    try:
        said = json.loads(os.read(read, 4096))
    except ValueError:
        return Refused("a step that ended by itself", errno.ECHILD)
    return Refused(*said) if said else None
