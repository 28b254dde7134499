"""
The section that says of a failure with ``net=True`` what the test cannot reach.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twins import run_once

RunPytest = Callable[..., pytest.RunResult]

TITLE = "nsisolate network"
FACT = (
    "net=True of the marker: the test has a network of its own, from which nothing "
    "outside can be reached"
)

SERVERS = """
    import socket
    import socketserver
    import threading
    import pytest

    class Handler(socketserver.BaseRequestHandler):
        def handle(self): self.request.sendall(b"x")

    @pytest.fixture(scope="session")
    def database():
        return "sqlite://"

    @pytest.fixture(scope="module")
    def server(database):
        with socketserver.TCPServer(("127.0.0.1", 0), Handler) as made:
            threading.Thread(target=made.serve_forever, daemon=True).start()
            yield made.server_address
            made.shutdown()

    @pytest.fixture
    def client(server):
        with socket.create_connection(server) as made:
            yield made
"""


def sections_of(result: pytest.RunResult) -> list[list[str]]:
    """
    Return the lines of each of our sections in the output of *result*.
    """
    parts = result.stdout.str().split(f" {TITLE} ")[1:]
    texts = [part.partition("\n")[2] for part in parts]
    return [
        [line for line in text.split("\n", 3)[:3] if not line.startswith(("_", "="))]
        for text in texts
    ]


def test_server_of_a_borrowed_fixture(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    It says that the test has its own network, and what was set up outside it.
    """
    pytester.makepyfile(
        test_it=SERVERS
        + """
    @pytest.mark.isolated(net=True)
    def test_refused(server, tmp_path_factory, request):
        socket.create_connection(server)
    """
    )
    result = run_both_ways()
    result.assert_outcomes(failed=1)
    outside = "set up outside: database (session), server (module)"
    fix = (
        "fix: start the server in a fixture of function scope, or write "
        '@pytest.mark.isolated(net=True, scope="session")'
    )
    assert sections_of(result) == [[FACT, outside, fix]]


def test_fix(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Either fix, done as it says, makes the test pass.
    """
    test = "def test_connects(client): assert client.recv(1) == b'x'\n"
    scoped = 'pytestmark = pytest.mark.isolated(net=True, scope="session")'
    pytester.makepyfile(
        test_scope=f"{SERVERS}\n    {scoped}\n    {test}",
        test_function=SERVERS.replace('(scope="module")', "")
        + f"\n    pytestmark = pytest.mark.isolated(net=True)\n    {test}",
    )
    result = run_both_ways()
    result.assert_outcomes(passed=2)
    assert sections_of(result) == []


def test_phases(pytester: pytest.Pytester) -> None:
    """
    It is there in each phase, in subtests, and for each test of a shared guest.
    """
    pytester.makepyfile(
        SERVERS
        + """
    import unittest

    pytestmark = pytest.mark.isolated(net=True)

    @pytest.fixture
    def late(server):
        yield
        socket.create_connection(server)

    def test_setup(client): pass

    def test_teardown(late): pass

    class TestCase(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def address(self, server):
            self.server = server

        def test_case(self):
            socket.create_connection(self.server)

    @pytest.mark.isolated(scope="class")
    class TestShared:
        def test_one(self, server): socket.create_connection(server)

        def test_two(self, server): socket.create_connection(server)
    """
    )
    run = run_once(pytester, [])
    run.result.assert_outcomes(failed=3, passed=1, errors=2)
    found = sections_of(run.result)
    assert len(found) == 5
    assert all(lines[1].startswith("set up outside: ") for lines in found)


def test_setup_functions(pytester: pytest.Pytester) -> None:
    """
    Functions such as `setup_module` are named too, and fixtures of pytest are not.
    """
    pytester.makepyfile(
        """
        import socket
        import unittest
        import pytest

        pytestmark = pytest.mark.isolated(net=True)

        def setup_module():
            global server
            server = socket.create_server(("127.0.0.1", 0))

        def teardown_module():
            server.close()

        class TestCase(unittest.TestCase):
            @classmethod
            def setUpClass(cls): pass

            def test_case(self):
                socket.create_connection(server.getsockname())

        @pytest.fixture(scope="session")
        def dynamic(): pass

        def test_on_host(request):
            request.getfixturevalue("dynamic")

        test_on_host.pytestmark = []

        def test_dynamic(tmp_path_factory, request):
            request.getfixturevalue("dynamic")
            socket.create_connection(server.getsockname())
        """
    )
    run = run_once(pytester, [])
    run.result.assert_outcomes(failed=2, passed=1)
    assert [lines[1] for lines in sections_of(run.result)] == [
        "set up outside: setup_module (module), setUpClass (class)",
        "set up outside: setup_module (module)",
    ]


ERRORS = {
    "refused": "raise ConnectionRefusedError(ECONNREFUSED, 'no')",
    "real": "socket.create_connection(('127.0.0.1', 9))",
    "abstract": "socket.socket(socket.AF_UNIX).connect('\\0nobody-listens-here')",
    "unreachable": "socket.create_connection(('192.0.2.1', 80))",
    "datagram": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))",
    "unassigned": "socket.create_server(('192.0.2.1', 0))",
    "no_route": "raise OSError(errno.EHOSTUNREACH, 'no')",
    "name": "socket.create_connection(('example.invalid', 80))",
    "urllib": "urllib.request.urlopen('http://127.0.0.1:9')",
    "http": "http.client.HTTPConnection('127.0.0.1', 9).connect()",
    "asyncio": "asyncio.run(asyncio.open_connection('127.0.0.1', 9))",
    # A client written in C, such as libpq, has only the text.
    "text": "raise ValueError('server failed: ' + os.strerror(ECONNREFUSED))",
    # This is how asyncio joins the errors of several addresses.
    "several": "raise OSError(f'Multiple exceptions: [Errno {ECONNREFUSED}] no')",
    "cause": "raise ValueError('no') from OSError(ECONNREFUSED, 'no')",
    "reason": "raise urllib.error.URLError(OSError(ECONNREFUSED, 'no'))",
    "nested": "raise ValueError(ValueError(OSError(errno.ENETUNREACH, 'no')))",
}

OTHERS = {
    "assertion": "assert 0",
    "missing": "open('missing')",
    "socket": "socket.socket(socket.AF_UNIX).connect('missing')",
    "timeout": "raise TimeoutError(errno.ETIMEDOUT, 'too late')",
    "in_use": "raise OSError(errno.EADDRINUSE, 'in use')",
    "unprintable": "raise Unprintable",
    "unreadable": "raise Unreadable",
}

MODULE = """
import asyncio
import errno
import http.client
import os
import socket
import urllib.error
import urllib.request
from errno import ECONNREFUSED
import pytest

class Unprintable(Exception):
    def __str__(self): raise RuntimeError("no text")

class Unreadable(Exception):
    @property
    def errno(self): raise RuntimeError("no number")

    reason = exceptions = errno
"""


def module_of(statements: dict[str, str], marker: str) -> str:
    """
    Return a module with a marked test for each of *statements*.
    """
    tests = (
        f"@pytest.mark.isolated{marker}\ndef test_{name}():\n    {statement}\n"
        for name, statement in statements.items()
    )
    return "\n".join([MODULE, *tests])


def test_errors(pytester: pytest.Pytester) -> None:
    """
    Each error with the same cause has the section, however it is wrapped.
    """
    pytester.makepyfile(module_of(ERRORS, "(net=True)"))
    run = run_once(pytester, ["-p", "no:unraisableexception"])
    run.result.assert_outcomes(failed=len(ERRORS))
    without = [
        report["location"]
        for report in run.reports
        if report["outcome"] == "failed" and TITLE not in report["sections"]
    ]
    assert without == []
    # There is no borrowed fixture here.
    assert all(lines[:1] == [FACT] for lines in sections_of(run.result))
    assert "set up outside" not in run.stdout


@pytest.mark.parametrize(
    ("statements", "marker"),
    [(OTHERS, "(net=True)"), ({**ERRORS, **OTHERS}, ""), (ERRORS, "(net=False)")],
    ids=["other errors", "no network of its own", "explicitly none"],
)
def test_no_section(
    pytester: pytest.Pytester, statements: dict[str, str], marker: str
) -> None:
    """
    Other errors have none, nor has any where the network is the host's.
    """
    kept = {
        name: statement
        for name, statement in statements.items()
        # On the host, this may take long.
        if "192.0.2.1" not in statement and "invalid" not in statement
    }
    pytester.makepyfile(module_of(kept, marker))
    run = run_once(pytester, ["-p", "no:unraisableexception"])
    run.result.assert_outcomes(failed=len(kept))
    assert TITLE not in run.stdout
    assert "did not finish" not in run.stdout


def test_expected_errors(pytester: pytest.Pytester) -> None:
    """
    A test that expects the error passes, and one that is excused has no section.
    """
    pytester.makepyfile(
        MODULE
        + """
@pytest.mark.isolated(net=True)
def test_expected():
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 9))

@pytest.mark.isolated(net=True)
@pytest.mark.xfail
def test_excused():
    socket.create_connection(("127.0.0.1", 9))
"""
    )
    run = run_once(pytester, ["-rA"])
    run.result.assert_outcomes(passed=1, xfailed=1)
    assert TITLE not in run.stdout
