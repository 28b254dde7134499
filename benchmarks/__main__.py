"""
Benchmark of what isolation costs, against plain pytest and the peers.

Usage: python benchmarks [options]

Measures sessions round by round, each next to the one that it is compared with: what an
isolated test adds in processor time and wall time, on a quiet machine and with a loop
on each core, in a bare pytest and in one that holds 90 MB of small objects; what the
plugin adds to a session; what a shared sandbox and an overlay add; how memory grows;
what cannot be avoided; and what is gained side by side. Prints tables and whether each
bar is met.

Root measures the rootless ways as an ordinary user, who must be able to run the
interpreters. Anyone else measures only what is rootless.

Exits 1 if a bar is missed, 2 if something could not be measured.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import page
import rows
import side_by_side
from accounting import Accounting, Failed, as_user
from environments import Environments
from figures import Growth, Point
from suites import Suites

#: What can be measured, in this order.
ROWS = {
    "start": rows.start,
    "first": rows.first,
    "shared": rows.shared,
    "overlay": rows.overlay,
    "isolated": rows.isolated,
    "floor": rows.floor,
}
GROWTH = "growth"
BESIDE = "side-by-side"


def main() -> int:
    """
    Do as the module's docstring says, and return the exit code.
    """
    options = _options()
    # On SIGTERM too, processes and directories must be removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # An ordinary user is to read what is installed.
    os.umask(0o022)
    accounting = Accounting()
    try:
        with tempfile.TemporaryDirectory(
            prefix="nsisolate-bench-", ignore_cleanup_errors=True
        ) as base:
            results = _measured(options, accounting, Path(base))
    except Failed as why:
        print(f"could not be measured:\n{why}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        accounting.close()
    print(page.text(results))
    if options.write:
        # Needed for this alone, and in the group of dependencies alone.
        from plot import draw  # noqa: PLC0415

        draw(results)
        page.PAGE.write_text(page.written(page.PAGE.read_text(), results))
    return 1 if results.misses() else 0


def _options() -> argparse.Namespace:
    """
    Return the options of the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python benchmarks", description="Measure what isolation costs."
    )
    rootful = os.geteuid() == 0
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--tests", type=int, default=300, help="tests per session")
    parser.add_argument(
        "--growth", type=int, default=10_000, help="tests to see how memory grows"
    )
    parser.add_argument(
        "--quick", action="store_true", help="1 round, 20 tests, 200 for memory"
    )
    parser.add_argument(
        "--python",
        action="append",
        help="interpreter to measure with; can be given several times",
    )
    parser.add_argument(
        "--user",
        default="nobody" if rootful else None,
        help="who runs the rootless ways, for root",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[*ROWS, GROWTH, BESIDE],
        help="what to measure; can be given several times",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="write the tables and the plot into the documentation",
    )
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.tests, options.growth = 1, 20, 200
    if options.user and not rootful:
        parser.error("only root can use --user: leave it out")
    if options.write and {*(options.only or [BESIDE])} != {BESIDE}:
        parser.error(f"the page has all rows: leave out --only, or use {BESIDE} alone")
    if options.write and find_spec("matplotlib") is None:
        parser.error("the plot takes matplotlib: pip install matplotlib")
    if options.python is None:
        options.python = ["/usr/bin/python3" if rootful else sys.executable]
    for python in options.python:
        command = [python, "-c", "import venv"]
        if options.user:
            command = as_user(options.user, command)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            who = f"user {options.user}" if options.user else "you"
            why = (done.stderr.splitlines() or ["?"])[-1]
            parser.error(
                f"{python} does not start for {who}: {why}; "
                f"give one that does with --python"
            )
    return options


def _measured(
    options: argparse.Namespace, accounting: Accounting, base: Path
) -> page.Results:
    """
    Return what was measured in *base*.
    """
    base.chmod(0o755)
    temporary = base / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    wanted = options.only or [*ROWS, GROWTH, BESIDE]
    points: list[Point] = []
    growths: list[Growth] = []
    besides: list[side_by_side.Beside] = []
    pytests = []
    suites = Suites(base)
    for python in options.python:
        bench = rows.Bench(
            accounting=accounting,
            environments=Environments(base, python, accounting),
            suites=suites,
            base=base,
            rounds=options.rounds,
            tests=options.tests,
            growth=options.growth,
            user=options.user,
        )
        pytests.append(bench.environments.pytest)
        for name, measure in ROWS.items():
            if name in wanted:
                rows.say(f"Python {bench.python}: {name}")
                points += measure(bench)
        if GROWTH in wanted:
            rows.say(f"Python {bench.python}: {GROWTH}")
            growths.append(rows.growth(bench))
        if BESIDE in wanted and not besides:
            rows.say(f"Python {bench.python}: {BESIDE}")
            besides = side_by_side.measure(bench)
    counted = "of cgroups" if accounting.cgroup else "of processes that were waited for"
    setting = (
        f"Medians of {options.rounds} round{'s' * (options.rounds != 1)}, measured on "
        f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%d} with "
        f"pytest {', '.join(dict.fromkeys(pytests))}, "
        f"Linux {'.'.join(platform.release().split('.')[:2])} and "
        f"{len(os.sched_getaffinity(0))} processors. "
        f"Processor time is that {counted}."
    )
    if growths:
        setting += f" Memory was compared over {options.growth:,} tests."
    return page.Results(
        points=points, growths=growths, setting=setting, besides=besides
    )


if __name__ == "__main__":
    sys.exit(main())
