"""
Run the test suites of sysv_ipc and posix_ipc plain and isolated, and compare.

Usage: python3 tools/suites/ipc.py [options] [package ...]

Each suite runs once plain, plain twice at the same time, and isolated twice at the same
time; as root and as a user without privilege, or as that user alone if not started by
root. Isolated must equal plain test by test and leave nothing behind. Plain twice at
the same time shows what isolation is for; it is printed and not judged.

Exits 1 if isolated differs from plain or leaves something, or if a lane could not be
run. Run it where nobody makes IPC objects at the same time: those of the same user
cannot be told from what a suite leaves behind.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import ipc_outcomes as outcomes
from accounts import accounts
from commands import CannotRun
from ipc_lane import IpcLane, remove_what_plain_left
from ipc_packages import Suite, build

_TABLE = "{:<10}{:<9}{:<20}{:<10}" + "{:>8}" * len(outcomes.KINDS) + "  {}"


def main() -> int:
    """
    Do all that the module's docstring says, and return the exit code.
    """
    options = _options()
    # The directory below must go then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.umask(0o022)
    good = True
    with tempfile.TemporaryDirectory(prefix="ipc-suites-") as name:
        work = Path(name)
        work.chmod(0o755)
        plugins = work / "plugins"
        plugins.mkdir()
        (plugins / "witness.py").write_text(outcomes.WITNESS)
        print(f"Linux {platform.release()}", flush=True)
        try:
            lanes = [
                IpcLane(account, work, plugins) for account in accounts(options.user)
            ]
            suites = [
                build(package, options.python, work, terminal=options.terminal)
                for package in options.packages
            ]
        except CannotRun as why:
            print(f"could not be run: {why}")
            return 1
        heads = ["package", "version", "way", "user", *outcomes.KINDS, "as plain"]
        print(_TABLE.format(*heads), flush=True)
        for suite in suites:
            for lane in lanes:
                good &= _try(suite, lane)
    print("isolated equals plain" if good else "NOT GOOD: see above")
    return 0 if good else 1


def _try(suite: Suite, lane: IpcLane) -> bool:
    """
    Run *suite* in *lane* in all ways, print it, and say whether it is good.
    """
    about, user = [suite.name, suite.version], lane.account.pw_name
    good = True
    plain: outcomes.Outcomes | None = None
    for times, isolated in ((1, False), (2, False), (2, True)):
        way = "isolated" if isolated else "plain"
        before = lane.objects()
        results: list[outcomes.Outcomes] = []
        try:
            results = lane.run(suite, times=times, isolated=isolated)
        except CannotRun as why:
            none = ["-"] * len(outcomes.KINDS)
            _row([*about, way, user, *none, f"could not be run: {why}"])
            good = False
        finally:
            left = lane.left(before, patience=10.0 if isolated else 1.0)
            lane.kill()
            if not isolated:
                remove_what_plain_left(left)
        for number, result in enumerate(results, 1):
            title = f"{way}, {number} of {times}" if times > 1 else way
            lines = result.differences(plain) if plain else []
            verdict = f"{len(lines)} differ" if lines else "equal" if plain else ""
            plain = plain or result
            _row([*about, title, user, *result.counts(), verdict], lines)
            good &= not (isolated and lines)
        if left:
            print(f"    {way}, left behind: {', '.join(sorted(left))}", flush=True)
            good &= not isolated
        if plain is None:
            break
    return good


def _row(columns: Sequence[object], more: Sequence[str] = ()) -> None:
    print(_TABLE.format(*columns))
    for line in more:
        print(f"    {line}")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ipc.py", allow_abbrev=False)
    add = parser.add_argument
    add("packages", nargs="*", help="Packages to try (default: sysv_ipc, posix_ipc)")
    add("--python", default="/usr/bin/python3", help="Interpreter that all users reach")
    add("--user", default="nobody", help="Whom root uses for the rootless lane")
    add("--terminal", action="store_true", help="Run every suite with -s on a terminal")
    options = parser.parse_args()
    options.packages = options.packages or ["sysv_ipc", "posix_ipc"]
    return options


if __name__ == "__main__":
    sys.exit(main())
