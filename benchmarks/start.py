"""
Benchmark of the start of a session, without this plugin and with it.

One run compares sessions of one trivial test round by round: without the plugin, with
it, and with ``--nsisolate``, which isolates the test. Each is run as usual, and where
Python may not write bytecode, as in many images. There the environment is new for each
kind of session, so that pytest finds no bytecode that it has written before. The
benchmark prints processor time and wall time, in milliseconds, and fails where the
processor time that the plugin adds exceeds its limit.

    python benchmarks/start.py
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from overhead import ROOT, make_environment

#: The most that the plugin may add to a session that isolates nothing, in ms of
#: processor time: as usual, and without bytecode.
BARS = {"bytecode": 15.0, "no bytecode": 40.0}

#: For each kind of session its environment and its options.
SESSIONS = {
    "without the plugin": ("without", ()),
    "with it": ("with", ()),
    "--nsisolate": ("with", ("--nsisolate",)),
}


def main() -> int:
    """
    Measure, print the results, and return the exit status.
    """
    parser = argparse.ArgumentParser(description="Measure the start of a session.")
    parser.add_argument("--rounds", type=int, default=20, help="counted rounds")
    parser.add_argument("--python", default=sys.executable, help="interpreter")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="nsisolate-bench-"))
    try:
        source = base / "source"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "docs", "tests")
        shutil.copytree(ROOT, source, ignore=ignored)
        test = base / "suite" / "test_one.py"
        test.parent.mkdir()
        test.write_text("def test_one(): pass\n")
        misses = 0
        # First without bytecode: an environment keeps what it has written.
        for mode in ("no bytecode", "bytecode"):
            python = {
                name: make_environment(base / mode / name, options.python, *packages)
                for name, packages in (
                    ("without", ("pytest", "psutil")),
                    ("with", (str(source),)),
                )
            }
            misses += report(mode, measure(python, mode, test, options.rounds))
    finally:
        shutil.rmtree(base)
    return 1 if misses else 0


def measure(
    python: dict[str, str], mode: str, test: Path, rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """
    Return the processor time and wall time of each session, in ms, round by round.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in SESSIONS}
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if mode == "no bytecode":
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    for number in range(rounds + 1):
        for name, (place, extra) in SESSIONS.items():
            command = [python[place], "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            took = run([*command, *extra, test.name], test.parent, environment)
            # The first round fills caches and does not count.
            if number:
                times[name].append(took)
    return times


def run(
    command: list[str], suite: Path, environment: dict[str, str]
) -> tuple[float, float]:
    """
    Run *command* in *suite*, and return its processor time and wall time, in ms.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=suite, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        # Of this process and all that it has waited for.
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return (usage.ru_utime + usage.ru_stime) * 1000, took * 1000


def report(mode: str, times: dict[str, list[tuple[float, float]]]) -> int:
    """
    Print the figures and return how many limits were exceeded.
    """
    print(f"\none trivial test, {mode}: ms (processor, wall, added processor)")
    without = times["without the plugin"]
    misses = 0
    for name, values in times.items():
        cpu, wall = (statistics.median(column) for column in zip(*values, strict=True))
        # Those of one round run next to each other, on an equally busy machine.
        pairs = zip(values, without, strict=True)
        added = statistics.median(ours - theirs for (ours, _), (theirs, _) in pairs)
        verdict = ""
        if name == "with it":
            missed = added > BARS[mode]
            misses += missed
            verdict = f"bar +{BARS[mode]:.0f}: {'MISSED' if missed else 'met'}"
        print(f"{name:20} {cpu:6.0f} {wall:6.0f} {added:+6.0f}   {verdict}")
    return misses


if __name__ == "__main__":
    sys.exit(main())
