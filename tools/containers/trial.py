"""
The tests that are run in each container, one for each thing that may be refused there.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from pytest_nsisolate import SandboxFactory

_OUTSIDE = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("ipc", "net")}

#: A day in seconds.
_DAY = 86400

#: The time outside, before any test.
_STARTED = time.monotonic()

#: A server for one client.
_SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], 5432)) as server:
    print("ready", flush=True)
    server.accept()[0].close()
"""


@pytest.mark.isolated
def test_isolated() -> None:
    """
    The bare marker gives a test namespaces and a /proc of its own.
    """
    assert os.readlink("/proc/self/ns/ipc") != _OUTSIDE["ipc"]
    assert sorted(filter(str.isdecimal, os.listdir("/proc"))) == ["1", str(os.getpid())]


@pytest.mark.isolated(proc=False)
def test_proc() -> None:
    """
    Without a /proc of its own, a test has the namespaces and sees the container's.
    """
    assert os.readlink("/proc/self/ns/ipc") != _OUTSIDE["ipc"]
    assert os.readlink("/proc/self") != str(os.getpid())


@pytest.mark.isolated(hostname="t1", domainname="lab")
def test_hostname() -> None:
    """
    A test has the hostname that it asks for.
    """
    assert socket.gethostname() == "t1"


@pytest.mark.isolated(net=True)
def test_net() -> None:
    """
    A test has a network of its own, with the loopback up.
    """
    assert os.readlink("/proc/self/ns/net") != _OUTSIDE["net"]
    with socket.create_server(("127.0.0.1", 5432)) as server:
        socket.create_connection(server.getsockname(), 10).close()


@pytest.mark.isolated(user="root")
def test_root() -> None:
    """
    As root of the sandbox, a test may mount.
    """
    subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], check=True, timeout=60)
    assert os.listdir("/mnt") == []
    subprocess.run(["umount", "/mnt"], check=True, timeout=60)


@pytest.mark.isolated(time={"monotonic": _DAY})
def test_time() -> None:
    """
    A test's clock is shifted by as much as it asks for.
    """
    assert time.monotonic() > _STARTED + _DAY


def test_box(sandbox_factory: SandboxFactory) -> None:
    """
    A box runs functions and processes.
    """
    box = sandbox_factory(hostname="b")
    assert box.run(socket.gethostname) == "b"
    assert box.popen(["true"]).wait(60) == 0


def test_link(sandbox_factory: SandboxFactory) -> None:
    """
    A box reaches a server in another one over a link.
    """
    here = sandbox_factory(net=True)
    there = sandbox_factory(net=True)
    address = sandbox_factory.link(here, there).address(there)
    server = there.popen([sys.executable, "-c", _SERVER, address], stdout=-1)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"

    here.run(lambda: socket.create_connection((address, 5432), 10).close())

    assert server.wait(60) == 0


def main() -> None:
    """
    Run each test in a pytest of its own, and print how they ended, as JSON.

    So each says why it is refused, even if it is for the same reason as another.
    """
    results = {}
    for name in [name for name in globals() if name.startswith("test_")]:
        with tempfile.TemporaryFile("w+") as output:
            # A fork, since it takes long to import pytest.
            pid = os.fork()
            if pid == 0:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                ended = pytest.main([f"{__file__}::{name}", "-p", "no:cacheprovider"])
                sys.stdout.flush()
                os._exit(ended)
            _, status = os.waitpid(pid, 0)
            output.seek(0)
            results[name] = [os.waitstatus_to_exitcode(status), output.read()]
    print(json.dumps(results))


if __name__ == "__main__":
    main()
