"""
pytest-xdist with processes on other hosts, which boxes and links make.

They run in the environment of the servers (``tox -e servers``). The server of SSH is
that of the distribution: ``apt-get install openssh-server``.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

import pytest
from meeting import MEET
from ways import cannot

import pytest_nsisolate
from pytest_nsisolate import SandboxFactory

pytestmark = pytest.mark.usefixtures("nothing_left")

#: How long anything may take, in seconds.
PATIENCE = 60.0

TESTS = """
import os
import socket
import sys
import time
from pathlib import Path
import pytest

def test_host(record_property):
    record_property("python", "%d.%d" % sys.version_info[:2])
    assert socket.gethostname() == "far"

@pytest.mark.isolated(hostname="inner")
@pytest.mark.parametrize("number", range(4))
def test_inner(number):
    assert socket.gethostname() == "inner"
    assert os.getpid() < 10

@pytest.mark.isolated(hostname="inner")
def test_fails():
    print("printed there")
    value = socket.gethostname()
    assert value == "outer"
"""


#: Where the plugin is.
PACKAGE = Path(pytest_nsisolate.__file__).parent


def packages() -> set[Path]:
    """
    Return where everything is that tests there need.
    """
    folder = Path(sysconfig.get_path("purelib"))
    # It is built for one Python, and would load itself there.
    found = [one for one in folder.iterdir() if "hypothesis" not in one.name]
    return {one for one in found if one.suffix != ".pth"} | {PACKAGE}


def other_python() -> str | None:
    """
    Return a newer Python that this user can run.

    An older one may need packages that are not installed here.
    """
    for minor in range(sys.version_info[1] + 1, 16):
        name = f"python3.{minor}"
        near = Path(sys.base_prefix).parent.glob(f"*/bin/{name}")
        for path in (*near, shutil.which(name)):
            if path is None:
                continue
            tried = subprocess.run([path, "-c", ""], capture_output=True, check=False)
            if tried.returncode == 0:
                return str(path)
    return None


class Hosts:
    """
    A host where pytest runs, and one far away, with a link between them.

    Args:
        factory: Makes them.
        place: A directory that both see.
    """

    def __init__(self, factory: SandboxFactory, place: Path) -> None:
        self.place = place
        self.near = factory(hostname="near", net=True, leaks="ignore")
        self.far = factory(hostname="far", net=True, leaks="ignore", tmpfs=["/run"])
        self.wire = factory.link(self.near, self.far)
        self.address = self.wire.address(self.far)
        (place / "there").mkdir()
        (place / "suite").mkdir()
        (place / "suite" / "pytest.ini").write_text("[pytest]\n")

    def python(self, executable: str, found: set[Path]) -> str:
        """
        Return a command like *executable* that has just the packages *found*.
        """
        folder, script = self.place / "packages", self.place / "python"
        folder.mkdir()
        for one in found:
            (folder / one.name).symlink_to(one)
        script.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {executable} -S "$@"\n')
        script.chmod(0o755)
        return str(script)

    def serve_ssh(self) -> str:
        """
        Run a server of SSH on the far host; return what to write after ``ssh=``.
        """
        sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        user = pwd.getpwuid(os.getuid())
        if sshd is None:
            cannot("there is no sshd: apt-get install openssh-server")
        if user.pw_shell.endswith(("nologin", "false")):
            cannot(f"{user.pw_name} has no shell to log in with")
        for name in ("key", "host"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name]
            subprocess.run(command, cwd=self.place, check=True)
        lines = {
            "sshd": [
                "Port 2222",
                f"HostKey {self.place}/host",
                f"AuthorizedKeysFile {self.place}/key.pub",
                "StrictModes no",
                "UsePAM no",
                "PermitRootLogin yes",
                "PidFile none",
            ],
            "ssh": [
                "Host far",
                f"HostName {self.address}",
                "Port 2222",
                f"User {user.pw_name}",
                f"IdentityFile {self.place}/key",
                "StrictHostKeyChecking no",
                "UserKnownHostsFile /dev/null",
                "LogLevel ERROR",
            ],
        }
        for name, some in lines.items():
            (self.place / f"{name}.conf").write_text("\n".join(some) + "\n")
        # It wants this directory if it is root.
        self.far.run(os.makedirs, "/run/sshd")
        self.serve([sshd, "-D", "-e", "-f", str(self.place / "sshd.conf")], "listening")
        return f"-F {self.place}/ssh.conf far"

    def serve_socket(self) -> str:
        """
        Run execnet's server on the far host; return what to write after ``socket=``.
        """
        command = [sys.executable, "-um", "execnet.script.socketserver"]
        self.serve([*command, f"{self.address}:8888"], "accept loop")
        return f"{self.address}:8888"

    def serve(self, command: list[str], ready: str) -> None:
        """
        Run a server on the far host, and wait until it says that it is *ready*.
        """
        log = self.place / "server.log"
        with log.open("w") as file:
            server = self.far.popen(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=self.place / "there"
            )
        end = time.monotonic() + PATIENCE
        while ready not in log.read_text().lower():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.01)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """
        Start pytest on the near host.
        """
        suite = str(self.place / "suite")
        options = ["-p", "nsisolate", "-p", "xdist", "--dist=load"]
        options += ["--rsyncdir", suite, suite]
        return self.near.popen(
            [sys.executable, "-m", "pytest", *options, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.place / "suite",
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )

    def run(self, *arguments: str, tests: str = TESTS) -> tuple[int, str]:
        """
        Run pytest on the near host; return its exit code and what it shows.
        """
        (self.place / "suite" / "test_it.py").write_text(tests)
        process = self.start(*arguments)
        out, _ = process.communicate(timeout=PATIENCE)
        # Without the names of the files that were copied there.
        return process.returncode, re.sub(r"(?m)^.* <= .*\n", "", out)


@pytest.fixture
def hosts(sandbox_factory: SandboxFactory, tmp_path: Path) -> Hosts:
    """
    Return two hosts.
    """
    return Hosts(sandbox_factory, tmp_path)


@pytest.mark.parametrize("way", ["ssh", "socket", "proxy"])
def test_isolated_there(hosts: Hosts, way: str) -> None:
    """
    Isolated tests run on the other host, and report from there.
    """
    if way == "ssh":
        there = [f"--tx=ssh={hosts.serve_ssh()}//python={sys.executable}"]
    elif way == "socket":
        there = [f"--tx=socket={hosts.serve_socket()}"]
    else:
        proxy = f"--px=id=proxy//socket={hosts.serve_socket()}"
        there = [proxy, "--tx=popen//via=proxy"]
    there[-1] += f"//chdir={hosts.place}/there"
    code, shown = hosts.run(*there)
    assert code == pytest.ExitCode.TESTS_FAILED, shown
    assert "AssertionError: assert 'inner' == 'outer'" in shown
    assert "printed there" in shown
    assert "1 failed, 5 passed" in shown


def test_jobs_there(hosts: Hosts) -> None:
    """
    Each process there runs tests side by side.
    """
    tests = f"""
{MEET}
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_meets(name):
    meet(name, "a", "b", "c")
"""
    there = f"2*ssh={hosts.serve_ssh()}//python={sys.executable}"
    code, shown = hosts.run(
        f"--tx={there}//chdir={hosts.place}/there",
        "--dist=loadfile",
        "--nsisolate-jobs=3",
        "-v",
        tests=tests,
    )
    assert code == pytest.ExitCode.OK, shown
    assert "3 jobs in each process of pytest-xdist" in shown


def test_other_python(hosts: Hosts) -> None:
    """
    The Python there may be another one than here.
    """
    found = other_python()
    if found is None:
        pytest.skip("there is no other Python")
    python = hosts.python(found, packages())
    there = f"ssh={hosts.serve_ssh()}//python={python}"
    code, shown = hosts.run(f"--tx={there}//chdir={hosts.place}/there", "-v")
    assert code == pytest.ExitCode.TESTS_FAILED, shown
    assert f"Python {Path(found).name.removeprefix('python')}." in shown
    assert "1 failed, 5 passed" in shown


def test_plugin_is_missing(hosts: Hosts) -> None:
    """
    No test runs in a process that does not have the plugin.
    """
    python = hosts.python(sys.executable, packages() - {PACKAGE})
    ssh = hosts.serve_ssh()
    code, shown = hosts.run(f"--tx=ssh={ssh}//python={python}", "--no-header")
    assert code == pytest.ExitCode.USAGE_ERROR, shown
    assert " passed" not in shown
    lacks = "finds no module pytest_nsisolate"
    install = f"{sys.executable} -m pip install pytest-nsisolate"
    expected = (
        "ERROR: cannot isolate tests in gw0: it lacks pytest-nsisolate\n"
        f"why: {sys.executable} of --tx=ssh={ssh} {lacks}, and without it "
        "tests would run on the host\n"
        f"fix: ssh {ssh} {install}, or run with --no-nsisolate\n"
    )
    assert expected in shown


@pytest.mark.parametrize("end", ["dies", "wire is cut"])
def test_host_is_lost(hosts: Hosts, end: str) -> None:
    """
    If the other host dies, or cannot be reached, its test fails, and the session ends.

    SSH notices that a wire is cut, for it asks the other host whether it is there.
    """
    tests = f"""
{MEET}
def test_passes():
    pass

def test_runs():
    (HERE / "runs").touch()
    wait_for("never")
"""
    asks = "-o ServerAliveInterval=2"
    there = f"ssh={asks} {hosts.serve_ssh()}//python={sys.executable}"
    (hosts.place / "suite" / "test_it.py").write_text(tests)
    options = (f"--tx={there}//chdir={hosts.place}/there", "--max-worker-restart=0")
    shown = ""
    with hosts.start(*options, "-v") as process:
        assert process.stdout is not None
        limit = threading.Timer(2 * PATIENCE, process.kill)
        limit.start()
        # The report of the first test has come, and the second runs.
        while "PASSED" not in shown:
            shown += (more := process.stdout.read(1))
            assert more, shown
        while not (hosts.place / "there" / "suite" / "runs").exists():
            assert process.poll() is None, shown + process.stdout.read()
            time.sleep(0.01)
        if end == "dies":
            hosts.far.close()
        else:
            hosts.wire.down()
        shown += process.stdout.read()
    limit.cancel()
    assert process.returncode == pytest.ExitCode.TESTS_FAILED, shown
    assert "worker 'gw0' crashed while running" in shown
    assert "test_it.py::test_runs" in shown
    assert "1 failed, 1 passed" in shown
