"""
The benchmarks: what they compute, and the tables that they have written.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import accounting
import page
import pytest
from figures import (
    BARS,
    REFERENCE,
    ROOT,
    Cost,
    Growth,
    Point,
    added,
    held_to,
    ratio,
    verdict,
)
from rows import FLOOR
from side_by_side import GAINS, OURS, WORKS, Beside, gained, ways_of
from side_by_side import WAYS as WAYS_BESIDE
from suites import PARENTS, WAYS


def documented(head: str) -> list[list[str]]:
    """
    Return the first cells of each documented table whose first column is *head*.
    """
    tables = re.findall(
        rf"^\| {head} \|.*\n\|[ |-]+\|\n((?:\|.*\n)+)",
        page.PAGE.read_text(),
        re.MULTILINE,
    )
    return [[row.split(" | ")[0][2:] for row in one.splitlines()] for one in tables]


def test_documented_rows() -> None:
    """
    The documented tables have the rows of the command, and the plot is there.
    """
    tests = documented("isolated test")
    assert tests
    assert not len(tests) % len(PARENTS)
    for names in tests:
        assert [name.partition(" (")[0] for name in names] == [way.name for way in WAYS]
    assert documented("added") == [[*page.SESSIONS]] * len(tests)
    assert documented("floor") == [list(FLOOR)]
    assert documented("bar") == [[bar.what for bar in BARS]]
    assert f"{{image}} {page.PLOT.name}" in page.PAGE.read_text()
    assert documented("gain") == [[gain.what for gain in GAINS]]
    assert f"| work | jobs | {' | '.join(WAYS_BESIDE)} |" in page.PAGE.read_text()
    assert f"{{image}} {page.PLOT_BESIDE.name}" in page.PAGE.read_text()
    for plot in (page.PLOT, page.PLOT_BESIDE):
        assert plot.read_text().rstrip().endswith("</svg>")


def test_documented_limits() -> None:
    """
    The documented limits are those that the command checks.
    """
    shown = page.PAGE.read_text()
    for bar in (*BARS, *GAINS):
        rows = [
            line for line in shown.splitlines() if line.startswith(f"| {bar.what} |")
        ]
        # The last table is that of the bars.
        assert f"| {bar.limit:g} {bar.unit} |" in rows[-1]


def test_added_by_each_test() -> None:
    """
    What a test adds is taken from the plain session of its round.
    """
    costs = [Cost(1300, 900), Cost(2300, 1900)]
    plain = [Cost(300, 300), Cost(400, 500)]
    assert added(costs, plain, 100) == (Cost(10, 6), Cost(19, 14))


def of_round(name: str, *rounds: Cost, machine: str = "quiet") -> Point:
    """
    Return a point of the table of isolated tests.
    """
    return Point(
        row="isolated", name=name, python="3.11", machine=machine, rounds=rounds
    )


def test_ratio_round_by_round() -> None:
    """
    A ratio is the median of those of the rounds, under the same condition.
    """
    ours = of_round(ROOT, Cost(5, 4), Cost(20, 30), Cost(9, 9))
    theirs = of_round(REFERENCE, Cost(10, 10), Cost(20, 10), Cost(10, 10))
    busy = of_round(REFERENCE, *[Cost(1, 1)] * 3, machine="busy")
    assert ratio(ours, [busy, ours, theirs]) == pytest.approx(Cost(0.9, 0.9))
    assert ratio(ours, [busy, ours]) is None
    nothing = of_round(REFERENCE, Cost(10, 10), Cost(10, -1), Cost(10, 20))
    assert ratio(ours, [nothing]) == pytest.approx(Cost(0.7, 0.425))
    none = of_round(REFERENCE, *[Cost(0, 0)] * 3)
    assert ratio(ours, [none]) is None


@pytest.mark.parametrize(("cpu", "said"), [(7.9, "met"), (8, "met"), (8.1, "MISSED")])
def test_bar(cpu: float, said: str) -> None:
    """
    A bar is missed if the highest figure is above it, and only then.
    """
    bar = next(bar for bar in BARS if bar.unit == "times" and "root" in bar.what)
    points = [
        of_round(ROOT, Cost(cpu, 99)),
        of_round(REFERENCE, Cost(10, 10)),
        of_round(ROOT, Cost(1, 99), machine="busy"),
        of_round(REFERENCE, Cost(10, 10), machine="busy"),
    ]
    values = held_to(bar, points, [])
    assert values == pytest.approx([cpu / 10, 0.1])
    assert verdict(bar, values) == said
    missed = page.Results(points=points, growths=[], setting="").misses()
    # The wall time on both machines is missed, too.
    assert missed == 2 + (said == "MISSED")


def test_bar_of_memory() -> None:
    """
    The bar of memory is for the growth with each version of Python.
    """
    (bar,) = [bar for bar in BARS if bar.unit == "bytes"]
    growths = [
        Growth(python=python, tests=10, each=each)
        for python, each in (("3.11", 20), ("3.14", 301))
    ]
    assert verdict(bar, held_to(bar, [], growths)) == "MISSED"
    assert verdict(bar, held_to(bar, [], growths[:1])) == "met"
    assert verdict(bar, []) == "not measured"


def test_written_page() -> None:
    """
    What is written takes the place of what was, and nothing else.
    """
    results = page.Results(
        points=[of_round(ROOT, Cost(1, 2)), of_round(REFERENCE, Cost(4, 4))],
        growths=[],
        setting="Measured.",
    )
    shown = page.PAGE.read_text()
    once = page.written(shown, results)
    assert page.written(once, results) == once
    assert once.partition(page.BEGIN)[0] == shown.partition(page.BEGIN)[0]
    assert once.partition(page.END)[2] == shown.partition(page.END)[2]
    assert "1.00 ms (0.25 times) | 2.00 ms (0.50 times)" in once


def side_by_side(**walls: float) -> list[Beside]:
    """
    Return what all suites took: twice as long in other ways, or as *walls* say.
    """
    return [
        Beside(
            work=work.name,
            title=work.title,
            tests=work.tests,
            way=way,
            jobs=jobs,
            rounds=(Cost(100, wall), Cost(100, wall * 3), Cost(100, wall * 2)),
            memory=40 if way == OURS else 80,
            set_ups=jobs if work.name == "fixture" else 0,
        )
        for work in WORKS
        for way, jobs in ways_of(work)
        for wall in [walls.get(work.name, 100) * (1 if way == OURS else 2)]
    ]


def test_gains() -> None:
    """
    A bar is for the median of the rounds; the fixture is to be set up once.
    """
    measured = side_by_side(sleep=1500)
    found = [(gain.limit, *gained(gain, measured)) for gain in GAINS]
    # 1,300, 3,900 and 2,600 ms without a start, to 1,250 ms.
    assert found[0] == (1.35, 2.08)
    assert found[1:] == [(0.9, 0.5), (0.75, 1), (1, 0.5), (0.6, 1), (0.6, 0.5), (1, 4)]
    assert gained(GAINS[0], []) == []
    results = page.Results(points=[], growths=[], setting="", besides=measured)
    assert results.misses() == 4


def test_written_side_by_side() -> None:
    """
    What is written about tests side by side leaves all else alone, and the contrary.
    """
    results = page.Results(
        points=[], growths=[], setting="Measured.", besides=side_by_side()
    )
    shown = page.PAGE.read_text()
    once = page.written(shown, results)
    assert page.written(once, results) == once
    before, _, after = shown.partition(page.BEGIN_BESIDE)
    assert once.startswith(before)
    assert once.endswith(after.partition(page.END)[2])
    row = "| 300 tests doing nothing | 1 | 0.40 s, 0.10 s, 80 MiB | 0.20 s, 0.10 s, 40"
    assert row in once
    assert "| 300 tests doing nothing | 2 |  | 0.20 s" in once
    assert "set up 4 times" in once


MOUNTS = """\
30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
31 25 0:27 / /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory
32 25 0:28 /user.slice /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""


def test_own_cgroups() -> None:
    """
    Both versions are found where they are mounted, and no others.
    """
    cgroups = "4:memory:/m\n3:cpu,cpuacct:/a:b\n0::/user.slice/one.scope\n"
    assert accounting.own_cgroups(MOUNTS, cgroups) == [
        (Path("/sys/fs/cgroup/unified/one.scope"), "cpu.stat"),
        (Path("/sys/fs/cgroup/cpu,cpuacct/a:b"), "cpuacct.usage"),
    ]
    # That of version 2 is not below what is mounted.
    assert accounting.own_cgroups(MOUNTS, "0::/system.slice\n") == []


#: Burns processor time in a child that nobody waits for.
UNWAITED = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
end, begin = os.pipe()
if not os.fork():
    while time.process_time() < 0.1:
        pass
    os._exit(0)
os.close(begin)
os.read(end, 1)
"""


def test_processes_that_nobody_waits_for(tmp_path: Path) -> None:
    """
    Their processor time counts, where a cgroup can be made.
    """
    meter = accounting.Accounting()
    try:
        if meter.cgroup is None:
            pytest.skip("no cgroup can be made here")
        cost = meter.run([sys.executable, "-c", UNWAITED], tmp_path)
        assert cost.cpu >= 100
    finally:
        meter.close()


def test_two_at_the_same_time() -> None:
    """
    Each has cgroups of its own, and removes no others.
    """
    first, second = accounting.Accounting(), accounting.Accounting()
    try:
        if first.cgroup is None:
            pytest.skip("no cgroup can be made here")
        assert second.cgroup is not None
        second.close()
        assert first.cgroup.measured.exists()
    finally:
        first.close()
    assert not first.cgroup.measured.exists()


#: Has 64 MiB, which a fork shares, until its input ends.
SHARED = """
import os, sys
memory = b"x" * (64 << 20)
if os.fork():
    print("ready", flush=True)
    sys.stdin.read()
    os.wait()
else:
    sys.stdin.read()
"""


def test_memory_of_several_processes() -> None:
    """
    What processes share counts once, where a cgroup can be made.
    """
    meter = accounting.Accounting()
    try:
        if meter.cgroup is None:
            pytest.skip("no cgroup can be made here")
        command = [sys.executable, "-S", "-c", SHARED]
        with subprocess.Popen(
            accounting.entering(meter.cgroup.measured, command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert 64 << 10 < meter.cgroup.memory() < 96 << 10
    finally:
        meter.close()


def test_memory_of_a_command(tmp_path: Path) -> None:
    """
    It is looked up until the command has ended, which must succeed.
    """
    meter = accounting.Accounting()
    try:
        peak = meter.peak([sys.executable, "-c", UNWAITED], tmp_path)
        assert peak is None if meter.cgroup is None else peak is not None
        with pytest.raises(accounting.Failed):
            meter.peak(["false"], tmp_path)
    finally:
        meter.close()


def test_failed_command(tmp_path: Path) -> None:
    """
    What a command that fails has printed is the message.
    """
    meter = accounting.Accounting()
    try:
        with pytest.raises(accounting.Failed, match="why it failed"):
            meter.run(["sh", "-c", "echo why it failed; exit 3"], tmp_path)
    finally:
        meter.close()
