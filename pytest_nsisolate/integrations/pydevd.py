"""
pydevd, the debugger of VS Code (in debugpy) and of PyCharm: a session for each guest.

It works with threads, and a fork leaves them behind: a guest would wait at its first
breakpoint for ever. So pydevd replaces `os.fork` by a function that, in the new
process, makes a new connection to the editor. Guests are not forked by that function,
and call the second half of it themselves, once they are inside.

An editor takes a process for a part of the session if it knows its parent, and in a
guest the kernel says 0. So the ids that it is told are those outside.

The socket comes from outside, too: in a network of its own a guest could not reach the
editor. What the test starts has neither, and runs without the debugger.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from types import SimpleNamespace
from typing import Any

import pytest

#: The module of pydevd that answers debugpy.
_COMMANDS = "_pydevd_bundle.pydevd_process_net_command_json"

#: What pydevd puts before the name of a function that it replaces in a module.
_REPLACED = "original_"


class Integration:
    """
    Connects each guest to the editor, or turns the debugger off there.
    """

    def __init__(self) -> None:
        self._pydevd: Any = sys.modules["pydevd"]
        self._supervisor = os.getpid()
        #: Where the editor listens, as from `socket.getaddrinfo`; None if it takes no
        #: other process.
        self._editor: tuple[Any, ...] | None = None
        #: Sockets that a fork takes along. PyCharm tells through one of them where to
        #: connect the other.
        self._sockets: list[socket.socket] = []
        os.register_at_fork(before=self._open, after_in_parent=self._close)

    def _open(self) -> None:
        if os.getpid() == self._supervisor and _debugger() is not None:
            self._editor = _find_editor(self._pydevd.SetupHolder.setup or {})
            if self._editor is not None:
                self._sockets = [socket.socket(self._editor[0]) for _ in range(2)]

    def _close(self) -> None:
        for one in self._sockets:
            one.close()
        self._sockets = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_nsisolate_enter(self, item: pytest.Item) -> None:
        if _debugger() is None:
            return
        relay: Any = item.config.pluginmanager.get_plugin("nsisolate-relay")
        self._tell_ids(relay.pid_on_host)
        own = self._pydevd.start_client
        self._pydevd.start_client = self._connect
        try:
            if self._editor is not None:
                sys.modules["_pydev_bundle.pydev_monkey"]._on_forked_process()
            else:
                _turn_off()
        except OSError:
            # The editor has gone.
            _turn_off()
        finally:
            self._pydevd.start_client = own
            self._close()
        _leave_alone_what_starts()

    def _connect(self, _: str, port: int) -> socket.socket:
        """
        Do what `pydevd.start_client` does, with a socket from outside.
        """
        assert self._editor is not None
        connected = self._sockets.pop()
        host, _, *rest = self._editor[4]
        connected.connect((host, port, *rest))
        return connected

    def _tell_ids(self, pid_on_host: int) -> None:
        """
        Make pydevd tell debugpy the ids of this process and its parent outside.
        """
        commands: Any = sys.modules.get(
            "_pydevd_bundle.pydevd_process_net_command_json"
        )
        if commands is not None:
            functions = {**vars(os), "getpid": lambda: pid_on_host}
            commands.os = SimpleNamespace(**functions)
            self._pydevd.PyDevdAPI.get_ppid = lambda _: self._supervisor


def _debugger() -> object:
    """
    Return the debugger of this process, None if pydevd is only loaded.
    """
    return _holder().global_dbg


def _holder() -> Any:
    return sys.modules["_pydevd_bundle.pydevd_constants"].GlobalDebuggerHolder


def _find_editor(setup: dict[str, Any]) -> tuple[Any, ...] | None:
    """
    Return where the editor of pydevd's *setup* takes connections of other processes.
    """
    # PyCharm does so unless a setting forbids it, and debugpy always.
    takes_more = setup.get("multiproc") or setup.get("multiprocess")
    if setup.get("client") and (takes_more or "debugpy" in sys.modules):
        with contextlib.suppress(OSError):
            # IPv4 first, like pydevd.
            return min(
                socket.getaddrinfo(
                    setup["client"], setup["port"], type=socket.SOCK_STREAM
                )
            )
    return None


def _leave_alone_what_starts() -> None:
    """
    Keep the debugger out of the processes that this one will start.
    """
    for module in ("os", "subprocess", "_posixsubprocess"):
        functions = vars(sys.modules[module])
        for name in [one for one in functions if one.startswith(_REPLACED)]:
            functions[name.removeprefix(_REPLACED)] = functions[name]
    os.register_at_fork(after_in_child=_turn_off)


def _turn_off() -> None:
    """
    Let this process run without the debugger, since its threads are elsewhere.
    """
    _holder().global_dbg = None
    # Since Python 3.12 it needs no trace function.
    if sys.gettrace() is not None:
        tracing: Any = sys.modules["pydevd_tracing"]
        tracing.restore_sys_set_trace_func()
        tracing.SetTrace(None)
