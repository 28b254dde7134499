"""
What a session loads and does for isolation, and when: not before it needs to.
"""

from __future__ import annotations

import json

import pytest
from ways import RunPytest

#: Writes at the end which modules of the plugin are loaded, and by which loader.
LOADED = """
import json
import sys
from pathlib import Path

def pytest_unconfigure():
    loaded = {
        name: type(module.__loader__).__name__
        for name, module in sys.modules.items()
        if name.partition(".")[0] == "pytest_nsisolate"
    }
    Path("loaded").write_text(json.dumps(loaded))
"""

#: What every session needs: what was asked for, and what isolated tests may need later.
PACKAGES = {"compat", "model", "settings"}
LIGHT = {
    "",
    "hookspecs",
    "linux",
    "linux.at_fork",
    "linux.stdlib",
    "plugin",
    "reporting",
    "reporting.refusals",
    "runner",
    "runner.factory_fixtures",
    "runner.roles",
    "runner.surroundings",
}

#: Those in memory before pytest can be told not to rewrite the others.
FIRST = {"", "compat", "compat.plain_import", "plugin"}

PLAIN = "def test_plain(): pass\n"
MARKED = "import pytest\n@pytest.mark.isolated\ndef test_marked(): pass\n"


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        pytest.param(PLAIN, [], id="plain"),
        pytest.param(MARKED, ["--no-nsisolate"], id="off"),
        pytest.param(MARKED, ["--collect-only"], id="collect-only"),
        pytest.param(MARKED, ["--nsisolate", "--collect-only"], id="collect-all"),
        pytest.param(MARKED, ["--markers"], id="markers"),
        pytest.param(MARKED, ["--fixtures"], id="fixtures"),
        pytest.param(MARKED, ["--fixtures-per-test"], id="fixtures-per-test"),
        pytest.param(MARKED, ["--help"], id="help"),
    ],
)
def test_only_what_is_needed(
    pytester: pytest.Pytester, content: str, arguments: list[str]
) -> None:
    """
    Where nothing is isolated, nothing is loaded for it, and nothing is rewritten.
    """
    pytester.makeconftest(LOADED)
    pytester.makepyfile(content)

    result = pytester.runpytest_subprocess(*arguments)

    assert result.ret == 0
    found = json.loads(pytester.path.joinpath("loaded").read_text())
    loaders = {name.partition(".")[2]: loader for name, loader in found.items()}
    light = {one for one in loaders if one.partition(".")[0] in PACKAGES} | LIGHT
    assert loaders.keys() - light == set()
    rewritten = {name for name, one in loaders.items() if "Rewriting" in one}
    assert rewritten <= FIRST
    result.stdout.no_fnmatch_line("nsisolate: ipc*")


#: Those for which something is imported earlier.
OPTIONS = [
    *("--nsisolate-usage=0", "--nsisolate-leaks=warn", "--nsisolate-flavours=isolated"),
    *("-v", "tests"),
]

NAMESAKES = """
import os
import sys
import pytest

def test_where():
    assert os.path.samefile(sys.path[0], os.path.dirname(__file__))

def test_box(sandbox_factory):
    assert sandbox_factory().run(abs, -3) == 3

@pytest.mark.isolated
def test_it(sandbox_factory):
    assert sandbox_factory().run(abs, -3) == 3
"""


@pytest.mark.parametrize("options", [[], OPTIONS], ids=["plain", "options"])
def test_namesakes(
    pytester: pytest.Pytester, run_both_ways: RunPytest, options: list[str]
) -> None:
    """
    Modules beside the tests do not take the place of Python's own.
    """
    # Not in the current directory, where they would take the place of pytest's.
    names = ["ctypes", "difflib", "fcntl", "mmap", "pickle", "resource", "termios"]
    for name in names:
        path = pytester.path / "tests" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"raise ImportError({name!r})\n")
    (path.parent / "test_it.py").write_text(NAMESAKES)

    run_both_ways(*options).assert_outcomes(passed=3)


#: Isolates the second and the third test only when the first has run.
LATE = """
import asyncio
import socket
import pytest

def pytest_collection_modifyitems(items):
    ITEMS.extend(items)

ITEMS = []

def pytest_runtest_logfinish(nodeid):
    if nodeid == ITEMS[0].nodeid:
        for one in ITEMS[1:3]:
            one.add_marker(pytest.mark.isolated(scope="module"))

class Pair:
    def __init__(self, loop):
        self.loop = loop
        self.here, self.there = socket.socketpair()
        self.loop.add_reader(self.here.fileno(), self.read)

    def read(self):
        self.received.set_result(self.here.recv(10))

    def exchange(self):
        self.received = self.loop.create_future()
        self.there.send(b"!")
        return self.loop.run_until_complete(asyncio.wait_for(self.received, 20))

@pytest.fixture(scope="session")
def loop():
    with open("set up", "a") as file:
        file.write("once")
    return asyncio.new_event_loop()

@pytest.fixture(scope="session")
def pair(loop):
    return Pair(loop)
"""


STAND_INS = """
import sys
from unittest import mock

sys.executable = "/nowhere"
NAMES = ["ctypes", "fcntl", "mmap", "termios"]
STAND_IN = mock.MagicMock()
sys.modules.update(dict.fromkeys(NAMES, STAND_IN))

def test_stand_ins():
    assert not {type(sys.modules[one]).__name__ for one in NAMES} & {"module"}
"""


@pytest.mark.parametrize("stand_in", ["mock.MagicMock()", "None"])
def test_stand_ins(
    pytester: pytest.Pytester, run_both_ways: RunPytest, stand_in: str
) -> None:
    """
    Nor does what tests have put in the place of Python's own, which stays for them.
    """
    source = STAND_INS.replace("mock.MagicMock()", stand_in)
    pytester.makepyfile(f"{source}\n{NAMESAKES}")

    result = run_both_ways("-k", "not where")

    result.assert_outcomes(passed=3, deselected=1)


def test_isolated_at_the_last_moment(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    Tests that are isolated when another has run borrow what that one has set up.
    """
    pytester.makeconftest(LATE)
    pytester.makepyfile(
        """
        import os
        import warnings
        import pytest

        PID = os.getpid()

        def test_first(pair):
            assert os.getpid() == PID and pair.exchange() == b"!"

        @pytest.mark.filterwarnings("error")
        def test_second(pair):
            assert os.getpid() != PID
            # The loop of pytest goes on watching this descriptor.
            assert pair.loop.remove_reader(pair.here.fileno())

        def test_third(pair):
            assert os.getpid() != PID
            warnings.warn("the filter is for the second test")

        def test_fourth(pair):
            assert os.getpid() == PID and pair.exchange() == b"!"
            assert open("set up").read() == "once"
        """
    )

    run_both_ways().assert_outcomes(passed=4, warnings=1)


IS_SHOWN = "nsisolate: ipc*"


@pytest.mark.parametrize(
    ("content", "arguments", "place"),
    [
        pytest.param(MARKED, [], "below", id="marked"),
        pytest.param(MARKED, ["-v"], "header", id="verbose"),
        pytest.param(PLAIN, ["-v"], "header", id="plain-verbose"),
        pytest.param(PLAIN, ["--nsisolate"], "header", id="every"),
        pytest.param(PLAIN, [], None, id="plain"),
        pytest.param(MARKED, ["-q"], None, id="quiet"),
        pytest.param(MARKED, ["--collect-only", "-v"], None, id="collect-only"),
        pytest.param(MARKED, ["-k", "nothing"], None, id="deselected"),
        pytest.param(MARKED, ["--no-nsisolate", "--collect-only"], None, id="off"),
    ],
)
def test_line(
    pytester: pytest.Pytester, content: str, arguments: list[str], place: str | None
) -> None:
    """
    The line on isolation is shown where a test asks for it, or where it is sure to.
    """
    pytester.makepyfile(content)

    result = pytester.runpytest_subprocess(*arguments)

    expected = {
        "header": [IS_SHOWN, "rootdir: *"],
        "below": ["collected 1 item", IS_SHOWN, ""],
    }
    if place is None:
        result.stdout.no_fnmatch_line("nsisolate: *")
    else:
        result.stdout.fnmatch_lines(expected[place], consecutive=True)


@pytest.mark.parametrize("writes", [False, True])
def test_xml_that_nobody_writes(pytester: pytest.Pytester, *, writes: bool) -> None:
    """
    The integration with JUnit's XML is there only where pytest writes that.
    """
    pytester.makepyfile(
        """
        def test_it(request):
            manager = request.config.pluginmanager
            print("here:", manager.has_plugin("nsisolate-junitxml"))
        """
    )
    more = ["--junitxml=out.xml"] if writes else []
    result = pytester.runpytest_subprocess("--nsisolate", "-s", *more)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*here: {writes}"])
