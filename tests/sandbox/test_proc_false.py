"""
Sandboxes with ``proc=False``, for where no fresh ``/proc`` can be mounted.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mounts import masked
from ways import PLAIN, WAYS

from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.pool import Pool

#: The number of descriptors that an init has open.
STREAMS_AND_SOCKET = 4

RunPytest = Callable[..., pytest.RunResult]

SUITE = """
import os
import socket
import pytest

@pytest.mark.isolated(proc=False, hostname="t1")
def test_without(isolation):
    assert not isolation.proc
    assert str(os.getpid()) != os.readlink("/proc/self")
    assert os.readlink("/proc/self") == str(isolation.pid_on_host)
    assert socket.gethostname() == "t1"
    assert os.listdir("/dev/shm") == []
    with open("/proc/sysvipc/msg") as file:
        assert len(file.readlines()) == 1

@pytest.mark.isolated
def test_with(isolation):
    assert isolation.proc
    assert os.readlink("/proc/self") == str(os.getpid())

@pytest.mark.isolated(proc=False)
@pytest.mark.parametrize("_", [pytest.param(0, marks=pytest.mark.isolated(proc=None))])
def test_closest(isolation, _):
    assert isolation.proc
"""

REFUSED = "mount(proc, /proc) failed: EPERM"


@pytest.fixture
def pool() -> Iterator[Pool]:
    """
    Provide a pool and stop its launchers afterwards.
    """
    pool = Pool()
    yield pool
    pool.stop()


def test_proc_stays(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    With ``proc=False`` a test sees the old ``/proc`` and is otherwise isolated.
    """
    pytester.makepyfile(SUITE)

    run_both_ways().assert_outcomes(passed=3)


@pytest.mark.parametrize("way", list(WAYS))
def test_masked(pytester: pytest.Pytester, way: str) -> None:
    """
    Under a masked ``/proc`` only tests with ``proc=False`` run, as the header says.
    """
    pytester.makepyfile(SUITE)
    command = [*masked(way), sys.executable, "-m", "pytest"]
    means = "no user namespace" if way == PLAIN else "user namespace"

    result = pytester.run(*command, timeout=60)
    skipped = pytester.run(*command, "--nsisolate-unavailable=skip", timeout=60)

    result.assert_outcomes(passed=1, errors=2)
    skipped.assert_outcomes(passed=1, skipped=2)
    for shown, becomes in ((result, "fail"), (skipped, "are skipped")):
        shown.stdout.fnmatch_lines(
            f"nsisolate: ipc uts pid mnt ({means}) with proc=False, "
            f"other isolated tests {becomes} ({REFUSED})"
        )
    result.stdout.fnmatch_lines(
        [
            f"cannot isolate test_with: {REFUSED}",
            "fix: *, or @pytest.mark.isolated(proc=False)",
        ]
    )


def test_init_holds_nothing(pool: Pool) -> None:
    """
    Init closes all that it inherited, even where it has the old ``/proc``.
    """
    sandbox = pool.take(Spec(proc=False))

    facts = Path(f"/proc/self/fdinfo/{sandbox.init}").read_text()
    number = re.search(r"^Pid:\s+(\d+)$", facts, re.MULTILINE)
    assert number is not None
    # Init closes them only after it has answered.
    deadline = time.monotonic() + 20
    held: list[str] = []
    while len(held) != STREAMS_AND_SOCKET and time.monotonic() < deadline:
        held = sorted(os.listdir(f"/proc/{number[1]}/fd"))
    sandbox.close()

    # The socket is where the audit is requested.
    assert len(held) == STREAMS_AND_SOCKET
    assert held[:3] == ["0", "1", "2"]


def test_no_proc_at_all(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A test with ``proc=False`` runs even where no ``/proc`` is mounted.
    """
    # A Python linked to a library beside it needs /proc to find that library.
    monkeypatch.setenv("LD_LIBRARY_PATH", str(sysconfig.get_config_var("LIBDIR")))
    pytester.makepyfile(
        """
        import os
        import pytest

        @pytest.mark.isolated(proc=False, hostname="t1")
        def test_it(isolation):
            assert isolation.hostname == "t1"
            assert not os.path.exists("/proc/self")
        """
    )
    hide = 'mount -t tmpfs none /proc && exec "$@"'
    private = ["unshare", "--mount", "sh", "-c", hide, "sh"]
    command = [*WAYS[PLAIN], *private, sys.executable, "-m", "pytest"]

    pytester.run(*command, timeout=60).assert_outcomes(passed=1)
