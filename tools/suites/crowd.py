"""
Comparison of test suites run alone and twice at the same time, plain and isolated.

Usage: python3 tools/suites/crowd.py [options] [package ...]

The suites belong to packages that use what a machine has only one of: ports, SysV keys,
names of PID files. Each suite runs plain alone, two times; plain twice at the same
time; and isolated with the scopes function and module, each alone and twice at the same
time. Root runs all that both as root and as a user without privilege; anyone else runs
it only as themselves.

Isolated must equal plain test by test, except for what crowd_suites.py lists with its
cause, and must leave nothing behind. What differs between the two plain runs alone is
unstable and not judged. Plain twice at the same time shows what isolation is for; it is
printed and not judged.

Exits 1 if isolated differs from plain or leaves something, or if a lane could not be
run. Run it where nobody makes IPC objects at the same time: those of the same user
cannot be told from what a suite leaves behind.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import outcomes
from accounts import accounts
from commands import CannotRun
from crowd_lane import CrowdLane, Way, remove_what_plain_left
from crowd_suites import SUITES, Ready, prepare
from outcomes import Outcomes

_TABLE = "{:<11}{:<9}{:<18}{:<8}" + "{:>8}" * len(outcomes.KINDS) + "  {}"

_WAYS = (
    Way(1),
    Way(1),
    Way(2),
    Way(1, "function"),
    Way(2, "function"),
    Way(1, "module"),
    Way(2, "module"),
)


def main() -> int:
    """
    Run and compare as the module's docstring says, and return the exit code.
    """
    options = _options()
    # On SIGTERM too, the directory below must be removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.umask(0o022)
    good = True
    # Not below /tmp, because some suites get a fresh directory there.
    with tempfile.TemporaryDirectory(prefix="suites-", dir="/var/tmp") as name:
        work = Path(name)
        work.chmod(0o755)
        plugins = work / "plugins"
        shutil.copytree(Path(__file__).with_name("plugins"), plugins)
        print(f"Linux {platform.release()}", flush=True)
        try:
            lanes = [
                CrowdLane(account, work, plugins) for account in accounts(options.user)
            ]
            ready = [
                prepare(suite, options.python, work)
                for suite in SUITES
                if suite.name in options.packages
            ]
        except CannotRun as why:
            print(f"could not be run: {why}")
            return 1
        heads = ["package", "version", "way", "user", *outcomes.KINDS, "as plain"]
        print(_TABLE.format(*heads), flush=True)
        for one in ready:
            for lane in lanes:
                good &= _Trial(one, lane).run()
    print("isolated equals plain" if good else "NOT GOOD: see above")
    return 0 if good else 1


class _Trial:
    """
    The runs of one suite as one user, in all ways.
    """

    def __init__(self, ready: Ready, lane: CrowdLane) -> None:
        self._ready = ready
        self._lane = lane
        self._plain: Outcomes | None = None
        self._unstable: set[str] = set()

    def run(self) -> bool:
        """
        Run the suite in all ways, print the results, and say whether they are good.
        """
        good = True
        for way in _WAYS:
            good &= self._run(way)
            if self._plain is None:
                return False
        return good

    def _run(self, way: Way) -> bool:
        lane = self._lane
        before = lane.objects()
        absent = [one for one in self._ready.suite.forgets if not Path(one).exists()]
        results: list[Outcomes] = []
        good = True
        try:
            results = lane.run(self._ready, way)
        except CannotRun as why:
            none = ["-"] * len(outcomes.KINDS)
            self._row(str(way), [*none, f"could not be run: {why}"])
            good = False
        finally:
            left = lane.left(before, patience=10.0 if way.scope else 1.0)
            lane.kill()
            if not way.scope:
                remove_what_plain_left(left, absent)
        for number, result in enumerate(results, 1):
            title = f"{way}, {number} of {way.times}" if way.times > 1 else str(way)
            good &= self._judge(way, title, result)
        if left:
            print(f"    {way}, left behind: {', '.join(sorted(left))}", flush=True)
            good &= not way.scope
        return good

    def _judge(self, way: Way, title: str, result: Outcomes) -> bool:
        """
        Print the result of one run, and say whether it is good.
        """
        if self._plain is None:
            self._plain = result
            self._row(title, [*result.counts(), ""])
            return True
        found = result.differences(self._plain)
        if way.scope is None:
            if way.times == 1:
                self._unstable |= found.keys()
            lines = [f"{test}: {what}" for test, what in found.items()]
            self._row(title, [*result.counts(), _verdict(len(lines))], lines)
            return True
        lines = []
        seen = set()
        for test, what in found.items():
            known = [
                one for one in self._ready.suite.expected if one.covers(test, way.scope)
            ]
            seen.update(known)
            if not known and test not in self._unstable:
                lines.append(f"{test}: {what}")
        for one in self._ready.suite.expected:
            if one.scope == way.scope and one not in seen:
                lines.append(f"{one.about}: does not differ, and should")
        verdict = _verdict(len(lines), len(found))
        causes = [f"expected: {one.cause}" for one in seen]
        self._row(title, [*result.counts(), verdict], [*lines, *causes])
        return not lines

    def _row(
        self, title: str, columns: Sequence[object], more: Sequence[str] = ()
    ) -> None:
        suite, user = self._ready.suite, self._lane.account.pw_name
        print(_TABLE.format(suite.name, suite.version, title, user, *columns))
        for line in more:
            print(f"    {line}")
        sys.stdout.flush()


def _verdict(unexpected: int, found: int = 0) -> str:
    if unexpected:
        return f"{unexpected} differ"
    return f"{found} as expected" if found else "equal"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="crowd.py", allow_abbrev=False)
    names = [suite.name for suite in SUITES]
    add = parser.add_argument
    add("packages", nargs="*", metavar="package", help=f"From {', '.join(names)}")
    add("--python", default="/usr/bin/python3", help="Interpreter that all users reach")
    add("--user", default="nobody", help="Whom root uses for the rootless lane")
    options = parser.parse_args()
    if unknown := {*options.packages} - {*names}:
        parser.error(f"unknown package: {', '.join(sorted(unknown))}")
    options.packages = options.packages or names
    return options


if __name__ == "__main__":
    sys.exit(main())
