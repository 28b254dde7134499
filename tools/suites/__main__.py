"""
Comparison of other packages' test suites, run plain and isolated.

Usage: python3 tools/suites [options] [name==version ...]

Each suite runs plain twice and isolated once, under coverage.py. Root runs it both as
root and as a user without privilege; anyone else runs it only as themselves. The
comparison covers, test by test, the outcome of each phase with the reasons of skips;
the warnings by category, message and place; and the lines and branches of the package
that ran. What differs between the two plain runs is unstable: it is printed, but not
judged.

Exits 1 if isolated differs from plain in a way that `known.py` does not list with its
cause, or if something could not be run.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from accounts import Lane, accounts
from commands import CannotRun
from known import EXPECTED, SUITES, Suite
from packages import environment, wheel
from results import KINDS, Difference, compare
from runs import Manner, Ready, prepare, run_once

_TABLE = "{:<22}{:<9}{:>7}{:>9}{:>12}" + "{:>10}" * len(KINDS) + "{:>10}{:>10}"


def main() -> int:
    """
    Run and compare as the module's docstring says, and return the exit code.
    """
    options = _options()
    # On SIGTERM too, the directory below must be removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.umask(0o022)
    good = True
    manner = Manner(options.coverage, options.patch, options.timeout)
    print(f"Linux {platform.release()}")
    heads = ["suite", "user", "tests", "plain s", "isolated s", *KINDS]
    _print_row([*heads, "expected", "unstable"])
    # Keep it short: the paths of sockets below it have a maximal length.
    with tempfile.TemporaryDirectory(prefix="su-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        work.chmod(0o755)
        plugins = work / "plugins"
        plugins.mkdir()
        shutil.copy(Path(__file__).with_name("record.py"), plugins)
        plugin = wheel(environment(options.python, work / "build"), work)
        users = accounts(options.user)
        lanes = [Lane(account, work, plugins) for account in users]
        for suite in options.suites:
            try:
                ready = prepare(suite, options.python, work, plugin)
            except CannotRun as why:
                print(f"{suite.name} could not be made ready: {why}", flush=True)
                good = False
                continue
            for lane in lanes:
                good &= _try(ready, lane, manner)
            shutil.rmtree(work / suite.name)
    print("isolated equals plain" if good else "NOT GOOD: see above")
    return 0 if good else 1


def _try(ready: Ready, lane: Lane, manner: Manner) -> bool:
    """
    Run *ready* in *lane* in all ways, print the results, and say if they are good.
    """
    about = [f"{ready.suite.name} {ready.suite.version}", lane.account.pw_name]
    try:
        plains = [run_once(ready, lane, manner, isolated=False) for _ in range(2)]
        isolated = run_once(ready, lane, manner, isolated=True)
    except CannotRun as why:
        _print_row([*about, *["-"] * (5 + len(KINDS))], [f"could not be run: {why}"])
        return False
    different, unstable = compare(isolated, plains)
    causes = {one: _cause(one, ready.suite) for one in different}
    bad = [one for one, cause in causes.items() if not cause]
    seconds = min(one.seconds for one in plains), isolated.seconds
    times = [f"{one:.1f}" for one in seconds]
    counts = [sum(one.kind == kind for one in bad) for kind in KINDS]
    rest = [len(different) - len(bad), len(unstable)]
    lines = [
        f"{one} [expected: {why}]" if why else f"{one}" for one, why in causes.items()
    ]
    lines += [f"unstable {one}" for one in unstable]
    _print_row([*about, len(isolated.outcomes), *times, *counts, *rest], lines)
    return not bad


def _print_row(columns: Sequence[object], more: Sequence[str] = ()) -> None:
    print(_TABLE.format(*columns))
    for line in more:
        print(f"    {line}")
    sys.stdout.flush()


def _cause(difference: Difference, suite: Suite) -> str:
    """
    Return why *difference* is expected, or an empty string if it is not.
    """
    for one in (*suite.expected, *EXPECTED):
        if one.covers(difference):
            return one.cause
    return ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="suites", allow_abbrev=False)
    add = parser.add_argument
    add("suites", nargs="*", help="name==version, or the name of a known suite")
    add("--python", default="/usr/bin/python3", help="Interpreter that all users reach")
    add("--user", default="nobody", help="Whom root uses for the rootless lane")
    add("--no-coverage", dest="coverage", action="store_false")
    add("--patch", default="", help="Have coverage.py patch this, as in: _exit")
    add("--timeout", type=float, default=1800.0, help="Seconds for a run")
    add("--extra", action="append", default=[], help="Extra that an unknown suite has")
    add("--group", action="append", default=[], help="The same, a dependency group")
    add("--require", action="append", default=[], help="The same, a package")
    options = parser.parse_args()
    given = [_suite(text, options, parser) for text in options.suites]
    options.suites = given or list(SUITES)
    return options


def _suite(
    text: str, options: argparse.Namespace, parser: argparse.ArgumentParser
) -> Suite:
    name, _, version = text.partition("==")
    for suite in SUITES:
        if suite.name == name:
            return dataclasses.replace(suite, version=version or suite.version)
    if not version:
        parser.error(f"{text} is not known: give its version, as in {text}==1.0")
    return Suite(
        name=name,
        version=version,
        modules=(name.replace("-", "_"),),
        extras=tuple(options.extra),
        groups=tuple(options.group),
        requirements=tuple(options.require),
    )


if __name__ == "__main__":
    sys.exit(main())
