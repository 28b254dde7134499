"""
Accounting: what a command takes, with all processes that it starts.

The kernel reaps the processes of a sandbox, since the launcher ignores SIGCHLD. So
``RUSAGE_CHILDREN`` does not count them; see getrusage(2). A cgroup does: commands run
in one, if one can be made.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from figures import Cost

#: Enters a cgroup, then becomes the command.
_ENTER = 'echo 0 > "$0" && exec "$@"'

#: How many seconds pass between two looks at memory.
_INTERVAL = 0.02

#: What changes how pytest and Python work.
_UNWANTED = (
    *("PYTEST_", "NSISOLATE_"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH"),
)


class Failed(Exception):
    """
    A command did not succeed; the message is what it printed.
    """


class Cgroup:
    """
    A cgroup with one group for what is measured, and one for what keeps cores busy.

    Both are below one directory: if the processor is shared out among cgroups, they
    have one share together, and their processes are equals.
    """

    def __init__(self, parent: Path, counter: str) -> None:
        # Other measurements may run, in any PID namespace.
        self._path = Path(tempfile.mkdtemp(prefix="nsisolate-bench-", dir=parent))
        self._counter = counter
        self.measured = self._path / "measured"
        self.busy = self._path / "busy"
        try:
            for path in (self.measured, self.busy):
                path.mkdir()
            # To enter may be forbidden, and the counter may stand still.
            subprocess.run(
                entering(self.measured, ["true"]),
                stderr=subprocess.DEVNULL,
                check=True,
            )
            counts = self.used() > 0
        except (OSError, subprocess.CalledProcessError):
            self.remove()
            raise
        if not counts:
            self.remove()
            raise OSError(f"{counter} stands still")

    def used(self) -> float:
        """
        Return the processor time of what was measured so far, in milliseconds.
        """
        text = (self.measured / self._counter).read_text()
        if self._counter == "cpuacct.usage":
            return int(text) / 1e6
        return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e3

    def memory(self) -> int:
        """
        Return how much memory the processes of what is measured have now, in KiB.

        It is the sum of their proportional set sizes: a page that several processes
        share counts once. Source: proc_pid_smaps(5).
        """
        total = 0
        for process in _processes(self.measured):
            # It may have ended since.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                text = Path(f"/proc/{process}/smaps_rollup").read_text()
                total += sum(
                    int(line.split()[1])
                    for line in text.splitlines()
                    if line.startswith("Pss:")
                )
        return total

    def settle(self) -> None:
        """
        Wait until the processes of the last command have ended.
        """
        deadline = time.monotonic() + 10
        while _processes(self.measured):
            if time.monotonic() > deadline:
                raise Failed("a process was left behind")
            time.sleep(0.002)

    def remove(self) -> None:
        """
        Kill what is inside, and remove the directories.
        """
        for path in (self.measured, self.busy, self._path):
            while processes := _processes(path):
                for process in processes:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                time.sleep(0.002)
            with contextlib.suppress(FileNotFoundError):
                path.rmdir()


class Accounting:
    """
    Runs commands and says what each took.
    """

    def __init__(self) -> None:
        self.cgroup = _made_cgroup()

    def close(self) -> None:
        """
        Kill what still runs, and remove the cgroup.
        """
        if self.cgroup is not None:
            self.cgroup.remove()

    def run(
        self,
        command: Sequence[str],
        place: Path,
        user: str | None = None,
        **variables: str,
    ) -> Cost:
        """
        Run *command* in *place*, as *user* if given, and return what it took.

        Raises:
            Failed: It did not succeed.
        """
        before = self._used()
        began = time.perf_counter()
        with self._running(command, place, user, variables) as process:
            process.wait()
            wall = (time.perf_counter() - began) * 1000
        return Cost(self._used() - before, wall)

    def peak(
        self, command: Sequence[str], place: Path, **variables: str
    ) -> float | None:
        """
        Run *command* in *place*, and return how much memory it has at most, in MiB.

        That is the sum of the proportional set sizes of all its processes. To look that
        up takes time, so this is not for a command whose time is measured too.

        Returns:
            None without a cgroup, which knows the processes.

        Raises:
            Failed: It did not succeed.
        """
        most = 0
        with self._running(command, place, None, variables) as process:
            while process.poll() is None:
                if self.cgroup is not None:
                    most = max(most, self.cgroup.memory())
                time.sleep(_INTERVAL)
        return None if self.cgroup is None else most / 1024

    @contextlib.contextmanager
    def load(self) -> Iterator[None]:
        """
        Keep each core busy, with a loop of the usual priority.
        """
        command = ["sh", "-c", "while :; do :; done"]
        if self.cgroup is not None:
            command = entering(self.cgroup.busy, command)
        loops: list[subprocess.Popen[bytes]] = []
        try:
            for _ in os.sched_getaffinity(0):
                loops.append(subprocess.Popen(command))  # noqa: PERF401 - kept if one fails
            yield
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()

    @contextlib.contextmanager
    def _running(
        self,
        command: Sequence[str],
        place: Path,
        user: str | None,
        variables: dict[str, str],
    ) -> Iterator[subprocess.Popen[bytes]]:
        """
        Start *command*, and see at the end that it succeeds and leaves nothing.

        Raises:
            Failed: It did not succeed.
        """
        if user is not None:
            command = as_user(user, command)
        if self.cgroup is not None:
            command = entering(self.cgroup.measured, command)
        with (
            tempfile.TemporaryFile() as output,
            subprocess.Popen(
                command,
                cwd=place,
                env=clean_environment() | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield process
            except BaseException:
                process.kill()
                raise
            if process.wait():
                output.seek(0)
                raise Failed(output.read().decode(errors="replace"))
        if self.cgroup is not None:
            self.cgroup.settle()

    def _used(self) -> float:
        """
        Return the processor time so far, in milliseconds.
        """
        if self.cgroup is not None:
            return self.cgroup.used()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (usage.ru_utime + usage.ru_stime) * 1000


def own_cgroups(mounts: str, cgroups: str) -> list[tuple[Path, str]]:
    """
    Return the cgroups of a process that count processor time, those of version 2 first.

    Args:
        mounts: The text of ``/proc/self/mountinfo``.
        cgroups: The text of ``/proc/self/cgroup``.

    Returns:
        The directory of each, and its file that counts.
    """
    paths: dict[str, str] = {}
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    found = []
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, place = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2":
            own, counter = paths.get(""), "cpu.stat"
        elif kind == "cgroup" and "cpuacct" in options.strip().split(","):
            own, counter = paths.get("cpuacct"), "cpuacct.usage"
        else:
            continue
        if own is not None and Path(own).is_relative_to(root):
            found.append((Path(place) / Path(own).relative_to(root), counter))
    # cpu.stat comes before cpuacct.usage.
    return sorted(found, key=lambda one: one[1])


def entering(group: Path, command: Sequence[str]) -> list[str]:
    """
    Return *command* so that it runs in *group*.
    """
    return ["sh", "-c", _ENTER, str(group / "cgroup.procs"), *command]


def as_user(user: str, command: Sequence[str]) -> list[str]:
    """
    Return *command* so that it runs as *user*.
    """
    entry = pwd.getpwnam(user)
    identity = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}"]
    return ["setpriv", *identity, "--clear-groups", *command]


def clean_environment() -> dict[str, str]:
    """
    Return the environment without what changes how pytest and Python work.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_UNWANTED)
    }


def _made_cgroup() -> Cgroup | None:
    """
    Return a new cgroup, or None where none can be made.
    """
    mounts = Path("/proc/self/mountinfo").read_text()
    cgroups = Path("/proc/self/cgroup").read_text()
    for parent, counter in own_cgroups(mounts, cgroups):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            return Cgroup(parent, counter)
    return None


def _processes(group: Path) -> list[int]:
    """
    Return the processes in *group*.
    """
    try:
        return [int(one) for one in (group / "cgroup.procs").read_text().split()]
    except FileNotFoundError:
        return []
