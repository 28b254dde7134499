"""
Trial of the plugin in containers: what works in each, and whether the fixes work.

Usage: python3 tools/containers [options]

Starts Docker, rootless Podman, bubblewrap, systemd-nspawn and a chroot from Debian's
packages, in each way that `rows.py` lists, and runs the tests of `trial.py` inside, as
root and as a user. What is refused must be refused with a reason whose fix, typed
literally, works: it is typed, and the tests that were refused are run again. Prints a
table for docs/how-to/run-in-ci.md.

Takes root, and leaves nothing behind: everything happens in a mount and a PID namespace
of its own, with its own /run and a copy of /etc.

Exits 1 if a fix does not work, or if something could not be run.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import itertools
import os
import platform
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import image
from engines import Bubblewrap, Chroot, Docker, Engine, Nspawn, Podman
from processes import CannotRun, run
from rows import PROFILE, ROOT, ROWS, USER, Row
from trials import Trials

#: Debian's programs, and not what is installed beside them.
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

#: The programs that are needed, and the packages that they are in.
_NEEDED = {
    "bwrap": "bubblewrap",
    "crun": "crun",
    "debootstrap": "debootstrap",
    "dockerd": "docker.io",
    "newuidmap": "uidmap",
    "podman": "podman",
    "systemd-nspawn": "systemd-container",
}

#: The user who starts rootless containers, with a number that nobody else has.
_ACCOUNT = "nsisolate-trial"
_NUMBER = 59999


def main() -> int:
    """
    Do as the module's docstring says, and return the exit code.
    """
    options = _options()
    os.umask(0o022)
    os.environ["PATH"] = _PATH
    if options.work is None:
        return _enter()
    work = Path(options.work)
    try:
        _settle(work)
        wanted = options.engines or [row.engine for row in ROWS]
        rows = [row for row in ROWS if row.engine in wanted]
        with _engines(options.suite, work, wanted) as engines:
            return 0 if _print_table(engines, rows, options.suite) else 1
    except CannotRun as why:
        print(f"could not be run: {why}")
        return 1


def _enter() -> int:
    """
    Run this program again, in namespaces that end with it and a directory to work in.
    """
    missing = [one for name, one in _NEEDED.items() if shutil.which(name) is None]
    if os.geteuid() or missing:
        print(f"run it as root, after: apt-get install {' '.join(missing)}")
        return 1
    # On SIGTERM too, the directory must be removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="ct-", ignore_cleanup_errors=True) as work:
        spaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        again = [sys.executable, *sys.argv, "--work", work]
        with subprocess.Popen(["unshare", *spaces, *again]) as process:
            try:
                return process.wait()
            finally:
                process.kill()


def _settle(work: Path) -> None:
    """
    Make what engines write to private to this run, and an account for it.
    """
    work.chmod(0o755)
    image.settle_mounts()
    # Podman leaves a lock there.
    run(["mount", "-t", "tmpfs", "-o", "mode=1777", "none", "/dev/shm"], 60)
    etc = work / "etc"
    etc.mkdir()
    for name in ("upper", "work"):
        (etc / name).mkdir()
    layers = f"lowerdir=/etc,upperdir={etc}/upper,workdir={etc}/work"
    run(["mount", "-t", "overlay", "-o", layers, "none", "/etc"], 60)
    home = work / "home"
    known = ["--uid", _NUMBER, "--create-home", "--home-dir", home]
    run(["useradd", *known, _ACCOUNT], 60)
    account = pwd.getpwnam(_ACCOUNT)
    (home / "run").mkdir(mode=0o700)
    os.chown(home / "run", account.pw_uid, account.pw_gid)
    home.chmod(0o755)
    os.chdir(home)


@contextlib.contextmanager
def _engines(
    suite: str, work: Path, wanted: Collection[str]
) -> Iterator[dict[str, Engine]]:
    """
    Make the image with the release *suite* of Debian, and start the *wanted* engines.
    """
    tree, archive = work / "image", work / "image.tar"
    run([sys.executable, "-m", "venv", work / "build"], 600)
    image.make(tree, suite, work / "build/bin/python")
    image.pack(tree, archive)
    printed = ["chroot", tree, image.PYTHON, "-m", "pytest_nsisolate"]
    Path(PROFILE).write_text(run([*printed, "--seccomp-profile"], 60))
    account = pwd.getpwnam(_ACCOUNT)
    remap = f"--userns-remap={_ACCOUNT}"
    engines: dict[str, Engine] = {
        "docker": Docker(work / "docker", archive, "Docker"),
        "remapped": Docker(work / "remapped", archive, "Docker, remapped", remap),
        "podman": Podman(account, archive),
        "bwrap": Bubblewrap(tree, account),
        "nspawn": Nspawn(tree),
        "directory": Chroot(tree, is_mount_point=False),
        "mountpoint": Chroot(tree, is_mount_point=True),
    }
    with contextlib.ExitStack() as stack:
        for key in dict.fromkeys(wanted):
            stack.enter_context(engines[key].started())
        # A fix may lead from one to another.
        yield engines


def _print_table(engines: dict[str, Engine], rows: Sequence[Row], suite: str) -> bool:
    """
    Try the *rows*, print a table in Markdown, and say whether all is good.
    """
    programs = [
        name
        for key in dict.fromkeys(row.engine for row in rows)
        for name in engines[key].programs
    ]
    found = [run([name, "--version"], 60).splitlines()[0] for name in programs]
    facts = [f"Linux {platform.release()}", f"Debian {suite} inside"]
    today = dt.datetime.now(dt.timezone.utc).date()
    print(f"{today}: {', '.join(dict.fromkeys([*facts, *found]))}")
    trials = Trials(engines)
    for key, group in itertools.groupby(rows, lambda row: row.engine):
        print(f"\n| {engines[key].title} | as root | as a user |\n|---|---|---|")
        for row in group:
            cells = [trials.cell(row, user) for user in (ROOT, USER)]
            print(f"| `{trials.typed(row)}` | {' | '.join(cells)} |", flush=True)
    print("\nRefusals:\n")
    for refusal, number in trials.numbers.items():
        print(f"{number}. {refusal}")
        for line, came in trials.fixed[refusal].items():
            print(f"   typed: {line}: {came}")
    print("\nall fixes work" if trials.good else "\nNOT GOOD: see above")
    return trials.good


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="containers", allow_abbrev=False)
    add = parser.add_argument
    keys = sorted({row.engine for row in ROWS})
    add("engines", nargs="*", help=f"Those to try, if not all: {', '.join(keys)}")
    add("--suite", default=image.own_suite(), help="The release of Debian inside")
    add("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
