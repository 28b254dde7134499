"""
Editors that debug pytest, as far as a test needs them: VS Code and PyCharm.

Each sets breakpoints in all processes of the session, notes where one stops, and lets
it go on.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

#: How long a session may take, in seconds. A test that waits for an editor in vain
#: would take for ever.
_LIMIT = 300

#: Where a process stopped: whether this is pytest itself, the function, and the line.
Stop: TypeAlias = "tuple[bool, str, int]"


class VSCode:
    """
    The debugger of VS Code: a client of `debugpy.adapter`.

    Args:
        file: The file with the breakpoints.
        lines: Their lines.
    """

    def __init__(self, file: Path, lines: Sequence[int]) -> None:
        self.stops: list[Stop] = []
        self.output = ""
        self._file = file
        self._lines = lines
        self._others: list[threading.Thread] = []

    def run_pytest(self, *arguments: str) -> int:
        """
        Run pytest with *arguments* in this directory, and return its exit code.
        """
        code: list[int] = []
        with subprocess.Popen(
            [sys.executable, "-m", "debugpy.adapter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as adapter:
            limit = threading.Timer(_LIMIT, adapter.kill)
            limit.start()
            assert adapter.stdin is not None
            assert adapter.stdout is not None
            launch = {
                "request": "launch",
                "module": "pytest",
                "args": arguments,
                "cwd": str(Path.cwd()),
                "console": "internalConsole",
                "redirectOutput": True,
                "subProcess": True,
            }
            self._session(adapter.stdout, adapter.stdin, launch, code)
            for other in self._others:
                other.join()
            limit.cancel()
            # It never ends if it still wrote when these pipes were closed.
            adapter.kill()
        return code[0] if code else -1

    def _session(
        self, here: Any, there: Any, start: dict[str, Any], code: list[int]
    ) -> None:
        """
        Debug a process from the request *start* until it has ended.
        """

        def send(command: str, **arguments: object) -> None:
            """
            Send a request, which the process may be too dead to get.
            """
            request = {
                "seq": 0,
                "type": "request",
                "command": command,
                "arguments": arguments,
            }
            body = json.dumps(request).encode()
            with contextlib.suppress(OSError):
                there.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
                there.flush()

        thread = 0
        send("initialize", adapterID="debugpy", pathFormat="path")
        send(**{"command": start["request"], **start})
        while (length := here.readline()).startswith(b"Content-Length"):
            here.readline()
            message = json.loads(here.read(int(length.split()[1])))
            body: dict[str, Any] = message.get("body") or {}
            kind = message.get("event") or message["command"]
            if kind == "initialized":
                lines = [{"line": line} for line in self._lines]
                send(
                    "setBreakpoints",
                    source={"path": str(self._file)},
                    breakpoints=lines,
                )
                send("configurationDone")
            elif kind == "debugpyAttach":
                self._attach(body)
            elif kind == "stopped":
                thread = body["threadId"]
                send("stackTrace", threadId=thread, levels=1)
            elif kind == "stackTrace":
                frame = body["stackFrames"][0]
                is_main = start["request"] == "launch"
                self.stops.append((is_main, frame["name"], frame["line"]))
                send("continue", threadId=thread)
            elif kind == "output":
                self.output += body["output"]
            elif kind == "exited":
                code.append(body["exitCode"])
            elif kind == "terminated":
                send("disconnect")
            elif kind == "disconnect":
                return

    def _attach(self, start: dict[str, Any]) -> None:
        """
        Debug another process beside the first, from the request *start*.
        """
        address = start["connect"]["host"], start["connect"]["port"]

        def run() -> None:
            """
            Debug it until it has ended.
            """
            with socket.create_connection(address) as connection:
                stream = connection.makefile("rwb")
                self._session(stream, stream, start, [])

        self._others.append(threading.Thread(target=run))
        self._others[-1].start()


class PyCharm:
    """
    The debugger of PyCharm, to which each process connects by itself.

    Args:
        file: The file with the breakpoints.
        lines: Their lines.
        attaches: Whether it debugs processes besides the first; its default.
    """

    #: Requests of the text protocol.
    _RUN, _SUSPENDED, _GO_ON, _BREAKPOINT, _PORT = 101, 105, 106, 111, 99

    def __init__(self, file: Path, lines: Sequence[int], *, attaches: bool) -> None:
        self.stops: list[Stop] = []
        self.output = ""
        self._file = file
        self._lines = lines
        self._attaches = attaches
        self._processes = 0

    def run_pytest(self, *arguments: str) -> int:
        """
        Run pytest with *arguments* in this directory, and return its exit code.
        """
        pydevd = importlib.util.find_spec("pydevd")
        assert pydevd is not None
        assert pydevd.origin is not None
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=self._accept, args=[server], daemon=True).start()
            command = [sys.executable, pydevd.origin, "--client", "127.0.0.1"]
            command += ["--port", str(server.getsockname()[1])]
            command += ["--multiproc"] * self._attaches
            command += ["--file", pytest_file(), *arguments]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_LIMIT, check=False
            )
        self.output = done.stdout + done.stderr
        return done.returncode

    def _accept(self, server: socket.socket) -> None:
        """
        Debug each process that connects to *server*.
        """
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                if self._attaches:
                    # This one asks where to connect.
                    with connection, socket.create_server(("127.0.0.1", 0)) as own:
                        port = own.getsockname()[1]
                        connection.sendall(f"{self._PORT}\t-1\t{port}\n".encode())
                        connection, _ = own.accept()
                self._processes += 1
                threading.Thread(
                    target=self._session,
                    args=[connection, self._processes == 1],
                    daemon=True,
                ).start()

    def _session(self, connection: socket.socket, is_main: bool) -> None:
        """
        Debug the process at the other end of *connection*.
        """

        def send(number: int, text: object = "") -> None:
            """
            Send the request *number* with *text*.
            """
            connection.sendall(f"{number}\t1\t{text}\n".encode())

        with contextlib.suppress(OSError), connection, connection.makefile() as stream:
            for line in self._lines:
                place = f"python-line\t{self._file}\t{line}\tNone\tNONE\tNone\tNone"
                send(self._BREAKPOINT, place)
            send(self._RUN)
            for received in stream:
                # A process that ends may cut its last line.
                if not received.endswith("\n"):
                    break
                number, _, text = received.split("\t", 2)
                if int(number) == self._SUSPENDED:
                    self.stops.append((is_main, *self._place(text)))
                    send(self._GO_ON, self._found(r'<thread id="(\w+)"', text)[1])

    def _place(self, text: str) -> tuple[str, int]:
        """
        Return function and line of the innermost frame in *text*.
        """
        frame = self._found(r'<frame [^>]*name="(\w+)"[^>]*line="(\d+)"', text)
        return frame[1], int(frame[2])

    def _found(self, pattern: str, text: str) -> re.Match[str]:
        """
        Return what *pattern* matches in *text*, which is escaped twice.
        """
        found = re.search(pattern, unquote(unquote(text)))
        assert found is not None
        return found


def pytest_file() -> str:
    """
    Return the file that runs pytest.
    """
    found = importlib.util.find_spec("pytest.__main__")
    assert found is not None
    assert found.origin is not None
    return found.origin
