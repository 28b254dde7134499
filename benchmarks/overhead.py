"""
Benchmark of what isolation costs per test, against plain pytest and pytest-forked.

One run compares the same trivial tests round by round: plain, isolated as root,
isolated rootless, and with pytest-forked. The last has an environment of its own, on
the newest pytest on which it still passes. Each comparison is made twice: with a bare
pytest, and with one that holds 90 MB of small objects. The benchmark prints the
overhead per test and the ratios to pytest-forked, and fails where a ratio exceeds its
limit.

    python benchmarks/overhead.py

Root measures the rootless way as an ordinary user (``--user``), with an interpreter
that this user can run (``--python``). Anyone else measures only the rootless way.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Versions to try, newest first: pytest-forked fails every test on 9.2.
FORKED_CANDIDATES = ("9.2.*", "9.1.*", "9.0.*", "8.4.*")

#: The highest overhead per test that this project accepts, relative to pytest-forked.
BARS = {"isolated, root": 0.9, "isolated, rootless": 1.3}

CONFTESTS = {
    "bare parent": "",
    "90 MB parent": "ballast = [(i, str(i)) for i in range(680_000)]\n",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """
    One way to run the tests.
    """

    name: str
    command: list[str]
    baseline: list[str]
    user: str | None = None


def main() -> int:
    """
    Measure, print the results, and return the exit status.
    """
    options = parse_arguments()
    base = Path(tempfile.mkdtemp(prefix="nsisolate-bench-"))
    try:
        base.chmod(0o755)
        ways = make_ways(base, options)
        misses = 0
        for title, conftest in CONFTESTS.items():
            suite = make_suite(base, title, conftest, options.tests)
            misses += report(title, measure(ways, suite, options), options.tests)
    finally:
        shutil.rmtree(base)
    return 1 if misses else 0


def parse_arguments() -> argparse.Namespace:
    """
    Return the options of the command line.
    """
    reachable = "/usr/bin/python3"
    parser = argparse.ArgumentParser(description="Measure the overhead per test.")
    parser.add_argument("--tests", type=int, default=300, help="tests per run")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds")
    parser.add_argument("--user", default="nobody", help="who runs the rootless way")
    parser.add_argument(
        "--python",
        default=reachable if os.geteuid() == 0 else sys.executable,
        help="interpreter for the environments",
    )
    return parser.parse_args()


def make_ways(base: Path, options: argparse.Namespace) -> list[Way]:
    """
    Make the environments and return the ways to compare.
    """
    source = base / "source"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "docs", "tests")
    shutil.copytree(ROOT, source, ignore=ignored)
    ours = make_environment(base / "ours", options.python, str(source))
    forked = make_forked(base, options.python)
    tail = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    plain, plain_forked = [ours, *tail], [forked, *tail]
    isolated = [*plain, "--nsisolate"]
    ways = [
        Way(
            name="pytest-forked",
            command=[*plain_forked, "--forked"],
            baseline=plain_forked,
        )
    ]
    user = None
    if os.geteuid() == 0:
        ways.append(Way(name="isolated, root", command=isolated, baseline=plain))
        user = options.user
    ways.append(
        Way(name="isolated, rootless", command=isolated, baseline=plain, user=user)
    )
    return ways


def make_environment(path: Path, python: str, *packages: str) -> str:
    """
    Make a virtual environment with *packages* and return its interpreter.
    """
    subprocess.run([python, "-m", "venv", path], check=True)
    interpreter = str(path / "bin" / "python")
    subprocess.run([interpreter, "-m", "pip", "-q", "install", *packages], check=True)
    return interpreter


def make_forked(base: Path, python: str) -> str:
    """
    Make the environment of pytest-forked, with the newest pytest on which it passes.
    """
    test = base / "test_one.py"
    test.write_text("def test_one(): pass\n")
    for version in FORKED_CANDIDATES:
        path = base / f"forked-{version[:3]}"
        interpreter = make_environment(
            path, python, "pytest-forked", f"pytest=={version}"
        )
        command = [interpreter, "-m", "pytest", "-q", "--forked", str(test)]
        if not subprocess.run(command, capture_output=True, check=False).returncode:
            print(f"pytest-forked passes on pytest {version}")
            return interpreter
        print(f"pytest-forked fails on pytest {version}")
    message = "pytest-forked passes on none of the versions that were tried"
    raise SystemExit(message)


def make_suite(base: Path, title: str, conftest: str, tests: int) -> Path:
    """
    Write the tests and return their directory.
    """
    suite = base / title.replace(" ", "-")
    suite.mkdir()
    (suite / "conftest.py").write_text(conftest)
    lines = [f"def test_{number}(): pass\n" for number in range(tests)]
    (suite / "test_trivial.py").write_text("".join(lines))
    return suite


def measure(
    ways: list[Way], suite: Path, options: argparse.Namespace
) -> dict[str, list[float]]:
    """
    Return the overhead per test of each way, in ms, round by round.
    """
    overheads: dict[str, list[float]] = {way.name: [] for way in ways}
    for number in range(options.rounds + 1):
        for way in ways:
            plain = run(way.baseline, suite, way.user)
            took = run(way.command, suite, way.user)
            # The first round fills caches and does not count.
            if number:
                overhead = (took - plain) / options.tests * 1000
                overheads[way.name].append(overhead)
    return overheads


def run(command: list[str], suite: Path, user: str | None) -> float:
    """
    Run *command* in *suite*, as *user* if given, and return how many seconds it took.
    """
    start = time.perf_counter()
    subprocess.run(
        command,
        cwd=suite,
        user=user,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=300,
    )
    return time.perf_counter() - start


def report(title: str, overheads: dict[str, list[float]], tests: int) -> int:
    """
    Print the figures and return how many limits were exceeded.
    """
    print(f"\n{tests} trivial tests, {title}: overhead per test, ms (min, median, max)")
    reference = overheads["pytest-forked"]
    misses = 0
    for name, values in overheads.items():
        row = f"{min(values):6.2f} {statistics.median(values):6.2f} {max(values):6.2f}"
        ratios = [ours / theirs for ours, theirs in zip(values, reference, strict=True)]
        ratio = statistics.median(ratios)
        bar = BARS.get(name)
        verdict = ""
        if bar is not None:
            missed = ratio > bar
            misses += missed
            verdict = f"bar {bar}: {'MISSED' if missed else 'met'}"
        print(f"{name:20} {row}   ratio {ratio:.2f}   {verdict}")
    return misses


if __name__ == "__main__":
    sys.exit(main())
