"""
What runs a program in a container, or a tree of its own: each starts the image.
"""

from __future__ import annotations

import abc
import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from processes import CannotRun, run

_NAME = "nsisolate-trial"
_TIME = 600.0


class Engine(abc.ABC):
    """
    A program that starts containers.
    """

    #: Its name for people.
    title: str
    #: What they type before the options.
    command: str
    #: Its programs, and those that it starts, which print their versions.
    programs: tuple[str, ...]

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """
        Have what `line` takes: for some, a daemon, or a copy of the image.
        """
        yield

    @abc.abstractmethod
    def line(
        self, options: Sequence[str], uid: int, program: Sequence[str]
    ) -> list[str]:
        """
        Return the command that runs *program* with *options*, as *uid* inside.
        """


class Docker(Engine):
    """
    Docker, with a daemon of its own.

    Args:
        place: A directory for the daemon, which must not exist.
        archive: The image.
        title: Its name for people.
        options: Further options for the daemon.
    """

    command = "docker run"
    programs = ("dockerd", "runc")

    def __init__(self, place: Path, archive: Path, title: str, *options: str) -> None:
        self.title = title
        self._place = place
        self._archive = archive
        self._options = options
        self._docker = ["docker", "--host", f"unix://{place}/socket"]

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """
        Run the daemon, and give it the image.
        """
        self._place.mkdir()
        own = ("data-root", "exec-root", "pidfile")
        daemon = [
            "dockerd",
            f"--host=unix://{self._place}/socket",
            *(f"--{name}={self._place}/{name}" for name in own),
            # Containers need no network here, and the kernel may have no tables for it.
            *("--bridge=none", "--iptables=false"),
            *self._options,
        ]
        log = self._place / "log"
        with open(log, "wb") as output:
            process = subprocess.Popen(daemon, stdout=output, stderr=output)
        try:
            self._wait(process, log)
            run([*self._docker, "import", self._archive, _NAME], _TIME)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def line(
        self, options: Sequence[str], uid: int, program: Sequence[str]
    ) -> list[str]:
        """
        Return the command that runs *program* with *options*, as *uid* inside.
        """
        fixed = ["--rm", "--network=none", "--workdir=/tmp", f"--user={uid}"]
        return [*self._docker, "run", *fixed, *options, _NAME, *program]

    def _wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(CannotRun):
                run([*self._docker, "info"], 60)
                return
            time.sleep(0.2)
        raise CannotRun(f"dockerd does not answer\n{log.read_text()[-2000:]}")


class Podman(Engine):
    """
    Rootless Podman.

    Args:
        account: The user who starts it.
        archive: The image.
    """

    title = "Podman, rootless"
    command = "podman run"
    programs = ("podman", "crun")

    def __init__(self, account: pwd.struct_passwd, archive: Path) -> None:
        self._archive = archive
        # There is no systemd to ask for a cgroup or to write a journal.
        settings = ["--cgroup-manager=cgroupfs", "--events-backend=file"]
        self._podman = [*become(account), "podman", *settings]

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """
        Give the user the image.
        """
        run([*self._podman, "import", self._archive, _NAME], _TIME)
        yield

    def line(
        self, options: Sequence[str], uid: int, program: Sequence[str]
    ) -> list[str]:
        """
        Return the command that runs *program* with *options*, as *uid* inside.
        """
        fixed = ["--rm", "--network=none", "--workdir=/tmp"]
        if uid == 0 or "--userns=keep-id" not in options:
            fixed.append(f"--user={uid}")
        return [*self._podman, "run", *fixed, *options, _NAME, *program]


class Bubblewrap(Engine):
    """
    Bubblewrap, started by root or, unless pytest is to be root, by a user.

    Args:
        tree: The image.
        account: The user.
    """

    title = "bubblewrap"
    command = "bwrap"
    programs = ("bwrap",)

    def __init__(self, tree: Path, account: pwd.struct_passwd) -> None:
        self._account = account
        files = [f"--bind={tree}=/", "--proc=/proc", "--dev=/dev", "--tmpfs=/tmp"]
        self._fixed = [word for one in files for word in one.split("=")]

    def line(
        self, options: Sequence[str], uid: int, program: Sequence[str]
    ) -> list[str]:
        """
        Return the command that runs *program* with *options*, as *uid* inside.
        """
        starter = [] if uid == 0 and "--uid" not in options else become(self._account)
        return [
            *starter,
            *("bwrap", *self._fixed, "--chdir", "/tmp"),
            *(*options, *program),
        ]


class Nspawn(Engine):
    """
    systemd-nspawn.

    Args:
        tree: The image.
    """

    title = "systemd-nspawn"
    command = "systemd-nspawn"
    programs = ("systemd-nspawn",)

    def __init__(self, tree: Path) -> None:
        self._tree = tree

    def line(
        self, options: Sequence[str], uid: int, program: Sequence[str]
    ) -> list[str]:
        """
        Return the command that runs *program* with *options*, as *uid* inside.
        """
        user = ["--user=tester"] if uid else []
        # There may be no systemd to register with.
        fixed = ["--quiet", "--pipe", "--register=no", "--keep-unit", "--chdir=/tmp"]
        return [
            "systemd-nspawn",
            f"--directory={self._tree}",
            *(*fixed, *user, *options, *program),
        ]


class Chroot(Engine):
    """
    A chroot(1), with the /proc and /dev of the machine.

    Args:
        tree: The image.
        is_mount_point: Whether its root is made a mount point before.
    """

    command = "chroot"
    programs = ()

    def __init__(self, tree: Path, *, is_mount_point: bool) -> None:
        where = "a mount point" if is_mount_point else "a directory like any other"
        self.title = f"chroot into {where}"
        self._tree = tree
        self._is_mount_point = is_mount_point

    def line(
        self, options: Sequence[str], uid: int, program: Sequence[str]
    ) -> list[str]:
        """
        Return the command that runs *program* with *options*, as *uid* inside.
        """
        lines = [f"cd {self._tree}"]
        if self._is_mount_point:
            lines = [f"mount --bind {self._tree} {self._tree}", *lines]
        lines += [f"mount --rbind /{name} {name}" for name in ("proc", "dev")]
        lines += ["mount -t tmpfs none tmp", 'exec chroot "$@"']
        shell = ["unshare", "--mount", "sh", "-e", "-c", "\n".join(lines), "sh"]
        start = ["sh", "-c", 'cd /tmp; exec "$@"', "sh"]
        return [*shell, *options, f"--userspec={uid}:{uid}", ".", *start, *program]


def become(account: pwd.struct_passwd) -> list[str]:
    """
    Return a command that runs its further arguments as *account*, as if logged in.
    """
    return [
        *("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"),
        *("--clear-groups", "env", "--ignore-environment"),
        f"--chdir={account.pw_dir}",
        f"HOME={account.pw_dir}",
        f"PATH={os.environ['PATH']}",
        f"XDG_RUNTIME_DIR={account.pw_dir}/run",
    ]
