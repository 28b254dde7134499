"""
Network namespaces, which ``net=True`` gives to a test with every port free.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable

import pytest
from examination import DOCTOR, SAID, examine, refused
from mounts import SPACE
from ways import KEEP, PLAIN, WAYS, cannot

from pytest_nsisolate.diagnosis import explain
from pytest_nsisolate.linux import namespaces, syscalls
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.pool import Pool

RunPytest = Callable[..., pytest.RunResult]

TESTS = """
import errno
import os
import socket
import threading
from pathlib import Path

import pytest

LOOPBACK = [(socket.AF_INET, "127.0.0.1")]
if Path("/proc/net/if_inet6").exists():
    LOOPBACK += [(socket.AF_INET6, "::1")]
HOST = os.readlink("/proc/self/ns/net")
IN_SYS = os.path.isdir("/sys/class/net") and os.listdir("/sys/class/net")

@pytest.fixture(scope="session")
def on_host():
    with socket.create_server(("127.0.0.1", 0)) as tcp, \\
            socket.socket(socket.AF_UNIX) as abstract, \\
            socket.socket(socket.AF_UNIX) as named:
        abstract.bind("")
        abstract.listen()
        named.bind("by-path")
        named.listen()
        yield tcp, abstract
        Path("by-path").unlink()

@pytest.mark.parametrize("family, address", LOOPBACK)
@pytest.mark.parametrize("again", range(2))
@pytest.mark.isolated(net=True)
def test_port(family, address, again, isolation):
    with socket.create_server((address, 5432), family=family) as server:
        with socket.create_connection((address, 5432), timeout=5) as client:
            client.sendall(b"x")
            assert server.accept()[0].recv(1) == b"x"
    assert isolation.namespaces[:5] == ("ipc", "uts", "pid", "mnt", "net")
    assert os.readlink("/proc/self/ns/net") != HOST

@pytest.mark.isolated(net=True)
def test_nothing_else(on_host):
    tcp, abstract = on_host
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
    with open("/proc/net/dev") as file:
        assert [line.split()[0] for line in file][2:] == ["lo:"]
    with pytest.raises(OSError) as caught:
        socket.create_connection(("192.0.2.1", 80), timeout=5)
    assert caught.value.errno == errno.ENETUNREACH
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(tcp.getsockname(), timeout=5)
    with socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(ConnectionRefusedError):
            client.connect(abstract.getsockname())
    with socket.socket(socket.AF_UNIX) as free:
        free.bind(abstract.getsockname())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("by-path")
    assert IN_SYS == (os.path.isdir("/sys/class/net") and os.listdir("/sys/class/net"))

@pytest.mark.isolated
def test_without(on_host, isolation):
    assert "net" not in isolation.namespaces
    assert os.readlink("/proc/self/ns/net") == HOST
    socket.create_connection(on_host[0].getsockname(), timeout=5).close()

@pytest.mark.isolated(net=False)
def test_no():
    assert os.readlink("/proc/self/ns/net") == HOST

@pytest.mark.isolated(net=True, user="root")
def test_root(isolation):
    socket.create_server(("127.0.0.1", 80)).close()
    assert isolation.namespaces[4] == "net"
    assert os.readlink("/proc/self/ns/net") != HOST

def test_host():
    assert os.readlink("/proc/self/ns/net") == HOST
"""


@pytest.mark.parametrize("option", [[], ["--nsisolate"]])
def test_inside(
    pytester: pytest.Pytester, run_both_ways: RunPytest, option: list[str]
) -> None:
    """
    Only a test with ``net=True`` has a network of its own, with nothing but loopback.
    """
    pytester.makepyfile(test_inside=TESTS)

    result = run_both_ways(*option)

    ports = 4 if os.path.exists("/proc/net/if_inet6") else 2
    result.assert_outcomes(passed=ports + 5)


@pytest.mark.parametrize(("ahead", "wanted"), [(None, True), (True, None)])
def test_made_ahead(ahead: bool | None, wanted: bool | None) -> None:
    """
    A sandbox made ahead is used only if it has the network that the test asks for.
    """
    pool = Pool()
    pool.prepare(Spec(net=ahead))
    sandbox = pool.take(Spec(net=wanted))

    # Source: proc_pid_fdinfo(5).
    with open(f"/proc/self/fdinfo/{sandbox.init}") as file:
        (pid,) = (line.split()[1] for line in file if line.startswith("Pid:"))
    own = os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    sandbox.close()
    pool.stop()
    assert own is (namespaces.NET in sandbox.namespaces) is bool(wanted)


def test_false_is_none() -> None:
    """
    A sandbox made ahead without a network is used for ``net=False`` too.
    """
    pool = Pool()
    pool.prepare(Spec())
    (launcher,) = pool._launchers.values()
    asked = launcher._asked
    launcher.ask(Spec(net=False))
    assert launcher._asked is asked
    pool.stop()


REFUSED = """
from pathlib import Path
import pytest

@pytest.mark.isolated(net=True)
def test_net(): Path("ran").write_text("")

@pytest.mark.isolated
def test_other(): pass
"""
KINDS = "unshare(CLONE_NEWIPC|CLONE_NEWUTS|CLONE_NEWNS|CLONE_NEWNET)"
COMMAND = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]


def test_limit_of_networks(pytester: pytest.Pytester) -> None:
    """
    Where network namespaces are forbidden, only a test that asks for one is refused.
    """
    pytester.makepyfile(test_refused=REFUSED)
    zero = 'echo 0 > /proc/sys/user/max_net_namespaces; exec "$@"'

    result = pytester.run(*SPACE, "sh", "-c", zero, "sh", *COMMAND, timeout=60)

    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            f"cannot isolate test_net: {KINDS} failed: ENOSPC",
            "why: * forbids one kind of namespace (user.max_net_namespaces is 0)",
            "fix: sudo sysctl -w user.max_net_namespaces=10000",
        ]
    )
    assert not (pytester.path / "ran").exists()


def test_limit_that_does_not_matter(files: dict[str, str]) -> None:
    """
    A limit on network namespaces is not the reason given for another namespace.
    """
    files["/proc/sys/user/max_net_namespaces"] = "0"
    files["/proc/self/uid_map"] = "0 0 4294967295"

    others = explain.choose(Refused("unshare(CLONE_NEWIPC)", errno.ENOSPC))
    net = explain.choose(Refused(KINDS, errno.ENOSPC))

    assert others[0].name == "limit-reached"
    assert "net" not in others[1]["values"]
    assert net[1] == {"setting": "user.max_net_namespaces"}


#: Installs a seccomp filter that refuses `unshare` of the flags in its first argument.
FILTER = """
import ctypes, os, struct, sys
ARCH, UNSHARE = {"x86_64": (0xC000003E, 272), "aarch64": (0xC00000B7, 97)}[
    os.uname().machine
]
def op(code, k, jt=0, jf=0):
    return struct.pack("=HBBI", code, jt, jf, k)
# Load the architecture, the number, the first argument; allow unless it has the bit.
code = b"".join([
    op(0x20, 4), op(0x15, ARCH, 0, 5), op(0x20, 0), op(0x15, UNSHARE, 0, 3),
    op(0x20, 16), op(0x45, int(sys.argv[1]), 0, 1), op(0x06, 0x00050001),
    op(0x06, 0x7FFF0000),
])
data = ctypes.create_string_buffer(code)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc, zero = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong(0)
program = Program(len(code) // 8, ctypes.addressof(data))
assert libc.prctl(38, ctypes.c_ulong(1), zero, zero, zero) == 0
if libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(program), zero, zero):
    sys.exit(f"no filter: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("way", list(WAYS))
def test_seccomp(pytester: pytest.Pytester, way: str) -> None:
    """
    A seccomp filter is named if it refuses network namespaces; other tests run.
    """
    pytester.makepyfile(test_refused=REFUSED)
    script = str(pytester.makepyfile(refusing=FILTER))
    prefix = [*WAYS[way], sys.executable, script, str(syscalls.CLONE_NEWNET)]
    if pytester.run(*prefix, "true", timeout=20).ret:
        cannot("no seccomp filter can be set")

    result = pytester.run(*prefix, *COMMAND, timeout=60)

    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            f"cannot isolate test_net: {KINDS} failed: EPERM",
            "why: a seccomp filter refuses unshare(): *(Seccomp is 2 in *",
            "fix: * run *",
        ]
    )


@pytest.mark.parametrize("way", [PLAIN, KEEP])
def test_doctor(pytester: pytest.Pytester, way: str) -> None:
    """
    The doctor reports that network namespaces are refused and that bare tests can run.
    """
    zero = 'echo 0 > /proc/sys/user/max_net_namespaces; exec "$@"'

    found = examine(pytester, *SPACE, "sh", "-c", zero, "sh", *DOCTOR, "--json")

    assert found["available"] is True
    assert found["facts"]["settings"]["user.max_net_namespaces"] == "0"
    both = {"net": "ENOSPC", "net=True": "ENOSPC"}
    assert both.items() >= refused(found, way).items() >= {("net", "ENOSPC")}
    (lo,) = (
        one
        for one in found["trials"]
        if (one["name"], one["way"]) == ("lo up", SAID[way])
    )
    assert lo["needs"] == "net"


def test_a_link_that_is_not_there() -> None:
    """
    The error names the call that failed and the interface.
    """
    with socket.socket() as made, pytest.raises(OSError, match="No such dev") as caught:
        syscalls.set_link_up(made.fileno(), "nsisolate0")
    assert caught.value.filename == "ioctl(SIOCGIFFLAGS, nsisolate0)"
    with open("/dev/null") as file, pytest.raises(OSError, match="ioctl") as caught:
        syscalls.set_link_up(file.fileno(), "lo")
    assert caught.value.filename == "ioctl(SIOCGIFFLAGS, lo)"
