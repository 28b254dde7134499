"""
Comparison of other packages' test suites, run plain and isolated.

Usage: python3 tools/suites [options] [name==version ...]

Each suite runs plain twice and isolated once, under coverage.py. Root runs it both as
root and as a user without privilege; anyone else runs it only as themselves. The
comparison covers, test by test, the outcome of each phase with the reasons of skips;
the warnings by category, message and place; and the lines and branches of the package
that ran. What differs between the plain runs is unstable: it is printed, but not
judged.

With ``--jobs N``, N above 1, each suite also runs isolated with N tests at a time, and
that must equal plain too. With ``--no-coverage`` it also runs plain with pytest-xdist
and N processes, for the time alone. ``--runs`` repeats all that, one way after the
other; times are medians.

Exits 1 if isolated differs from plain in a way that `known.py` does not list with its
cause, if tests that were to run N at a time did not, or if something could not be run.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from accounts import Lane, accounts
from commands import CannotRun
from known import EXPECTED, SUITES, Suite
from packages import environment, wheel
from results import KINDS, Difference, Result, compare
from runs import Manner, Ready, Way, prepare, run_once

_PLAIN = Way(isolated=False)


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
    ways = [_PLAIN, Way(isolated=True)]
    if options.jobs > 1:
        ways.append(Way(isolated=True, jobs=options.jobs))
        # Coverage.py does not follow it into its processes.
        ways += [] if options.coverage else [Way(isolated=False, jobs=options.jobs)]
    print(f"Linux {platform.release()}")
    heads = ["suite", "user", "tests", *(f"{way} s" for way in ways)]
    _print_row([*heads, *KINDS, "expected", "unstable"])
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
                ready = prepare(
                    suite, options.python, work, plugin, xdist=options.jobs > 1
                )
            except CannotRun as why:
                print(f"{suite.name} could not be made ready: {why}", flush=True)
                good = False
                continue
            for lane in lanes:
                good &= _try(ready, lane, manner, ways, options.runs)
            shutil.rmtree(work / suite.name)
    print("isolated equals plain" if good else "NOT GOOD: see above")
    return 0 if good else 1


def _try(
    ready: Ready, lane: Lane, manner: Manner, ways: Sequence[Way], runs: int
) -> bool:
    """
    Run *ready* in *lane* in all *ways*, print the results, and say if they are good.
    """
    about = [f"{ready.suite.name} {ready.suite.version}", lane.account.pw_name]
    results: dict[Way, list[Result]] = {way: [] for way in ways}
    try:
        for _ in range(runs):
            for way in ways:
                results[way].append(run_once(ready, lane, manner, way))
        if runs == 1:
            results[_PLAIN].append(run_once(ready, lane, manner, _PLAIN))
    except CannotRun as why:
        nothing = ["-"] * (3 + len(ways) + len(KINDS))
        _print_row([*about, *nothing], [f"could not be run: {why}"])
        return False
    lines = []
    counts = collections.Counter[str]()
    good = True
    for way in (one for one in ways if one.isolated):
        found = [compare(one, results[_PLAIN]) for one in results[way]]
        # What differs between plain runs is the same for all.
        unstable = found[0][1]
        often = collections.Counter(one for different, _ in found for one in different)
        for one, number in often.items():
            cause = _cause(one, ready.suite)
            counts["expected" if cause else one.kind] += 1
            in_runs = f" in {number} of {runs} runs" if runs > 1 else ""
            expected = f" [expected: {cause}]" if cause else ""
            lines.append(f"{way}{in_runs}: {one}{expected}")
            good &= bool(cause)
        for reason in {one.one_job for one in results[way]} - {""}:
            lines.append(f"{way}: tests ran one after the other: {reason}")
            good = False
    lines += [f"unstable {one}" for one in unstable]
    times = [statistics.median(one.seconds for one in results[way]) for way in ways]
    number = len(results[_PLAIN][0].outcomes)
    columns = [number, *(f"{one:.1f}" for one in times)]
    columns += [counts[kind] for kind in (*KINDS, "expected")]
    _print_row([*about, *columns, len(unstable)], lines)
    return good


def _print_row(columns: Sequence[object], more: Sequence[str] = ()) -> None:
    suite, user, tests, *numbers = columns
    print(f"{suite!s:<22}{user!s:<9}{tests!s:>7}", end="")
    print(*(f"{number!s:>13}" for number in numbers), sep="")
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
    add("--jobs", type=int, default=1, help="Run so many isolated tests at a time too")
    add("--runs", type=int, default=1, help="Runs in each way")
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
