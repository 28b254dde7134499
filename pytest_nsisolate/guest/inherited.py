"""
State that a fork inherits from its process: dropped, written out, or set anew.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import weakref
from collections.abc import Collection
from typing import Any

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.model.spec import Spec

#: What pytest itself sets in its own process, and a test may go by: these stay.
KEPT = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION")


def forget_multiprocessing() -> None:
    """
    In a guest: start anew the helpers of multiprocessing that the supervisor has.

    The resource tracker would unlink the host's shared memory of a name that the test
    used inside, and the fork server would fork the test's processes outside. Python
    has no public way to part with them; each attribute has been there since 3.8.
    """
    tracker: Any = sys.modules.get("multiprocessing.resource_tracker")
    if tracker is not None:
        _drop(tracker._resource_tracker, "_fd", "_pid")
    server: Any = sys.modules.get("multiprocessing.forkserver")
    if server is not None:
        _drop(server._forkserver, "_forkserver_alive_fd", "_forkserver_pid")
        server._forkserver._forkserver_address = None


def forget_exit_handlers() -> None:
    """
    In a guest: drop what the supervisor has registered with `atexit`.

    multiprocessing does the same in its forks, since 3.13 by these two names, which
    have been there since 3.0.
    """
    atexit._clear()
    for finalizer in list(_weakref_finalizers()):
        finalizer.atexit = False


def run_exit_handlers() -> None:
    """
    In a guest: run what the test has registered with `atexit`, or multiprocessing.

    Of the latter its finalizers, which remove temporary directories. It would also wait
    for processes that the test has left, which are about to be killed. `tempfile` has
    its own at exit by `weakref.finalize`, which registers with `atexit` only once.
    """
    finalize: Any = weakref.finalize
    if _weakref_finalizers():
        atexit.register(finalize._exitfunc)
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        atexit.unregister(util._exit_function)
        atexit.register(util._run_finalizers)
    atexit._run_exitfuncs()


def flush_streams() -> None:
    """
    Write out what is buffered in the standard streams, so that no fork writes it again.
    """
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        flush(stream)


def flush(stream: object) -> None:
    """
    Write out what is buffered in *stream*, if it can be.
    """
    write_out = getattr(stream, "flush", None)
    if write_out is not None:
        try:
            write_out()
        except (OSError, ValueError):
            # Closed, or a broken pipe; not for this project to tell.
            return


def set_environment(spec: Spec) -> None:
    """
    Have this process, and what it starts, see the environment that *spec* asks for.
    """
    if spec.clear_env:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        for name in list(os.environ):
            # One without a name cannot be taken out. Source: unsetenv(3), EINVAL.
            with contextlib.suppress(OSError):
                del os.environ[name]
        syscalls.clearenv()
        os.environ.update(kept)
    for name, value in dict(spec.env or ()).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _weakref_finalizers() -> Collection[Any]:
    """
    Return those that have not run. The registry has had this name since 3.4.
    """
    finalize: Any = weakref.finalize
    registry: dict[Any, object] = finalize._registry
    return registry.keys()


def _drop(owner: Any, descriptor: str, pid: str) -> None:
    number = getattr(owner, descriptor, None)
    if number is not None:
        os.close(number)
    setattr(owner, descriptor, None)
    setattr(owner, pid, None)
