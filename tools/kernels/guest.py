"""
The first process of a guest: makes the machine, tries everything, and ends it.

It runs inside, where only the standard library and pytest are. Each line that it writes
to the serial port for results is one of them in JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

_MOUNTS = (
    ("proc", "/proc", "nosuid,nodev,noexec"),
    ("sysfs", "/sys", "nosuid,nodev,noexec"),
    ("devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666"),
    ("tmpfs", "/dev/shm", "nosuid,nodev,mode=1777"),
    ("mqueue", "/dev/mqueue", "nosuid,nodev,noexec"),
    ("tmpfs", "/run", "nosuid,nodev,mode=755"),
    ("tmpfs", "/tmp", "nosuid,nodev,mode=1777"),
    ("securityfs", "/sys/kernel/security", "nosuid,nodev,noexec"),
    ("cgroup2", "/sys/fs/cgroup", "nosuid,nodev,noexec"),
)

_PYTEST = (
    *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no"),
    # Each way into a sandbox is tried by whom it is for.
    *("-p", "no:hypothesispytest", "-m", "not emulated"),
)
_MAIN_JOB = (
    *("docs/examples/hostname", "docs/examples/sysv_ipc"),
    "tools/kernels/test_isolation.py",
)
_NETWORK = (
    *("tests/sandbox/test_net.py", "tests/box/test_link.py"),
    "tools/kernels/test_netem.py",
    *("-k", "inside or both_ways or cut or shape or three_hosts or netem"),
)
_QUEUES = (
    "tests/sandbox/test_ipc.py::test_message_queues_are_listed",
    "tests/sandbox/test_leak_audit.py::test_posix_queues",
    *("-p", "pytester", "tools/kernels/test_queues.py"),
)


@dataclasses.dataclass(frozen=True)
class Step:
    """
    A program to run, once as root and once as a user.
    """

    command: Sequence[str]
    """Program and arguments."""
    timeout: float
    """The time limit in seconds."""
    is_root: bool = False
    """Whether it is always root who runs it, with the user as its argument."""


@dataclasses.dataclass(frozen=True)
class Result:
    """
    What came of a step.
    """

    step: str
    """Its name."""
    user: str
    """Whom it was run as."""
    code: int | None
    """The exit code, None if it took too long."""
    seconds: float
    """How long it took."""
    output: str
    """What it printed."""

    @property
    def is_good(self) -> bool:
        """
        Whether all was well.
        """
        return self.code == 0


STEPS = {
    "doctor": Step((sys.executable, "-m", "pytest_nsisolate"), 120),
    "examples": Step((*_PYTEST, "docs/examples"), 600),
    "brief": Step((*_PYTEST, *_MAIN_JOB), 600),
    "isolation": Step((*_PYTEST, "tools/kernels/test_isolation.py"), 300),
    "network": Step((*_PYTEST, *_NETWORK), 900),
    "queues": Step((*_PYTEST, *_QUEUES), 300),
    "refusals": Step(
        (sys.executable, "tools/kernels/made_real.py"), 1800, is_root=True
    ),
}

#: The steps of the table, and the one for CI.
FULL = ("doctor", "examples", "isolation", "network", "queues", "refusals")
BRIEF = ("brief",)

USERS = ("tester", "root")


def main() -> None:
    """
    Run the steps that the command line of the kernel names, and end the machine.
    """
    os.umask(0o022)
    os.environ.update(
        PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        LANG="C.UTF-8",
        NSISOLATE_MUST_WORK="1",
    )
    for kind, place, options in _MOUNTS:
        os.makedirs(place, exist_ok=True)
        _run("mount", "-t", kind, "-o", options, kind, place)
    _run("chmod", "1777", "/dev/mqueue")
    # As systemd has it.
    _run("mount", "--make-rshared", "/")
    _run("hostname", "guest")
    _run("ip", "link", "set", "lo", "up")
    with open("/proc/cmdline") as file:
        words = dict(word.partition("=")[::2] for word in file.read().split())
    port = f"/dev/{words['results']}"
    _run("stty", "-F", port, "raw")
    child = os.fork()
    if child == 0:
        # Not the first process: an error must not end the machine before its time.
        try:
            _try_all(words["trials"].split(","), port)
        finally:
            os._exit(0)
    # Reap the orphans of others too.
    while os.wait()[0] != child:
        pass
    os.sync()
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("b")


def _try_all(steps: Sequence[str], port: str) -> None:
    with open(port, "w") as file:
        for name in steps:
            for user in USERS:
                result = dataclasses.asdict(_try(name, user))
                print(json.dumps(result), file=file, flush=True)


def _try(name: str, user: str) -> Result:
    """
    Run step *name* as *user*, and return what came of it.
    """
    step, account = STEPS[name], pwd.getpwnam(user)
    command = step.command
    if step.is_root:
        command, account = (*command, user), pwd.getpwnam("root")
    begun = time.monotonic()
    # Not a pipe, which what is left of a step that took too long would keep open.
    with tempfile.TemporaryFile() as output:
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = subprocess.run(
                command,
                cwd="/trials",
                env={**os.environ, "HOME": account.pw_dir, "USER": account.pw_name},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=[],
                timeout=step.timeout,
                check=False,
            ).returncode
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Result(name, user, code, round(time.monotonic() - begun, 1), text)


def _run(*command: str) -> None:
    subprocess.run(command, check=False)


if __name__ == "__main__":
    main()
