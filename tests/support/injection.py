"""
Runs of pytest under strace in which system calls of a sandbox's set-up fail.

The calls, and how often one process makes them, are read from a trace of a run in which
nothing fails. So a new call is covered without being listed here.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import machine
import psutil
from ways import WAYS, cannot

#: Calls of the set-up that little else makes. Calls that wait for a process are left
#: out: an error that strace invents would say that there is none, although there is.
CALLS = (
    "capget,capset,chdir,chroot,clone,clone3,fchdir,fork,memfd_create,mount,pidfd_open,"
    "pidfd_send_signal,pipe2,prctl,recvmsg,sendmsg,sendto,setdomainname,sethostname,"
    "setns,setpgid,socketpair,statfs,unshare,vfork"
)

#: The errno with which these fail; all others fail with EPERM.
ERRORS = {
    **dict.fromkeys(("clone", "clone3", "fork", "vfork"), "EAGAIN"),
    **dict.fromkeys(("memfd_create", "pidfd_open", "pipe2", "socketpair"), "EMFILE"),
    **dict.fromkeys(("recvmsg", "sendmsg", "sendto"), "ENOBUFS"),
}

TESTS = """
import pytest

def note(name):
    # Killed in here, a test must not take the notes of others with it.
    with open("ran", "a") as file:
        file.write(name)

@pytest.mark.isolated(hostname="t1", domainname="lab")
def test_one():
    note("one ")

@pytest.mark.isolated
def test_two():
    note("two ")

def test_host(): pass
"""

#: A line of a trace: the process, the call and the rest.
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """
    The result of one run.
    """

    code: int
    text: str
    seconds: float
    left: list[str]
    hung: bool
    ran: str

    def problem(self) -> str | None:
        """
        Return what is wrong with this run, if anything.
        """
        passed = re.search(r"\b(\d+) passed", self.text)
        problems = {
            "it hung": self.hung,
            f"it left {self.left}": bool(self.left),
            "INTERNALERROR": "INTERNALERROR" in self.text,
            f"exit code {self.code}": self.code not in {0, 1},
            "a test is green that has not run": passed is None
            or int(passed[1]) > len(set(self.ran.split())) + 1,
            "no three lines": self.code == 1 and not _has_three_lines(self.text),
        }
        return next((text for text, is_so in problems.items() if is_so), None)


def _has_three_lines(text: str) -> bool:
    """
    Say whether the output has what, why and fix.
    """
    what = r"^(cannot isolate test_\w+: .+ failed: \w+|test_\w+ did not finish: .+)"
    return bool(re.search(what + r"\nwhy: .+\nfix: .+", text, re.MULTILINE))


class Injection:
    """
    Runs of `TESTS` in *path* by *way*, each with one call that fails.
    """

    def __init__(self, path: Path, way: str) -> None:
        if shutil.which("strace") is None:
            cannot("there is no strace")
        self._path = path
        # setpriv and unshare make the same calls, so they come before strace.
        self._prefix = WAYS[way]
        (path / "test_injected.py").write_text(TESTS)
        if subprocess.run(
            ["strace", "-f", "-o", "/dev/null", "true"], check=False
        ).returncode:
            cannot("strace cannot trace here")

    def run(self, *options: str, seconds: float = 40) -> Outcome:
        """
        Run pytest under strace with *options*, and check what is left.
        """
        strace = ["strace", "-f", "-qq", "-o", str(self._path / "trace")]
        return self.behind([*strace, *options], seconds=seconds)

    def behind(
        self, prefix: list[str], *arguments: str, seconds: float = 40
    ) -> Outcome:
        """
        Run pytest behind the command *prefix*, and check what is left.
        """
        mark = f"nsisolate-injected-{os.getpid()}-{time.monotonic_ns()}"
        ran = self._path / "ran"
        ran.write_text("")
        command = [
            *(*self._prefix, *prefix),
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"),
            # pytest opens files at the end of the session.
            *("-p", "no:hypothesispytest", "test_injected.py", *arguments),
        ]
        begin = time.monotonic()
        with subprocess.Popen(
            command,
            cwd=self._path,
            env={**os.environ, "MARK": mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                text, hung = process.communicate(timeout=seconds)[0], False
            except subprocess.TimeoutExpired:
                text, hung = "", True
                for one in _marked(mark):
                    one.kill()
                process.kill()
        taken = time.monotonic() - begin
        end = time.monotonic() + 20
        while (left := _marked(mark)) and time.monotonic() < end and not hung:
            time.sleep(0.01)
        names = [" ".join(machine.command_of(one)[:6]) for one in left]
        return Outcome(process.returncode, text, taken, names, hung, ran.read_text())

    def calls(self) -> dict[str, int]:
        """
        Return each call of the set-up and how often one process makes it at most.
        """
        outcome = self.run("-e", f"trace={CALLS}")
        assert outcome.problem() is None, (outcome.problem(), outcome.text)
        counts: collections.Counter[tuple[str, str]] = collections.Counter()
        for line in (self._path / "trace").read_text().splitlines():
            found = _LINE.match(line)
            if found and not line.rstrip().endswith("(No child processes)"):
                counts[found[1], found[2]] += 1
        most: dict[str, int] = {}
        for (_, call), count in counts.items():
            most[call] = max(most.get(call, 0), count)
        return most

    def fail(self, call: str, when: int) -> str | None:
        """
        Make *call* number *when* of each process fail; return what is then wrong.
        """
        inject = f"inject={call}:error={ERRORS.get(call, 'EPERM')}:when={when}"
        options = ["-e", f"trace={call}", "-e", inject]
        return self.judge(self.run(*options), ["strace", "-f", "-qq", *options])

    def judge(self, outcome: Outcome, prefix: list[str]) -> str | None:
        """
        Return what is wrong with *outcome*, unless it is wrong without the plugin too.
        """
        problem = outcome.problem()
        if problem is None or outcome.hung or outcome.left:
            return problem
        strace = ["-o", str(self._path / "trace")] if prefix[0] == "strace" else []
        command = [*prefix[:1], *strace, *prefix[1:]]
        without = self.behind(command, "-p", "no:nsisolate", "-W", "ignore")
        return None if without.code else f"{problem}:\n{outcome.text}"

    def kill(self, call: str, when: int) -> str | None:
        """
        Kill each process at its *call* number *when*; return what is then wrong.
        """
        inject = f"inject={call}:signal=KILL:when={when}"
        outcome = self.run("-e", f"trace={call}", "-e", inject)
        if outcome.code < 0 or outcome.code > 128:
            # pytest itself was killed.
            return "it left processes" if outcome.left else None
        return outcome.problem()


def _marked(mark: str) -> list[psutil.Process]:
    """
    Return the processes with *mark* in their environment.
    """
    return [one for one in psutil.process_iter() if _environ(one).get("MARK") == mark]


def _environ(process: psutil.Process) -> dict[str, str]:
    """
    Return the environment of *process*, or nothing where it cannot be read.
    """
    try:
        return process.environ()
    except psutil.Error:
        return {}
