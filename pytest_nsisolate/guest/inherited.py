"""
The state that a guest inherits by fork, and what it drops, flushes or replaces.
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

#: What pytest itself sets and a test may rely on. `clear_env` keeps these.
KEPT = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION")


def forget_multiprocessing() -> None:
    """
    In a guest: forget the helper processes of multiprocessing that pytest started.

    The resource tracker would unlink the host's shared memory of a name that the test
    used inside, and the fork server would fork the test's processes outside. Python
    has no public way to drop them; each attribute has existed since 3.8.
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
    In a guest: drop the exit handlers that the supervisor has registered.

    multiprocessing does the same in its forks. Since 3.13 it uses these two names of
    `atexit`, which have existed since 3.0. Its own finalizers tell a fork by its
    process id alone.
    """
    atexit._clear()
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._finalizer_registry.clear()
    for finalizer in list(_weakref_finalizers()):
        finalizer.atexit = False


def run_exit_handlers() -> None:
    """
    In a guest: run the exit handlers that the test registered.

    Of multiprocessing only the finalizers run, which remove temporary directories. Its
    own handler would also wait for processes that the test left, which are about to be
    killed. `tempfile` cleans up through `weakref.finalize`, which registers with
    `atexit` only once.
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
    Flush the standard streams, so that no fork writes their buffers again.
    """
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        flush(stream)


def flush(stream: object) -> None:
    """
    Flush *stream*, if that is possible.
    """
    write_out = getattr(stream, "flush", None)
    if write_out is not None:
        try:
            write_out()
        except (OSError, ValueError):
            # It is closed, or a broken pipe. Others report that.
            return


def set_environment(spec: Spec) -> None:
    """
    Give this process, and what it starts, the environment that *spec* asks for.
    """
    if spec.clear_env:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        for name in list(os.environ):
            # A variable without a name cannot be unset. Source: unsetenv(3), EINVAL.
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
    Return the finalizers that have not run. This name has existed since 3.4.
    """
    finalize: Any = weakref.finalize
    registry: dict[Any, object] = finalize._registry
    return registry.keys()


def _drop(owner: Any, descriptor: str, pid: str) -> None:
    number = getattr(owner, descriptor, None)
    if number is not None:
        # A fixture may have closed it.
        with contextlib.suppress(OSError):
            os.close(number)
    setattr(owner, descriptor, None)
    setattr(owner, pid, None)
