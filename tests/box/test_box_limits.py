"""
Limits of a box: what its functions and processes may use.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from boxes import MakeBox
from users import is_exempt

from pytest_nsisolate.box.explanations import DidNotFinish
from pytest_nsisolate.box.pickled import RemoteTraceback
from pytest_nsisolate.model.ending import Killed
from pytest_nsisolate.model.errors import BoxError, Unlimited

#: A limit that pytest itself fits into, in MiB.
ENOUGH = 512


def open_many() -> None:
    """
    Open more files than the limit allows.
    """
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(open("/dev/null"))


@pytest.mark.parametrize(
    ("keywords", "use", "error", "reached"),
    [
        (
            {"memory": f"{ENOUGH}M"},
            lambda: bytearray(ENOUGH << 20),
            MemoryError,
            (
                f"memory={ENOUGH}M of sandbox_factory() was reached (RLIMIT_DATA is "
                f"{ENOUGH << 20} bytes)"
            ),
        ),
        (
            {"nofile": 64},
            open_many,
            OSError,
            "nofile=64 of sandbox_factory() was reached (RLIMIT_NOFILE is 64)",
        ),
    ],
)
def test_a_function_reaches_a_limit(
    make: MakeBox,
    keywords: dict[str, object],
    use: Callable[[], object],
    error: type[BaseException],
    reached: str,
) -> None:
    """
    The exception of a function that reaches a limit comes with the name of the limit.
    """
    box = make(**keywords)

    with pytest.raises(error) as caught:
        box.run(use)

    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert str(caught.value.__cause__).splitlines()[-2:] == [reached, '"""']
    use()
    assert box.run(int) == 0


def test_a_limit_is_not_blamed_for_others(make: MakeBox) -> None:
    """
    Another exception does not name a limit.
    """

    def fail() -> None:
        """
        Fail for another reason.
        """
        raise ValueError

    with pytest.raises(ValueError, match=r"^$") as caught:
        make(nofile=64).run(fail)

    assert "nofile" not in str(caught.value.__cause__)


def test_a_function_uses_up_its_time(make: MakeBox) -> None:
    """
    A function that uses up its processor time is killed, and the error names the limit.
    """

    def spin() -> None:
        """
        Use processor time without end.
        """
        while True:
            pass

    with pytest.raises(DidNotFinish) as caught:
        # If there were no limit, the test would not end by itself.
        make(cpu=1, timeout=100).run(spin)

    assert caught.value.ending == Killed(signal.SIGXCPU)
    what, why, fix = str(caught.value).splitlines()
    assert what == "spin in box b did not finish: killed by SIGXCPU"
    assert why.startswith(
        "why: at cpu=1 of sandbox_factory() the kernel sends this signal (RLIMIT_CPU "
        "is 1, its hard limit 2), and its process had used "
    )
    assert fix == "fix: give it more: raise cpu= of sandbox_factory()"


def test_a_value_may_be_larger_than_the_rest(make: MakeBox) -> None:
    """
    What the plugin does to carry a value back is not limited.
    """
    # Enough for the value, and not for its pickle beside it.
    box = make(memory=_data_in_use() + (100 << 20), nofile=64)

    assert len(box.run(bytes, 60 << 20)) == 60 << 20


def test_processes_have_the_limits(make: MakeBox) -> None:
    """
    A process of popen() has the limits, and preexec_fn= may lower them.
    """
    box = make(memory=f"{ENOUGH}M", nofile=64, cpu=100)
    program = (
        "import resource as r;"
        "print([r.getrlimit(one)[0] for one in"
        " (r.RLIMIT_DATA, r.RLIMIT_NOFILE, r.RLIMIT_CPU)])"
    )

    def lower() -> None:
        """
        Lower a limit further.
        """
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

    for own, nofile in ((None, 64), (lower, 32)):
        with box.popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=own,
        ) as process:
            assert process.communicate()[0] == f"[{ENOUGH << 20}, {nofile}, 100]\n"


@pytest.mark.parametrize(
    ("keywords", "what"),
    [
        ({"memory": "1K"}, "memory=1K of sandbox_factory() is not enough"),
        ({"nofile": 1}, "nofile=1 of sandbox_factory() is not enough"),
        ({"nofile": 2**40}, f"nofile={2**40} of sandbox_factory() cannot be set"),
    ],
)
def test_a_limit_that_cannot_hold(
    make: MakeBox, keywords: dict[str, object], what: str
) -> None:
    """
    A box with such a limit cannot be made, and nothing is left of it.
    """
    make().close()
    before = os.listdir("/proc/self/fd")

    with pytest.raises(Unlimited) as caught:
        make(**keywords)

    assert str(caught.value) == what
    assert os.listdir("/proc/self/fd") == before


def test_pytest_has_grown_over_a_limit(make: MakeBox) -> None:
    """
    If pytest has come to use more than a limit, programs still run, but no functions.
    """
    size = 1 << 20
    box = make(memory=_data_in_use() + 16 * size)
    held = bytearray(64 * size)

    with pytest.raises(BoxError, match=r"memory=.* is not enough\nwhy: ") as caught:
        box.run(int)
    with box.popen(["true"]) as process:
        assert process.wait(30) == 0

    assert str(caught.value).startswith("cannot run int in box b: memory=")
    del held
    assert box.run(int) == 0


def _data_in_use() -> int:
    """
    Return how much private memory this process has, in bytes.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmData:")[2].split()[0]) << 10


def test_processes(pytester: pytest.Pytester, who: list[str]) -> None:
    """
    Each call and process may have so many processes, or the box is refused.
    """
    path = Path("test_it.py").absolute()
    path.write_text(PROCESSES)
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(path)]
    result = pytester.run(*who, *run, timeout=60)
    if is_exempt(who):
        result.assert_outcomes(failed=2)
        result.stdout.fnmatch_lines(
            ["cannot make box 1 for test_it*: nproc=5 of sandbox_factory() does not *"]
        )
    else:
        result.assert_outcomes(passed=2)


PROCESSES = """
import os
import signal
import subprocess

import pytest

def fork_all():
    for number in range(20):
        try:
            if not os.fork():
                signal.pause()
        except BlockingIOError:
            return number

@pytest.mark.parametrize("_", [pytest.param(0, marks=pytest.mark.isolated), 1])
def test_it(sandbox_factory, _):
    box = sandbox_factory(nproc=5, leaks="ignore")
    assert box.run(fork_all) == 4
    # What one call has left does not count for the next one.
    assert box.run(fork_all) == 4
    script = "for i in 1 2 3 4 5; do sleep 60 2>/dev/null & done"
    pipe = subprocess.PIPE
    with box.popen(["sh", "-c", script], stderr=pipe, text=True) as process:
        assert "fork" in process.stderr.read()
"""


def test_refused_by_the_factory(pytester: pytest.Pytester) -> None:
    """
    A limit that cannot hold fails the test in three lines, or skips it if asked.
    """
    pytester.makepyfile(
        """
        def test_it(sandbox_factory):
            sandbox_factory(memory="1K")
        """
    )

    for arguments, outcome in (
        ([], {"failed": 1}),
        (["--nsisolate-unavailable=skip"], {"skipped": 1}),
    ):
        result = pytester.runpytest_subprocess("-rs", *arguments)
        result.assert_outcomes(**outcome)
        result.stdout.fnmatch_lines(
            ["*cannot make box 1 for test_it: memory=1K of sandbox_factory() is not *"]
        )
