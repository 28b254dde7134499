"""
``time=``: a time namespace, in which two clocks are shifted.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from mounts import SPACE
from reasons import Files, lines
from ways import RunPytest, cannot, is_capable

from pytest_nsisolate.diagnosis.probe import ProbedPool
from pytest_nsisolate.launcher.init import _nanoseconds
from pytest_nsisolate.linux import namespaces
from pytest_nsisolate.model.errors import SpecError
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.pool import Pool, persist

COMMAND = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]

TESTS = """
import os
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

DAY = 86400
OUTSIDE = os.readlink("/proc/self/ns/time")
#: Longer than a whole session of these tests ever takes, and less than any shift.
SOON = DAY / 2

def clocks():
    return time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(
        time.CLOCK_BOOTTIME
    )

BEFORE, WALL = clocks(), time.time()

def shifts():
    '''Return by how much each clock is ahead of that of the host.'''
    return [now - then for now, then in zip(clocks(), BEFORE)]

def assert_shifted(*expected):
    for found, wanted in zip(shifts(), expected, strict=True):
        assert wanted <= found < wanted + SOON
    assert 0 <= time.time() - WALL < SOON

@pytest.mark.isolated(time={"monotonic": DAY, "boottime": 2 * DAY})
@pytest.mark.parametrize("again", range(2))
def test_both(again, isolation):
    assert_shifted(DAY, 2 * DAY)
    assert DAY <= time.monotonic() - BEFORE[0] < DAY + SOON
    assert isolation.namespaces[:5] == ("ipc", "uts", "pid", "mnt", "time")
    inside = os.readlink("/proc/self/ns/time")
    assert inside == os.readlink("/proc/self/ns/time_for_children") != OUTSIDE

@pytest.mark.isolated(time={"monotonic": DAY})
def test_monotonic():
    assert_shifted(DAY, 0)

@pytest.mark.isolated(time={"boottime": DAY})
def test_boottime():
    assert_shifted(0, DAY)
    assert float(Path("/proc/uptime").read_text().split()[0]) > BEFORE[1] + DAY

@pytest.mark.isolated(time={"monotonic": -1.25, "boottime": 0.000000001})
def test_exact():
    text = Path("/proc/self/timens_offsets").read_text().split()
    assert text == ["monotonic", "-2", "750000000", "boottime", "0", "1"]

@pytest.mark.isolated(time=True)
def test_not_shifted():
    assert_shifted(0, 0)
    assert os.readlink("/proc/self/ns/time") != OUTSIDE

@pytest.mark.isolated(time={"monotonic": DAY}, user="root")
def test_root():
    assert_shifted(DAY, 0)

@pytest.mark.isolated(time={"monotonic": DAY}, net=True, proc=False)
def test_with_others():
    assert_shifted(DAY, 0)

@pytest.mark.parametrize("what", [
    pytest.param(None, marks=pytest.mark.isolated),
    pytest.param(False, marks=pytest.mark.isolated(time=False)),
    pytest.param({}, marks=pytest.mark.isolated(time={})),
])
def test_without(what, isolation):
    assert "time" not in isolation.namespaces
    assert os.readlink("/proc/self/ns/time") == OUTSIDE
    assert_shifted(0, 0)

@pytest.mark.isolated(time={"monotonic": DAY, "boottime": DAY})
def test_waiting():
    # None of them takes a day more, and none is over a day ago.
    time.sleep(0.001)
    assert not threading.Event().wait(0.001)
    subprocess.run(["sleep", "0.001"], timeout=SOON, check=True)

@pytest.mark.isolated(time={"boottime": DAY})
def test_processes():
    # How long it has run, by what /proc says of it.
    assert 0 <= clocks()[1] - psutil.Process().create_time() + psutil.boot_time() < SOON

def test_box(sandbox_factory):
    box = sandbox_factory(time={"monotonic": DAY, "boottime": -1})
    assert "time" in box.namespaces
    monotonic, boottime = box.run(shifts)
    assert DAY <= monotonic < DAY + SOON
    assert -1 <= boottime < SOON
    command = ["cat", "/proc/self/timens_offsets"]
    with box.popen(command, stdout=subprocess.PIPE) as process:
        found = process.stdout.read().split()
    assert found == [b"monotonic", b"86400", b"0", b"boottime", b"-1", b"0"]

@pytest.mark.isolated(time={"monotonic": DAY})
def test_box_in_a_test(sandbox_factory):
    plain = sandbox_factory()
    assert DAY <= plain.run(shifts)[0] < DAY + SOON
    # From what the caller sees, as everything that a box is given.
    further = sandbox_factory(time={"monotonic": 2 * DAY, "boottime": 5})
    monotonic, boottime = further.run(shifts)
    assert 3 * DAY <= monotonic < 3 * DAY + SOON
    assert 5 <= boottime < 5 + SOON

def test_host():
    assert os.readlink("/proc/self/ns/time") == OUTSIDE
    assert os.readlink("/proc/self/ns/time_for_children") == OUTSIDE
    assert_shifted(0, 0)
"""


@pytest.mark.parametrize("option", [[], ["--nsisolate"]])
def test_inside(
    pytester: pytest.Pytester, run_both_ways: RunPytest, option: list[str]
) -> None:
    """
    The clocks that are named are shifted, to the nanosecond, and nothing else is.
    """
    pytester.makepyfile(test_inside=TESTS)
    run_both_ways(*option).assert_outcomes(passed=16)


def test_durations(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    What pytest measures of a test and its fixtures has nothing of the shift in it.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def outside():
            yield

        @pytest.fixture
        def inside():
            yield

        @pytest.mark.isolated(time={"monotonic": 86400, "boottime": 86400})
        def test_ahead(outside, inside): pass

        @pytest.mark.isolated(time={"monotonic": -1})
        def test_back(outside, inside): pass
        """
    )
    result = run_both_ways("--durations=0", "--durations-min=0", "-vv")
    result.assert_outcomes(passed=2)
    # A duration below zero would have a sign.
    row = re.compile(r"^([0-9.]+)s (?:setup|call|teardown) +", re.MULTILINE)
    rows = row.findall(result.stdout.str())
    assert len(rows) == 6
    assert all(float(seconds) < 40000 for seconds in rows)


LEFT = """
import subprocess
import time
import pytest

@pytest.mark.isolated(time={"monotonic": SHIFT, "boottime": SHIFT}, timeout=2)
def test_hangs():
    subprocess.Popen(["sleep", "60"])
    time.sleep(60)

@pytest.mark.isolated(time={"monotonic": SHIFT, "boottime": SHIFT}, leaks="fail")
def test_leaves():
    subprocess.Popen(["sleep", "61"])
"""


@pytest.mark.parametrize("shift", [86400, -1])
def test_ages(pytester: pytest.Pytester, run_both_ways: RunPytest, shift: int) -> None:
    """
    A time limit counts outside, and processes are as old as they are.
    """
    pytester.makepyfile(test_left=LEFT.replace("SHIFT", str(shift)))
    result = run_both_ways("test_left.py")
    result.assert_outcomes(failed=1, passed=1, errors=1)
    text = result.stdout.str()
    assert "timed out after 2 s during call" in text
    rows = [line for line in text.splitlines() if re.search(r"\bsleep 6[01]\b", line)]
    ages = [float(age) for row in rows for age in re.findall(r"\b([0-9.]+) s\b", row)]
    # A test that is ended at once has not started the first process yet.
    assert len(ages) >= 2, text
    assert all(age < 40000 for age in ages)


REFUSED = """
import pytest

@pytest.mark.isolated(time={"monotonic": -4e9})
def test_back(): pass

@pytest.mark.isolated(time={"monotonic": 5})
def test_ahead(): pass

@pytest.mark.isolated
def test_other(): pass
"""


def test_below_zero(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    An offset that a clock cannot have is refused, and no other offset with it.
    """
    pytester.makepyfile(test_refused=REFUSED)
    before = int(time.monotonic())

    result = run_both_ways()

    result.assert_outcomes(errors=1, passed=2)
    text = result.stdout.str()
    assert (
        "cannot isolate test_back: write(/proc/self/timens_offsets) failed: ERANGE\n"
        in text
    )
    found = re.search(
        r"why: an offset in time= would set a clock below 0 or above 146 years "
        r"\(outside, CLOCK_MONOTONIC is at (\d+) s and CLOCK_BOOTTIME at (\d+) s\)\n"
        r"fix: write offsets from (-\d+) up in time=, or pass "
        r"--nsisolate-unavailable=skip\n",
        text,
    )
    assert found is not None, text
    monotonic, boottime, lowest = map(int, found.groups())
    assert before <= monotonic <= boottime
    assert lowest == -monotonic
    # The fix holds.
    pool = ProbedPool()
    assert pool.probe(Spec(time={"monotonic": lowest})) is None
    pool.stop()


def test_skipped(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    What the machine cannot do is skipped where that is allowed.
    """
    pytester.makepyfile(test_refused=REFUSED)
    result = run_both_ways("--nsisolate-unavailable=skip")
    result.assert_outcomes(skipped=1, passed=2)


def test_limit_of_time_namespaces(pytester: pytest.Pytester) -> None:
    """
    Where there may be no time namespaces, only tests that ask for one are refused.
    """
    pytester.makepyfile(test_refused=REFUSED)
    zero = 'echo 0 > /proc/sys/user/max_time_namespaces; exec "$@"'

    result = pytester.run(*SPACE, "sh", "-c", zero, "sh", *COMMAND, timeout=60)

    result.assert_outcomes(errors=2, passed=1)
    kinds = "CLONE_NEWIPC|CLONE_NEWUTS|CLONE_NEWNS|CLONE_NEWTIME"
    result.stdout.fnmatch_lines(
        [
            f"cannot isolate test_back: unshare({kinds}) failed: ENOSPC",
            "why: * one kind of namespace (user.max_time_namespaces is 0)",
            "fix: sudo sysctl -w user.max_time_namespaces=10000",
            f"cannot isolate test_ahead: unshare({kinds}) failed: ENOSPC; why and *",
        ]
    )


def test_no_capability_for_clocks(pytester: pytest.Pytester) -> None:
    """
    Root without CAP_SYS_TIME shifts clocks in a user namespace, and only shifted ones.
    """
    if not is_capable():
        pytest.skip(
            "only root has that capability to lose; the lane of root tests this"
        )
    if shutil.which("setpriv") is None:
        cannot("setpriv is not there")
    pytester.makepyfile(
        """
        import os
        import pytest

        OUTSIDE = os.readlink("/proc/self/ns/user")

        @pytest.mark.isolated(time={"monotonic": 5})
        def test_ahead(): assert os.readlink("/proc/self/ns/user") != OUTSIDE

        @pytest.mark.isolated(time=True)
        def test_not_shifted(): assert os.readlink("/proc/self/ns/user") == OUTSIDE
        """
    )
    lose = ["setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time"]

    result = pytester.run(*lose, *COMMAND, timeout=60)

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (None, True),
        ({"monotonic": 5}, {"monotonic": 6}),
        (True, None),
        ({"monotonic": 5}, {"monotonic": 5.0, "boottime": 0}),
    ],
)
def test_made_ahead(first: object, second: object) -> None:
    """
    A sandbox that was made ahead is taken only where its clocks are the same.
    """
    wanted = Spec(time=second)  # type: ignore[arg-type]
    pool = Pool()
    pool.prepare(Spec(time=first))  # type: ignore[arg-type]
    sandbox = persist(lambda: pool.take(wanted))
    # Source: proc_pid_fdinfo(5).
    with open(f"/proc/self/fdinfo/{sandbox.init}") as file:
        (pid,) = (line.split()[1] for line in file if line.startswith("Pid:"))
    offsets = Path(f"/proc/{pid}/timens_offsets").read_text().split()
    sandbox.close()
    pool.stop()
    assert (namespaces.TIME in sandbox.namespaces) is bool(second)
    expected = dict(wanted.time or ()).get("monotonic", 0)  # type: ignore[arg-type]
    assert int(offsets[1]) == expected


def test_probe() -> None:
    """
    What is refused to one offset is not refused to another.
    """
    pool = ProbedPool()
    refused = pool.probe(Spec(time={"boottime": -4e9}))
    assert str(refused) == "write(/proc/self/timens_offsets) failed: ERANGE"
    assert pool.probe(Spec(time={"boottime": 5})) is None
    assert pool.probe(Spec()) is None
    pool.stop()


def test_one_key() -> None:
    """
    However they are written, equal offsets make equal specs that can be a key.
    """
    specs = {
        Spec(time={"monotonic": 5}),
        Spec(time={"boottime": 0.0, "monotonic": 5.0}),
        Spec(time=(("monotonic", 5), ("boottime", 0))),
    }
    assert len(specs) == 1
    assert specs.pop().time == (("monotonic", 5), ("boottime", 0))
    assert Spec(time=True) == Spec(time={"monotonic": 0}) != Spec()
    assert Spec(time={}) == Spec(time=False) == Spec()


class Number(float):
    """
    A number of a type that only Python knows.
    """


def test_plain_numbers() -> None:
    """
    A spec keeps nothing but what can be sent to the launcher.
    """
    kept = dict(Spec(time={"monotonic": Number(1.5)}).time or ())["monotonic"]  # type: ignore[arg-type]
    assert type(kept) is float


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (86400, 86400 * 10**9),
        (0.1, 10**8),
        (-0.1, -(10**8)),
        (-1.25, -1250000000),
        (1e-9, 1),
        (4e-10, 0),
        (86400.000000001, 86400 * 10**9 + 1),
        (2**32, 2**32 * 10**9),
    ],
)
def test_nanoseconds(seconds: float, expected: int) -> None:
    """
    Seconds are rounded to the nearest nanosecond.
    """
    # What a float of 86,400 and more says of nanoseconds is not exact.
    assert abs(_nanoseconds(seconds) - expected) <= (abs(seconds) > 1e4)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (5, "time=5 is of type int, not dict or bool"),
        ("1d", "time='1d' is of type str, not dict or bool"),
        (
            {"realtime": 5},
            ('the key \'realtime\' in time= is neither "monotonic" nor "boottime"'),
        ),
        ({5: 5}, 'the key 5 in time= is neither "monotonic" nor "boottime"'),
        (
            {"monotonic": "5"},
            "monotonic='5' in time= is of type str, not int or float",
        ),
        (
            {"boottime": True},
            "boottime=True in time= is of type bool, not int or float",
        ),
        (
            {"boottime": None},
            "boottime=None in time= is of type NoneType, not int or float",
        ),
        *(
            (
                {"monotonic": seconds},
                (
                    f"monotonic={seconds!r} in time= is not between -4294967296 "
                    "and 4294967296 seconds"
                ),
            )
            for seconds in (float("nan"), float("inf"), -5e9, 2**32 + 1)
        ),
    ],
)
def test_offsets_that_cannot_be(value: object, why: str) -> None:
    """
    Other keys and values are refused when the marker is read.
    """
    with pytest.raises(SpecError) as caught:
        Spec(time=value)  # type: ignore[arg-type]
    assert caught.value.why == why
    # A number is taken for one of seconds.
    seconds = value if isinstance(value, int) else 86400
    assert caught.value.fix == (
        f'write time={{"monotonic": {seconds}}}, or leave time= out'
    )


@pytest.mark.parametrize("kind", ["time", "ipc"])
def test_kernel_without(files: Files, kind: str) -> None:
    """
    A kernel that was built without a kind of namespace is told by ``/proc/self/ns``.
    """
    names = [one.name for one in namespaces.TABLE if one.name != kind]
    files.update(
        dict.fromkeys(["/proc/self/ns", *(f"/proc/self/ns/{n}" for n in names)], "")
    )
    call = "unshare(CLONE_NEWIPC|CLONE_NEWUTS|CLONE_NEWNS|CLONE_NEWTIME)"
    instead = ", or leave time= out" if kind == "time" else ""
    assert lines(call, 22) == [
        f"this kernel has no {kind} namespaces (/proc/self/ns/{kind} is not there)",
        f"boot a kernel that has them{instead}",
    ]
    assert lines("unshare(CLONE_NEWUTS)", 22)[0].startswith("unknown")


def test_kernel_that_cannot_enter_it(files: Files) -> None:
    """
    A kernel that takes a pidfd, but not for a time namespace, is named.
    """
    assert not files
    why, fix = lines("setns(pidfd, CLONE_NEWIPC|CLONE_NEWTIME)", 22)
    assert why.endswith(
        "; setns() with a pidfd for CLONE_NEWTIME needs Linux 5.9 or later"
    )
    assert fix.startswith("boot Linux 5.9 or later, or pass ")
